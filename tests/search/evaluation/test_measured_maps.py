"""Photos with measured maps as things to ask for: which are taken, and what is said of them."""

import json
from pathlib import Path

import numpy as np
import pytest

from anyseek.search.errors import NotAligned
from anyseek.search.evaluation.measured_maps import mapped_photos
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


def test_a_folder_without_packs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotAligned, match="none of the folders depth and segmentation"):
        list(mapped_photos(tmp_path, None))
