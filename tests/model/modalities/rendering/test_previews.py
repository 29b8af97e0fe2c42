import numpy as np
import pytest

from anyseek.model.modalities.formats.boxes import Box
from anyseek.model.modalities.formats.sam_instances import MaskInstance, QueryPoint
from anyseek.model.modalities.rendering.panels import SIDE
from anyseek.model.modalities.rendering.previews import (
    MAX_CLASSES,
    depth_levels,
    depth_preview,
    normal_vectors,
    place_masks,
    regions_preview,
)
from anyseek.model.modalities.rendering.renderers import UNKNOWN, class_colours
from anyseek.model.seam import Regions

CODES = (0,) * 16


def _point(*boxes: Box) -> QueryPoint:
    return QueryPoint(1, 2, tuple(MaskInstance(box, CODES) for box in boxes))


def test_masks_are_resized_into_their_boxes() -> None:
    halves = np.zeros((64, 64), np.bool_)
    halves[:, 32:] = True
    points = (_point(Box(10, 20, 110, 60)), _point(), _point(Box(0, 0, 224, 224)))
    first, second = place_masks(points, np.stack([halves, ~halves]))
    assert first[20:60, 60:110].all()
    assert first.sum() == 40 * 50
    assert second[:, :112].all()
    assert second.sum() == 224 * 112


@pytest.mark.parametrize(
    ("box", "area"),
    [
        (Box(200, 100, 300, 300), 24 * 124),  # beyond the picture
        (Box(300, 300, 900, 900), 0),
        (Box(50, 50, 50, 90), 0),
        (Box(60, 90, 40, 20), 20 * 70),  # corners the other way round
    ],
)
def test_odd_boxes(box: Box, area: int) -> None:
    mask = place_masks((_point(box),), np.ones((1, 64, 64), np.bool_))[0]
    assert mask.sum() == area


def test_depth_goes_from_1_to_65535_and_unmeasured_is_0() -> None:
    depth = np.array([[3.0, 7.0], [np.nan, 5.0]], np.float32)
    assert depth_levels(depth).tolist() == [[1, 65535], [0, 32768]]
    assert depth_levels(np.full((2, 2), 4, np.float32)).tolist() == [[1, 1], [1, 1]]


def test_near_is_light_far_is_dark_and_unmeasured_grey() -> None:
    depth = np.array([[1.0, 2.0], [np.nan, 3.0]], np.float32)
    shown = np.asarray(depth_preview(depth))
    near, far, unknown = shown[10, 10], shown[SIDE - 10, SIDE - 10], shown[SIDE - 10, 10]
    assert near.sum() > shown[10, SIDE - 10].sum() > far.sum()
    assert unknown.tolist() == list(UNKNOWN)
    assert len(shown) > len(np.asarray(depth_preview(depth[:1])))  # room for the word on what grey means


def test_normals_are_numbers_from_minus_one_to_one() -> None:
    np.testing.assert_allclose(normal_vectors(np.array([[[0, 255, 127]]], np.uint8)), [[[-1, 1, -1 / 255]]], atol=1e-6)


def test_regions_have_their_class_colours_and_a_legend_that_ends() -> None:
    ids = np.arange(200, dtype=np.int32).reshape(10, 20)
    shown = np.asarray(regions_preview(Regions(ids, {3: "dog"})))
    expected = class_colours(ids.ravel().astype(np.int64)).reshape(10, 20, 3)
    step = SIDE // 20
    np.testing.assert_array_equal(shown[step // 2 : 10 * step : step, step // 2 : SIDE : step], expected)
    few = np.asarray(regions_preview(Regions(ids[:1, :2])))
    assert len(shown) - SIDE // 2 > len(few) - SIDE // 2
    most = np.asarray(regions_preview(Regions(ids[:, : (MAX_CLASSES + 1) // 10 + 1])))
    assert len(most) < 3 * SIDE
