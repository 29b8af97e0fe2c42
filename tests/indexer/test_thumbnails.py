"""What items without a photo look like in small."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anyseek.indexer.indexing import open_collection
from anyseek.indexer.put import put_item, remake, thumbnail_of
from anyseek.indexer.runs import Tools
from anyseek.indexer.samples import RawFile
from anyseek.model.seam import FloatArray, Regions, Value
from anyseek.search.upkeep.rebuild import rebuild
from anyseek.search.upkeep.verify import verify
from tests.indexer.harness import NAME, installation
from tests.indexer.pictures import png

STEP = np.repeat(np.repeat(np.array([[1.0, 5.0]], np.float32), 64, axis=0), 64, axis=1)
HALVES = Regions(STEP.astype(np.uint8), {1: "wall", 5: "sky"})


def shown(values: dict[str, Value]) -> FloatArray:
    small = thumbnail_of(values)
    assert small is not None
    return np.asarray(Image.open(io.BytesIO(small)), np.float32)


def test_near_is_bright_in_the_grey_of_a_depth_map() -> None:
    picture = shown({"depth": STEP})
    assert np.ptp(picture, axis=2).max() < 8, "grey"
    assert picture[:, :32].mean() > 200 > 80 > picture[:, 96:].mean()


def test_classes_have_colours_in_a_segmentation() -> None:
    picture = shown({"semseg": HALVES, "caption": "a wall"})
    left, right = picture[:, :50].mean(axis=(0, 1)), picture[:, 80:].mean(axis=(0, 1))
    assert np.abs(left - right).max() > 40
    assert np.ptp(left) > 20


def test_a_photo_goes_before_maps_and_words_have_no_picture() -> None:
    red = np.full((64, 64, 3), (200, 20, 20), np.uint8)
    assert np.abs(shown({"depth": STEP, "semseg": HALVES, "rgb": red}) - (200, 20, 20)).max() < 10
    assert np.ptp(shown({"depth": STEP, "semseg": HALVES}), axis=2).max() > 20, "the segmentation"
    assert thumbnail_of({"caption": "a wall"}) is None
    assert thumbnail_of({}) is None


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Tools]:
    with installation(tmp_path / "home") as tools:
        open_collection(tools, NAME)
        yield tools


def test_an_item_of_a_drawing_alone_has_a_thumbnail_that_is_made_again(tools: Tools) -> None:
    item = put_item(tools, NAME, "k", [RawFile("canny_edge", png(1), "a.png")])
    assert set(item.assets) == {"canny_edge", "thumbnail"}
    stored = tools.assets.path(item.assets["thumbnail"])
    before = stored.read_bytes()
    stored.unlink()
    assert verify(tools.database, tools.settings)
    rebuild(tools.database, tools.settings, NAME, lambda items: remake(lambda: tools, items))
    assert stored.read_bytes() == before
    assert verify(tools.database, tools.settings) == []
