"""The photographs that ship with the project: how they are made, what they are, and what a damaged file is told by."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anyseek.model.data.errors import ShardCorrupt
from anyseek.model.data.sources.packs import PackOptions, read_pack
from anyseek.model.galleries.demo import credits_text
from anyseek.model.galleries.make_photos import LONGEST, SOURCES, archive_of, chosen_photos
from anyseek.model.galleries.photos import ARCHIVE, Photo, photo_credits, read_photos
from tests.model.data.sources.packs_kit import about, encoded, write_shard

SPLITS = ("train", "val", "test", "val", "test")


def pack_of(folder: Path) -> Path:
    """A pack of five photos, the last one long."""
    samples = []
    for number, split in enumerate(SPLITS):
        said = about(id=f"fsa-owi/{number}", source="fsa-owi", split=split, captions=[f"Photo {number}, 日"])
        said |= {"from": f"somebody/photos@1:{number}.jpg"}
        picture = np.full((60, 200 if number == 4 else 90, 3), 40 * number, np.uint8)
        samples.append((said, {"webp": encoded(picture, "WEBP")}))
    return write_shard(folder / "captions-open-000000.tar", samples)


def chosen(folder: Path, most: int = 3) -> list[Photo]:
    return chosen_photos(read_pack("captions", PackOptions(folder, of=SOURCES)), most)


def test_photos_of_the_test_split_come_first_and_none_of_training(tmp_path: Path) -> None:
    folder = pack_of(tmp_path)
    assert [photo.id for photo in chosen(folder)] == ["fsa-owi/2", "fsa-owi/4", "fsa-owi/1"]
    assert [photo.split for photo in chosen(folder, most=200)] == ["test", "test", "val", "val"]


def test_only_long_photos_are_scaled(tmp_path: Path) -> None:
    folder = pack_of(tmp_path)
    pack = read_pack("captions", PackOptions(folder))
    short, long, _ = chosen(folder)
    assert short.webp == pack.entries["open/000002"].file("webp")
    assert Image.open(io.BytesIO(long.webp)).size == (160, 48)


def test_the_archive_gives_back_what_was_put_in_and_is_always_the_same(tmp_path: Path) -> None:
    photos = chosen(pack_of(tmp_path))
    data = archive_of(photos)
    assert archive_of(photos) == data
    (tmp_path / "photos.tar").write_bytes(data)
    assert read_photos(tmp_path / "photos.tar", hashlib.sha256(data).hexdigest()) == photos


@pytest.mark.parametrize("kept", [0, 9_000, -1])
def test_a_damaged_archive_is_refused(tmp_path: Path, kept: int) -> None:
    whole = ARCHIVE.read_bytes()
    (tmp_path / "photos.tar").write_bytes(whole[:kept] + b"!" * (len(whole) - kept if kept > 0 else 0))
    with pytest.raises(ShardCorrupt, match=r"photos\.tar is damaged: its sha256 is .*; install Anyseek again"):
        read_photos(tmp_path / "photos.tar")


def test_a_missing_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ShardCorrupt, match=r"photos\.tar cannot be read \(No such file or directory\)"):
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
        assert max(photo.picture().shape) <= LONGEST


def test_every_photo_is_credited() -> None:
    photos = read_photos()
    text = photo_credits(photos)
    assert all(f"{photo.id}: {photo.title} [{photo.origin}]" in text for photo in photos)
    assert text in credits_text()
