"""What data sets do with values of each content: a record for each, none of them a silent default."""

import numpy as np
import pytest

from anyseek.model.data.contents import STORED, changed, fitted
from anyseek.model.data.errors import SampleInvalid
from anyseek.model.data.samples import DataSample
from anyseek.model.modalities.registry import Content
from anyseek.model.seam import Regions


def test_every_content_has_one_record():
    assert set(STORED) == set(Content)


def test_what_nothing_is_known_of_is_neither_scaled_nor_varied():
    picture = np.zeros((40, 40, 3), np.uint8)
    with pytest.raises(SampleInvalid, match="'thermal' is no modality"):
        fitted(DataSample("a", {"thermal": picture}), 20)
    with pytest.raises(SampleInvalid, match="'thermal' is no modality"):
        changed("thermal", picture, np.random.default_rng(0))
    with pytest.raises(SampleInvalid, match="values of 'caption' are not varied"):
        changed("caption", (), np.random.default_rng(0))


def sample(height: int, width: int) -> DataSample:
    generator = np.random.default_rng(0)
    depth = generator.uniform(1, 9, (height, width)).astype(np.float32)
    depth[generator.random((height, width)) < 0.2] = np.nan
    return DataSample(
        "a",
        {
            "rgb": generator.integers(0, 256, (height, width, 3)).astype(np.uint8),
            "depth": depth,
            "semseg": Regions(generator.integers(0, 5, (height, width)), {1: "sofa"}),
            "canny_edge": (generator.random((height, width)) < 0.1).astype(np.uint8) * 255,
            "caption": (),
        },
    )


@pytest.mark.parametrize("shape", [(90, 60), (60, 90), (64, 64), (301, 47)])
def test_the_short_side_is_what_was_asked_and_all_maps_have_the_shape_of_the_picture(shape):
    found = fitted(sample(*shape), 32).values
    height, width = found["rgb"].shape[:2]
    assert min(height, width) == 32
    assert abs(height / width - shape[0] / shape[1]) < 0.05 * shape[0] / shape[1]
    assert found["depth"].shape == found["semseg"].ids.shape == found["canny_edge"].shape == (height, width)


def test_depths_and_ids_are_picked_and_never_blended():
    whole, found = sample(90, 70), fitted(sample(90, 70), 24)
    depths = found.values["depth"]
    assert np.isnan(depths).any()
    assert np.isin(depths[~np.isnan(depths)], whole.values["depth"]).all()
    assert set(np.unique(found.values["semseg"].ids)) <= set(range(5))
    assert found.values["semseg"].classes == {1: "sofa"}


def test_smaller_samples_stay_as_they_are():
    whole = sample(30, 40)
    found = fitted(whole, 32)
    assert all(found.values[name] is whole.values[name] for name in whole.values)
