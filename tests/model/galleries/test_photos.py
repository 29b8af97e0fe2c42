"""The photographs and rooms that ship with the project: what they are, and how a damaged file is noticed."""

from pathlib import Path

import pytest

from anyseek.model.data.errors import ShardCorrupt
from anyseek.model.galleries.photos import ARCHIVE, FOLDER, credits_text, photo_credits, read_photos, read_views

SOURCES = ("documerica", "fsa-colour", "fsa-owi")
MAX_LENGTH = 160  # pixels


def test_a_missing_or_damaged_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ShardCorrupt, match=r"photos\.tar cannot be read \(No such file or directory\)"):
        read_photos(tmp_path / "photos.tar")
    for data in (b"", ARCHIVE.read_bytes()[:-1] + b"!"):
        (tmp_path / "photos.tar").write_bytes(data)
        with pytest.raises(ShardCorrupt, match=r"photos\.tar is damaged: its sha256 is .*; install Anyseek again"):
            read_photos(tmp_path / "photos.tar")


def test_what_ships_is_small_in_the_public_domain_and_not_trained_on() -> None:
    photos = read_photos()
    assert ARCHIVE.stat().st_size <= 1_600_000
    assert len({photo.id for photo in photos}) == len(photos) == 200
    assert {photo.split for photo in photos} == {"test", "val"}
    assert {photo.source for photo in photos} == set(SOURCES)
    for photo in photos:
        assert photo.id.startswith(f"{photo.source}/")
        assert photo.licence.startswith(("no known restrictions (US government", "unrestricted (US government"))
        assert photo.title
        assert "@" in photo.origin
        assert max(photo.picture().shape) <= MAX_LENGTH


def test_every_photo_is_credited() -> None:
    photos = read_photos()
    text = photo_credits(photos)
    assert all(f"{photo.id}: {photo.title} [{photo.origin}]" in text for photo in photos)
    assert text in credits_text()


def test_the_gallery_that_ships_is_whole_and_small() -> None:
    lines = read_views()
    assert len(lines) == 300
    assert all(line["key"].startswith("test-") for line in lines)
    named = {line["file"] for line in lines}
    for line in lines:
        named |= {value if isinstance(value, str) else value["file"] for value in line["modalities"].values()}
    files = {str(path.relative_to(FOLDER)): path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()}
    assert files.keys() == named | {"manifest.jsonl", "CREDITS.txt"}
    assert sum(files.values()) <= 6 * 2**20


def test_every_object_in_view_is_credited() -> None:
    text = (FOLDER / "CREDITS.txt").read_text("utf-8")
    for line in read_views():
        for thing in line["attributes"]["things"]:
            assert f"({thing['object']}) by " in text
