"""Edges of pictures, and drawings as arrays of ink."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw

from anyseek.model.modalities.drawings import crop_to_ink, ink, ink_to_picture, square
from anyseek.model.modalities.edge_detection import canny, edge_lines, random_canny, soft_edges, thin_strokes


@pytest.fixture
def disc() -> np.ndarray:
    """An orange disc of radius 50 around (110, 110)."""
    picture = Image.new("RGB", (224, 224), "white")
    ImageDraw.Draw(picture).ellipse((60, 60, 160, 160), fill="orange", outline="black", width=4)
    return np.asarray(picture)


@pytest.fixture
def step() -> np.ndarray:
    """Dark on the left, light from column 20 on."""
    picture = np.full((40, 40, 3), 60, np.uint8)
    picture[:, 20:] = 200
    return picture


def test_varied_edges_are_thin_lines_where_the_shape_ends(disc):
    for seed in range(5):
        rows, columns = np.nonzero(random_canny(disc, np.random.default_rng(seed)))
        distance = np.hypot(rows - 110, columns - 110)
        assert 0.002 < len(rows) / 224**2 < 0.06
        assert np.abs(distance - 50).max() < 8


def test_a_step_has_one_edge_one_pixel_wide_in_every_direction(step):
    for turned in (step, step.transpose(1, 0, 2), 255 - step):
        found = canny(turned, blur=1.0, quiet=0.9)
        assert set(np.unique(found)) == {0, 255}
        lines = found if turned.shape != step.shape or (turned[0, 0] != turned[0, -1]).any() else found.T
        assert (np.count_nonzero(lines[2:-2], axis=1) == 1).all()


def test_a_weak_edge_stays_where_it_goes_on_from_a_strong_one_and_not_alone():
    picture = np.full((120, 120, 3), 100, np.uint8)
    fading = np.linspace(60, 24, 120).astype(np.uint8)[:, None, None]
    picture[:, 40:80] += fading  # its left border fades from 60 to 24
    picture[:, 80:] += np.uint8(24)
    picture[:, 100:] -= np.uint8(24)  # as weak as that end, all along
    found = canny(picture, blur=1.0, quiet=0.985)
    assert (np.count_nonzero(found[2:-2, 35:45], axis=1) == 1).all()
    assert not found[:, 95:].any()


def test_nothing_and_noise_of_one_grey_level_have_no_edges():
    flat = np.full((64, 64, 3), 90, np.uint8)
    assert not soft_edges(flat).any()
    assert not edge_lines(np.zeros((30, 40), np.uint8)).any()
    for picture in (flat, flat + np.random.default_rng(0).integers(0, 2, flat.shape, np.uint8)):
        assert not canny(picture, 1.0, 0.9).any()


def test_soft_edges_are_strongest_where_the_step_is_and_graded_beside_it(step):
    found = soft_edges(step).astype(int)
    row = found[20]
    assert row[19:21].min() == row.max() == 255
    assert list(row[20:28]) == sorted(row[20:28], reverse=True)
    assert row[0] < 20 < row[17] < 255


def test_a_change_of_colour_at_the_same_brightness_is_a_soft_edge():
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[:, :20], picture[:, 20:] = (255, 0, 0), (0, 130, 0)
    assert soft_edges(picture)[20, 20] == 255


def _drawn(draw: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    sheet = Image.new("L", (100, 100), 0)
    pen = ImageDraw.Draw(sheet)
    if draw == "stroke":
        pen.line((20, 50, 80, 50), fill=255, width=5)
    else:
        pen.rectangle((20, 20, 79, 79), fill=255)
    return np.asarray(sheet)


def test_a_stroke_becomes_its_middle_line() -> None:
    lines = edge_lines(_drawn("stroke"))
    rows, columns = np.nonzero(lines)
    assert set(np.unique(lines)) == {0, 255}
    assert set(rows) == {50}
    assert 50 <= len(columns) <= 60


def test_a_solid_shape_becomes_its_outline() -> None:
    lines = edge_lines(_drawn("square"))
    outline = np.zeros((100, 100), bool)
    outline[20:80, 20:80] = True
    outline[21:79, 21:79] = False
    np.testing.assert_array_equal(lines > 0, outline)


@given(arrays(np.bool_, (12, 12), elements=st.booleans()))
def test_thinning_only_takes_away_and_can_be_repeated(inked: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> None:
    lines = thin_strokes(inked)
    assert not (lines & ~inked).any()
    np.testing.assert_array_equal(thin_strokes(lines), lines)


def _cross(size: int = 40) -> np.ndarray:
    drawing = np.full((size, size), 230, np.uint8)
    drawing[size // 2, 8:-8] = 20
    drawing[8:-8, size // 2] = 20
    return drawing


def test_ink_is_the_same_for_dark_on_light_and_light_on_dark() -> None:
    np.testing.assert_array_equal(ink(_cross()), ink(255 - _cross()))
    assert ink(_cross())[20, 20] == 255
    assert ink(_cross())[0, 0] == 0


def test_a_blank_sheet_has_no_ink_whatever_its_shade() -> None:
    for shade in (0, 127, 250):
        assert not ink(np.full((10, 12), shade, np.uint8)).any()


@given(arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_ink_of_ink_is_that_ink(drawing: np.ndarray) -> None:
    once = ink(drawing)
    assert once.shape == drawing.shape
    if once[0, :].max() == 0 and once[-1, :].max() == 0 and once[:, 0].max() == 0 and once[:, -1].max() == 0:
        np.testing.assert_array_equal(ink(once), once)


def test_a_small_drawing_is_cut_out_and_a_large_one_left_alone() -> None:
    small = np.zeros((100, 100), np.uint8)
    small[10:30, 10:25] = 255
    cut = crop_to_ink(small)
    assert max(cut.shape) < 30
    assert cut.sum() == small.sum()
    np.testing.assert_array_equal(crop_to_ink(ink(_cross())), ink(_cross()))


def test_a_picture_is_padded_not_cropped() -> None:
    wide = np.zeros((10, 40, 3), np.uint8)
    padded = square(wide, 40, 255)
    assert padded.shape == (40, 40, 3)
    assert padded[0].min() == 255
    assert padded[20].max() == 0


def test_ink_is_drawn_black_on_white() -> None:
    picture = ink_to_picture(np.array([[0, 255]], np.uint8))
    np.testing.assert_array_equal(picture[0, :, 0], [255, 0])
