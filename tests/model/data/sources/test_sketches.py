"""Drawings by people: strokes as ink on a sheet, and photos with each of their sketches."""

import numpy as np
import pytest

from anyseek.model.data.errors import SampleInvalid
from anyseek.model.data.samples import Split
from anyseek.model.data.sources.packs import Classes, PackOptions
from anyseek.model.data.sources.sketches import SketchesSource, drawn
from tests.model.data.sources.packs_kit import SHARED, about, encoded, picture, write_shard

SQUARE = [[[0, 255, 255, 0, 0], [0, 0, 255, 255, 0]]]


@pytest.fixture
def folder(tmp_path):
    """A drawing of a square, and a photo with two sketches."""
    write_shard(tmp_path / "sketches-open-000000.tar", [(about(label="square", drawing=SQUARE), {})])
    sketches = [{"file": f"{n}.png", "id": f"s/{n}"} for n in (0, 1)]
    said = about(id="sketchy/duck/1", source="sketchy", label="duck", sketches=sketches, split="test")
    files = {f"{n}.png": encoded(np.full((9, 9), 255 - n, np.uint8)) for n in (0, 1)}
    return write_shard(tmp_path / "sketches-research-000000.tar", [(said, {"webp": picture(), **files})])


def test_a_drawing_is_ink_on_a_sheet_without_a_picture(folder):
    source = SketchesSource("sketches", PackOptions(folder), 64)
    assert list(source.keys(Split.TRAIN)) == ["open/000000"]
    sample = source.sample("open/000000")
    assert sample.values.keys() == {"line_drawing"}
    assert sample.values["line_drawing"].shape == (64, 64)
    assert sample.attributes["label"] == "square"
    assert sample.attributes["medium"] == "sketch"


def test_each_sketch_of_a_photo_is_a_sample_with_that_photo(folder):
    source = SketchesSource("sketches", PackOptions(folder, classes=Classes.RESEARCH), 64)
    keys = source.keys(Split.TEST)
    assert list(keys) == ["research/000000/0", "research/000000/1"]
    first, second = (source.sample(key) for key in keys)
    assert first.values["rgb"].shape == (8, 12, 3)
    assert np.array_equal(first.values["rgb"], second.values["rgb"])
    assert (int(first.values["line_drawing"].max()), int(second.values["line_drawing"].max())) == (0, 1)
    assert first.attributes["concept"] == second.attributes["concept"] == "sketchy/duck/1"


def test_strokes_lie_where_they_were_drawn_and_in_the_middle():
    sheet = drawn(SQUARE, 64)
    assert sheet[32, 32] == 0
    assert min(sheet[32, 2], sheet[2, 32], sheet[32, 61], sheet[61, 32]) > 100
    wide = drawn([[[0, 255], [10, 10]]], 64)
    rows = np.flatnonzero(wide.any(axis=1))
    flat = drawn([[[0, 255], [0, 0]]], 64)
    assert rows.min() > 25  # a stroke at y 10 of a drawing that ends there
    assert np.flatnonzero(flat.any(axis=1)).mean() == pytest.approx(31.5, abs=1)


def test_a_stroke_of_one_point_is_a_dot():
    sheet = drawn([[[0, 255], [0, 255]], [[0], [255]]], 64)
    assert sheet[61, 2] > 100
    assert sheet[2, 61] == 0


@pytest.mark.parametrize("drawing", [None, [], [[[0, 1], [0]]], [[[0, 1]]]])
def test_strokes_that_lack_an_axis_are_left_out(tmp_path, drawing):
    folder = write_shard(tmp_path / "sketches-open-000000.tar", [(about(label="x", drawing=drawing), {})])
    with pytest.raises(SampleInvalid, match="no strokes"):
        SketchesSource("s", PackOptions(folder), 64).sample("open/000000")


@pytest.mark.skipif(not (SHARED / "sketches").is_dir(), reason="the shared sketches are not here")
def test_the_shared_sketches_are_as_many_as_their_readme_says():
    source = SketchesSource("sketches", PackOptions(SHARED / "sketches"), 64)
    assert [len(source.keys(split)) for split in Split] == [8_124 + 2_456, 478 + 188, 938 + 356]
