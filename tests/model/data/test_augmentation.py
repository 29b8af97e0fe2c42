import numpy as np
import pytest
from PIL import Image, ImageDraw

from model.data.augmentation import change_drawing, change_picture


@pytest.fixture
def disc() -> np.ndarray:
    picture = Image.new("RGB", (224, 224), "white")
    ImageDraw.Draw(picture).ellipse((60, 60, 160, 160), fill="orange", outline="black", width=4)
    return np.asarray(picture)


def test_changes_are_the_same_for_the_same_seed_and_move_the_drawing(disc: np.ndarray) -> None:
    drawing = ((disc.max(axis=2) < 60) * 255).astype(np.uint8)  # its black line
    first, again, other = (change_drawing(drawing, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert first.dtype == np.uint8
    assert first.any()


def test_a_changed_picture_keeps_its_shape_and_type(disc: np.ndarray) -> None:
    changed = change_picture(disc, np.random.default_rng(3))
    assert changed.shape == disc.shape
    assert changed.dtype == np.uint8
    assert len(np.unique(changed.reshape(-1, 3), axis=0)) > 2
