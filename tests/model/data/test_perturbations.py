"""Changed values are values of their modality, whatever the chance."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw

from anyseek.model.data.contents import changed, encode_value
from anyseek.model.data.perturbations import change_drawing, change_ink, change_picture, change_regions, filled
from anyseek.model.seam import Regions

SEEDS = st.integers(0, 2**32 - 1)
SIDES = st.tuples(st.integers(8, 40), st.integers(8, 40))


def values_of(shape: tuple[int, int], seed: int) -> dict[str, object]:
    random = np.random.default_rng(seed)
    depth = random.uniform(0.5, 9, shape).astype(np.float32)
    depth[random.random(shape) < 0.3] = np.nan
    return {
        "rgb": random.integers(0, 256, (*shape, 3)).astype(np.uint8),
        "canny_edge": (random.random(shape) < 0.1).astype(np.uint8) * 255,
        "depth": depth,
        "semseg": Regions(random.integers(0, 300, shape), {1: "sofa"}),
    }


@settings(max_examples=40)
@given(SIDES, SEEDS)
def test_changed_values_can_be_stored_and_are_the_same_for_the_same_seed(shape, seed):
    for modality, value in values_of(shape, seed).items():
        first, again = (changed(modality, value, np.random.default_rng(seed)) for _ in range(2))
        assert encode_value(modality, first) == encode_value(modality, again)


@given(arrays(np.float32, SIDES, elements=st.just(np.nan)), SEEDS)
def test_a_depth_map_of_nothing_stays_one(depth, seed):
    assert np.isnan(changed("depth", depth, np.random.default_rng(seed))).all()


def test_a_closed_outline_is_filled_and_an_open_one_is_not():
    closed = np.zeros((20, 20), np.uint8)
    closed[4:16, 4:16] = 255
    closed[5:15, 5:15] = 0
    opened = closed.copy()
    opened[10, 4] = 0
    assert (filled(closed)[4:16, 4:16] == 255).all()
    assert not filled(closed)[:4].any()
    np.testing.assert_array_equal(filled(opened), opened)


def test_ids_are_changed_together_and_names_go_with_them():
    regions = Regions(np.arange(64).reshape(8, 8) // 16, {0: "wall", 1: "sofa"})
    for seed in range(30):
        found = change_regions(regions, np.random.default_rng(seed))
        assert found.classes in ({}, regions.classes)
        assert len(np.unique(found.ids)) <= 4


@pytest.mark.parametrize("seed", range(8))
def test_a_changed_drawing_is_still_a_drawing(seed):
    drawing = np.zeros((60, 60), np.uint8)
    drawing[10:50, 20], drawing[30, 10:50] = 255, 255
    found = change_ink(drawing, np.random.default_rng(seed))
    assert len(np.unique(found)) > 1


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
