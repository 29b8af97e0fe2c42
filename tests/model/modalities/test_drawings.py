import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from anyseek.model.modalities.drawings import enlarged, ink, ink_as_picture, square


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
    cut = enlarged(small)
    assert max(cut.shape) < 30
    assert cut.sum() == small.sum()
    np.testing.assert_array_equal(enlarged(ink(_cross())), ink(_cross()))


def test_a_picture_is_padded_not_cropped() -> None:
    wide = np.zeros((10, 40, 3), np.uint8)
    padded = square(wide, 40, 255)
    assert padded.shape == (40, 40, 3)
    assert padded[0].min() == 255
    assert padded[20].max() == 0


def test_ink_is_drawn_black_on_white() -> None:
    picture = ink_as_picture(np.array([[0, 255]], np.uint8))
    np.testing.assert_array_equal(picture[0, :, 0], [255, 0])
