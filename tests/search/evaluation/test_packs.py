"""Collections of the packs' photos: which photos and queries are taken, and which words describe measured maps."""

import json
from pathlib import Path

import numpy as np
import pytest

from anyseek.search.errors import NotAligned
from anyseek.search.evaluation.packs import mapped_photos, photo_collections
from tests.model.data.sources.packs_kit import about, encoded, picture, write_shard

CLASSES = {"nyu-depth-v2": {"1": "wall", "2": "floor", "3": "bed", "4": "lamp", "39": "otherprop"}}
DEPTH = encoded(np.full((4, 4), 1500, np.uint16))


def regions(*ids: int) -> bytes:
    return encoded(np.array(ids, np.uint8).reshape(4, 4))


@pytest.fixture
def packs(tmp_path: Path) -> Path:
    said = {"source": "nyu-depth-v2"}
    largest_last = regions(0, 1, 2, 2, 3, 3, 3, 3, 39, 39, 39, 39, 39, 39, 39, 39)
    samples = [
        (about(id="nyu/1", split="train", **said), largest_last),
        (about(id="nyu/2", split="test", **said), regions(*[4] * 16)),
        (about(id="nyu/3", split="train", **said), regions(*[39] * 16)),
    ]
    folder = tmp_path / "depth"
    files = [(of, {"webp": picture(), "depth.png": DEPTH, "semseg.png": ids}) for of, ids in samples]
    write_shard(folder / "depth-research-000000.tar", files)
    (folder / "classes.json").write_text(json.dumps(CLASSES))
    return tmp_path


def test_photos_are_told_by_their_largest_named_regions(packs: Path) -> None:
    (found,) = mapped_photos(packs, None)
    assert found.source == "nyu-depth-v2"
    assert len(found.photos) == 3
    assert found.captions == {"research/000000": "a photo of bed, floor, wall", "research/000001": "a photo of lamp"}
    assert set(found.maps) == {"depth", "semseg"}
    assert all(list(of) == list(found.photos) for of in found.maps.values())


def test_photos_of_the_test_split_come_first(packs: Path) -> None:
    (found,) = mapped_photos(packs, 2)
    assert list(found.photos) == ["research/000001", "research/000000"]


def split(number: int) -> str:
    return "test" if number % 2 else "train"


@pytest.fixture(scope="module")
def all_packs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All packs but regions, of twelve photos each; half of each is of the test split."""
    root = tmp_path_factory.mktemp("packs")
    photo = {"webp": picture()}
    sources = ("flickr8k", "coco")
    captions = [
        (
            about(id=str(n), split=split(n), source=sources[n % 4 // 2], captions=[f"box {n}", f"a box called {n}"]),
            photo,
        )
        for n in range(12)
    ]
    write_shard(root / "captions" / "captions-research-000000.tar", captions)
    sketches = [{"file": f"{n}.png", "id": str(n)} for n in range(2)]
    drawn = encoded(np.zeros((8, 8), np.uint8))
    sketched = [
        (about(source="sketchy", id=str(n), label="box", split=split(n), sketches=sketches), photo) for n in range(12)
    ]
    write_shard(
        root / "sketches" / "sketches-research-000000.tar",
        [(said, {**files, "0.png": drawn, "1.png": drawn}) for said, files in sketched],
    )
    said = [about(source="caltech101", label="cup", split=split(n)) for n in range(12)]
    write_shard(root / "photos" / "photos-000000.tar", [(one, photo) for one in said])
    return root


def test_only_test_splits_ask(all_packs: Path) -> None:
    collections = {found.name: found for found in photo_collections(all_packs, 250)}
    counts = {
        name: (len(found.keys), *(len(queries.samples) for queries in found.queries))
        for name, found in collections.items()
    }
    assert counts == {
        "captions": (6, 6, 6),  # the test split's photos, each with two captions, of two sources
        "sketchy": (6, 12),
        "caltech101": (6, 6),
    }


def test_every_query_is_paired_with_its_own_photo(all_packs: Path) -> None:
    for found in photo_collections(all_packs, 250):
        for queries in found.queries:
            assert set(queries.own) <= set(found.keys)
            assert len(queries.own) == len(queries.samples)
    sketchy = next(found for found in photo_collections(all_packs, 250) if found.name == "sketchy")
    assert {key.rpartition("/")[0] for key in sketchy.queries[0].own} == {
        key.rpartition("/")[0] for key in sketchy.keys
    }
    again = [found.keys for found in photo_collections(all_packs, 4)]
    assert again == [found.keys for found in photo_collections(all_packs, 4)]


def test_a_folder_without_packs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotAligned, match="none of the folders captions, sketches"):
        list(photo_collections(tmp_path, 9))
    with pytest.raises(NotAligned, match="none of the folders depth, segmentation"):
        list(mapped_photos(tmp_path, None))
