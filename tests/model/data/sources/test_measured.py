"""Photos with measured depth and outlined regions: metres, and names of ids by source."""

import json

import numpy as np
import pytest

from anyseek.model.data.errors import SampleInvalid, SourceUnavailable
from anyseek.model.data.samples import Split
from anyseek.model.data.sources.measured import MeasuredSource
from anyseek.model.data.sources.packs import PackOptions
from tests.model.data.sources.packs_kit import SHARED, about, encoded, picture, write_shard

IDS = np.array([[0, 1], [2, 2]], np.uint8)
DEPTH = np.array([[0, 1500], [2000, 65535]], np.uint16)


@pytest.fixture
def write(tmp_path):
    def _write(pack, classes, *samples):
        (tmp_path / "classes.json").write_text(json.dumps(classes))
        return write_shard(tmp_path / f"{pack}-open-000000.tar", samples)

    return _write


def test_depth_is_in_metres_and_unknown_where_nothing_was_measured(write):
    files = {"webp": picture(), "depth.png": encoded(DEPTH)}
    sample = MeasuredSource("d", PackOptions(write("depth", {}, (about(), files))), "depth").sample("open/000000")
    assert sample.values.keys() == {"rgb", "depth"}
    assert sample.values["depth"].dtype == np.float32
    assert np.isnan(sample.values["depth"][0, 0])
    assert sample.values["depth"].flat[1:] == pytest.approx([1.5, 2.0, 65.535])


def test_regions_have_the_names_of_their_own_source(write):
    files = {"webp": picture(), "semseg.png": encoded(IDS)}
    classes = {"x": {"1": "wall", "2": "floor"}, "y": {"1": "hat", "2": "shoe"}}
    folder = write("segmentation", classes, (about(), files), (about(source="y", split="val"), files))
    source = MeasuredSource("s", PackOptions(folder), "segmentation")
    (key,) = source.keys(Split.VAL)
    regions = source.sample(key).values["semseg"]
    assert np.array_equal(regions.ids, IDS)
    assert regions.classes == {1: "hat", 2: "shoe"}


def test_an_id_that_nobody_names_leaves_the_sample_out(write):
    files = {"webp": picture(), "semseg.png": encoded(IDS)}
    folder = write("segmentation", {"x": {"1": "wall"}}, (about(), files))
    with pytest.raises(SampleInvalid, match=r"id 2, which classes\.json does not name"):
        MeasuredSource("s", PackOptions(folder), "segmentation").sample("open/000000")


def test_depth_that_was_measured_nowhere_leaves_the_sample_out(write):
    files = {"webp": picture(), "depth.png": encoded(np.zeros((2, 2), np.uint16))}
    with pytest.raises(SampleInvalid, match="no measured pixel"):
        MeasuredSource("d", PackOptions(write("depth", {}, (about(), files))), "depth").sample("open/000000")


def test_a_pack_without_names_of_ids_is_refused(tmp_path):
    folder = write_shard(tmp_path / "depth-open-000000.tar", [(about(), {"webp": picture()})])
    with pytest.raises(SourceUnavailable, match=r"classes\.json does not name"):
        MeasuredSource("d", PackOptions(folder), "depth")


@pytest.mark.skipif(not (SHARED / "depth").is_dir(), reason="the shared depth maps are not here")
def test_the_shared_maps_are_as_many_as_their_readmes_say():
    depth = MeasuredSource("d", PackOptions(SHARED / "depth"), "depth")
    assert [len(depth.keys(split)) for split in Split] == [1_274, 110, 85]
    regions = MeasuredSource("s", PackOptions(SHARED / "segmentation", without=("coco",)), "segmentation")
    assert [len(regions.keys(split)) for split in Split] == [866, 41, 97]
    assert "skin" in regions.sample(regions.keys(Split.TEST)[0]).values["semseg"].classes.values()
