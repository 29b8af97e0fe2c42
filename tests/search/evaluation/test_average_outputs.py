"""The average of maps, against what one computes by hand."""

import numpy as np
import pytest

from anyseek.model.seam import Regions, Sample
from anyseek.search.evaluation.aligned import AlignedSet
from anyseek.search.evaluation.average_outputs import average_outputs

ALL = frozenset({"depth", "normal", "canny_edge", "semseg", "caption", "visual_global"})


def _set(*samples: Sample) -> AlignedSet:
    return AlignedSet("training", tuple(map(str, range(len(samples)))), samples)


def _halves(left: float, right: float) -> np.ndarray:
    return np.repeat(np.array([[left, right]], np.float32), 4, axis=1).repeat(8, axis=0)


def test_maps_are_averaged_as_their_kind_asks() -> None:
    up, right = np.array([127, 255, 127], np.uint8), np.array([255, 127, 127], np.uint8)
    regions = [
        Regions(_halves(1, number).astype(np.int32), {1: "wall", number: name})
        for number, name in ((2, "bed"), (3, "cup"))
    ]
    found = average_outputs(
        _set(
            Sample(
                {"depth": _halves(1, 3), "normal": np.tile(up, (8, 8, 1)), "semseg": regions[0], "caption": "a bed"}
            ),
            Sample({"depth": _halves(10, 50), "normal": np.tile(right, (8, 8, 1)), "semseg": regions[1]}),
            Sample({"semseg": regions[1], "canny_edge": _halves(0, 255).astype(np.uint8)}),
        ),
        ALL,
    )
    assert set(found) == {"depth", "normal", "semseg", "canny_edge"}
    depth, normal = np.asarray(found["depth"]), np.asarray(found["normal"])
    assert (depth.shape, depth.dtype) == ((112, 112), np.float32)
    np.testing.assert_allclose(depth[50, [10, 100]], [-1, 1], atol=1e-6)  # every map counts as much, whatever its unit
    np.testing.assert_allclose(normal[50, 50].astype(int), [218, 218, 127], atol=1)  # of length 1 again
    assert isinstance(found["semseg"], Regions)
    assert found["semseg"].ids[50, [10, 100]].tolist() == [1, 3]
    assert found["semseg"].classes == {1: "wall", 2: "bed", 3: "cup"}
    assert np.asarray(found["canny_edge"])[50, [10, 100]].tolist() == [0, 255]


def test_only_what_is_wanted_and_known_is_averaged() -> None:
    assert average_outputs(_set(Sample({"caption": "a"})), ALL) == {}
    assert average_outputs(_set(Sample({"depth": _halves(1, 2)})), frozenset({"normal"})) == {}


@pytest.mark.parametrize("value", [2.0, np.nan])
def test_a_flat_or_unknown_depth_says_nothing(value: float) -> None:
    found = average_outputs(_set(Sample({"depth": _halves(value, value)}), Sample({"depth": _halves(1, 3)})), ALL)
    np.testing.assert_allclose(np.asarray(found["depth"])[50, [10, 100]], [-0.5, 0.5], atol=1e-6)
