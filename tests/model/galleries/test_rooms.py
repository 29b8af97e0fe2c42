"""The rooms that ship with the project: whole, small, credited."""

import json
from pathlib import Path
from typing import Any

from anyseek.model.galleries import demo

GALLERY = Path(demo.__file__).with_name("rooms")


def _lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (GALLERY / "manifest.jsonl").read_text("utf-8").splitlines()]


def test_the_gallery_that_ships_is_whole_and_small() -> None:
    lines = _lines()
    assert len(lines) == 300
    assert all(line["key"].startswith("test-") for line in lines)
    named = {line["file"] for line in lines}
    for line in lines:
        named |= {value if isinstance(value, str) else value["file"] for value in line["modalities"].values()}
    files = {str(path.relative_to(GALLERY)): path.stat().st_size for path in GALLERY.rglob("*") if path.is_file()}
    assert files.keys() == named | {"manifest.jsonl", "CREDITS.txt"}
    assert sum(files.values()) <= 6 * 2**20


def test_every_object_in_view_is_credited() -> None:
    text = (GALLERY / "CREDITS.txt").read_text("utf-8")
    for line in _lines():
        for thing in line["attributes"]["things"]:
            assert f"({thing['object']}) by " in text
