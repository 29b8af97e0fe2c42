"""`anyseek sources`, and `anyseek index` of folders that moved, as a user meets them."""

import json
import re
from pathlib import Path

from tests.api.conftest import Run
from tests.indexer.pictures import png


def folder(path: Path, *numbers: int) -> Path:
    path.mkdir()
    for number in numbers:
        (path / f"{number % 10}.png").write_bytes(png(number))
    return path


def test_a_library_moves_and_grows(anyseek: Run, tmp_path: Path) -> None:
    first, second = folder(tmp_path / "first", 1, 2), folder(tmp_path / "second", 11, 12)
    assert anyseek("index", first, "--collection", "c")[0] == 0
    code, _, errors = anyseek("index", second, "--collection", "c")
    assert code == 0
    assert f"the keys of {second} begin with second/: '1.png' belongs to another item" in errors
    moved = first.rename(tmp_path / "moved")
    assert f"c  {first}  2 items, gone" in anyseek("sources", "list")[1]
    code, output, errors = anyseek("index", moved, "--collection", "c")
    assert code == 0
    assert f"{first} has moved to {moved}" in errors
    assert "indexed 0, unchanged 2, quarantined 0" in output
    listed = [json.loads(line) for line in anyseek("sources", "list", "--collection", "c", "--json")[1].splitlines()]
    assert [(source["root"], source["key_prefix"], source["items"]) for source in listed] == [
        (str(moved), "", 2),
        (str(second), "second/", 2),
    ]


def test_moving_by_hand_and_forgetting(anyseek: Run, tmp_path: Path) -> None:
    photos = folder(tmp_path / "photos", 1, 2)
    anyseek("index", photos, "--collection", "c", "--key-prefix", "2024")
    there = photos.rename(tmp_path / "there")
    code, output, _ = anyseek("sources", "move", photos, there, "--collection", "c")
    assert (code, output) == (0, f"{there}: 2 items of c are there now\n")
    assert anyseek("index", there, "--collection", "c", "--key-prefix", "2025")[::2] == (
        1,
        f"anyseek: the keys of {there} have '2024/' in this collection; forget the source to use another prefix\n",
    )
    assert anyseek("sources", "forget", there, "--collection", "c", "--items", "--yes")[0] == 0
    assert anyseek("sources", "list")[1] == ""
    assert "0 items" in anyseek("collections", "list")[1]
    assert len(list(there.iterdir())) == 2
    assert anyseek("sources", "forget", there, "--collection", "c")[0] == 1
    assert anyseek("sources", "move", there, tmp_path / "nowhere", "--collection", "c")[0] == 2


def test_a_job_whose_source_is_forgotten_can_still_be_shown(anyseek: Run, tmp_path: Path) -> None:
    photos = folder(tmp_path / "photos", 1)
    anyseek("index", photos, "--collection", "c")
    anyseek("sources", "forget", photos, "--collection", "c")
    assert "a forgotten source -> c: done" in anyseek("jobs", "list")[1]
    assert anyseek("jobs", "retry", "1")[0] == 1


def test_jobs_are_listed_with_their_times(anyseek: Run, tmp_path: Path) -> None:
    anyseek("index", folder(tmp_path / "photos", 1), "--collection", "c")
    (line,) = anyseek("jobs", "list")[1].splitlines()
    assert re.search(r"; began \d{4}-\d\d-\d\d \d\d:\d\d:\d\d, took 0:\d\d:\d\d$", line)
