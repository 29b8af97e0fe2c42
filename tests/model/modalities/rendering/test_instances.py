import numpy as np
import pytest

from anyseek.model.modalities.formats.boxes import Box
from anyseek.model.modalities.formats.sam_instances import MaskInstance, QueryPoint
from anyseek.model.modalities.rendering.previews import placed_masks

CODES = (0,) * 16


def _point(*boxes: Box) -> QueryPoint:
    return QueryPoint(1, 2, tuple(MaskInstance(box, CODES) for box in boxes))


def test_masks_are_resized_into_their_boxes() -> None:
    halves = np.zeros((64, 64), np.bool_)
    halves[:, 32:] = True
    points = (_point(Box(10, 20, 110, 60)), _point(), _point(Box(0, 0, 224, 224)))
    first, second = placed_masks(points, np.stack([halves, ~halves]))
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
    mask = placed_masks((_point(box),), np.ones((1, 64, 64), np.bool_))[0]
    assert mask.sum() == area


def test_a_mask_for_each_of_the_points_masks_is_needed() -> None:
    with pytest.raises(ValueError, match="zip"):
        placed_masks((_point(Box(0, 0, 9, 9)),), np.ones((2, 64, 64), np.bool_))
