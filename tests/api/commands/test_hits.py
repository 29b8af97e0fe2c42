"""Hits of `anyseek query` lead to files: paths, a contact sheet, opening the best one; and what goes wrong."""

import json
from pathlib import Path

import click
import pytest
from PIL import Image

from anyseek.api.commands.query import as_table
from anyseek.search.answers.results import Hit, Results
from tests.api.conftest import Run
from tests.indexer.pictures import png


@pytest.fixture
def photos(tmp_path: Path, anyseek: Run) -> Path:
    made = tmp_path / "photos"
    made.mkdir()
    for number in range(5):
        (made / f"{number} é.png").write_bytes(png(number))
    (made / "0 é.json").write_text('{"caption": "a dog", "attributes": {"camera": {"make": "Nikon"}, "width": 7}}')
    assert anyseek("index", made, "--collection", "mine")[0] == 0
    return made


def test_the_only_collection_need_not_be_named(anyseek: Run, photos: Path) -> None:
    code, output, _ = anyseek("query", "--image", photos / "2 é.png", "-k", "1")
    assert code == 0
    assert output.split("  ")[-1].strip() == str(photos / "2 é.png")
    anyseek("index", photos, "--collection", "others")
    code, _, errors = anyseek("query", "a dog")
    assert code == 2
    assert "choose one with --collection: mine (5 items), others (5 items)" in errors


def test_without_a_collection_the_error_names_the_next_step(anyseek: Run) -> None:
    code, _, errors = anyseek("query", "a dog")
    assert (code, "anyseek index FOLDER --collection NAME" in errors) == (2, True)


def test_paths_are_output_for_other_commands(anyseek: Run, photos: Path) -> None:
    code, output, errors = anyseek("query", "--image", photos / "2 é.png", "-k", "3", "--paths")
    assert (code, errors) == (0, "")
    paths = output.splitlines()
    assert len(paths) == 3
    assert paths[0] == str(photos / "2 é.png")
    assert anyseek("query", "--image", photos / "2 é.png", "-k", "3", "--paths", "-0")[1] == "".join(
        f"{path}\0" for path in paths
    )
    hits = json.loads(anyseek("query", "--image", photos / "2 é.png", "-k", "3", "--json")[1])["hits"]
    assert [hit["path"] for hit in hits] == paths


@pytest.mark.parametrize(
    "options", [["--paths", "--json"], ["-0"], ["--contact-sheet", "sheet.text"], ["--contact-sheet", "sheet"]]
)
def test_options_that_do_not_fit_are_refused(anyseek: Run, photos: Path, options: list[str]) -> None:
    assert anyseek("query", "a dog", *options)[0] == 2


def test_a_contact_sheet_has_every_hit(anyseek: Run, photos: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    code, _, errors = anyseek("query", "a dog", "-k", "5", "--contact-sheet", sheet)
    assert (code, errors) == (0, f"{sheet}: 5 hits\n")
    with Image.open(sheet) as image:
        assert image.format == "PNG"
        assert image.size[0] > image.size[1] > 2 * 192
    nothing = anyseek("query", "a dog", "--where", "width = 8", "--contact-sheet", tmp_path / "none.png")
    assert (nothing[0], (tmp_path / "none.png").exists()) == (2, False)


def test_the_best_hit_is_opened(anyseek: Run, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(click, "launch", lambda path: opened.append(path) or 0)
    assert anyseek("query", "--image", photos / "1 é.png", "--open")[0] == 0
    assert opened == [str(photos / "1 é.png")]
    (photos / "1 é.png").unlink()
    code, _, errors = anyseek("query", "--item", "1 é.png", "--open")
    assert (code, "does not exist on this machine" in errors) == (1, True)
    monkeypatch.setattr(click, "launch", lambda path: 1)
    assert "no program on this machine opens" in anyseek("query", "--item", "2 é.png", "--open")[2]


def test_an_unknown_attribute_is_reported_with_similar_names(anyseek: Run, photos: Path) -> None:
    known = "camera.make, file_size, format, height, orientation, width"
    for where, wanted in (
        ("widht = 7", "no item has the attribute 'widht'; did you mean width?"),
        ("make = Nikon", "no item has the attribute 'make'; did you mean camera.make?"),
        ("zzz = 1", f"no item has the attribute 'zzz'; there are {known}"),
        ("camera.make = nikon", "no item has 'nikon' as camera.make; did you mean Nikon?"),
        ("camera.make in (Leica, Fuji)", "no item has 'Leica' as camera.make"),
        ("camera = Nikon", "the attribute 'camera' is no text; did you mean camera.make?"),
    ):
        code, output, errors = anyseek("query", "a dog", "--where", where)
        assert (code, errors) == (0, f"{wanted}\n")
        assert "nothing was found" in output
    assert json.loads(anyseek("query", "a dog", "--where", where, "--json")[1])["note"] == wanted
    for where in ("width = 8", "camera.make = Nikon"):
        assert anyseek("query", "a dog", "--where", where)[2] == ""


def test_output_without_hits_claims_no_cause(anyseek: Run, photos: Path) -> None:
    for options in (("--words", "unheard"), ("a dog", "--offset", "100"), ("a dog", "--min-score", "1")):
        code, output, _ = anyseek("query", *options)
        assert (code, output) == (0, "nothing was found: the collection has no hit for this query and its options\n")


def test_a_long_key_keeps_its_end() -> None:
    results = Results((Hit("holidays/" * 20 + "0042.jpg", 0.5, 1, path="/p/0042.jpg"),), "space")
    (line,) = as_table(results, max_characters=20)
    assert line.split()[3].startswith("…")
    assert line.split()[3].endswith("/0042.jpg")
    assert line.endswith("  /p/0042.jpg")
    assert len(line.split()[3]) == 20
    assert "holidays/holidays/holidays" in as_table(results)[0]
