import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.formats.color_palette import (
    palette_from_text,
    palette_of,
    palette_to_text,
    stripes,
)
from anyseek.model.modalities.formats.spans import FormatInvalid


def test_a_uniform_background_is_no_colour_of_the_palette() -> None:
    picture = np.full((80, 80, 3), 255, np.uint8)
    picture[20:60, 20:50] = (200, 0, 0)
    picture[20:60, 50:60] = (0, 0, 200)
    palette = palette_of(picture, 2)
    assert palette.shape == (2, 3)
    np.testing.assert_allclose(palette, [(200, 0, 0), (0, 0, 200)], atol=12)


def test_a_plain_picture_has_its_one_colour() -> None:
    np.testing.assert_allclose(palette_of(np.full((20, 20, 3), 77, np.uint8), 5), [[77, 77, 77]], atol=2)


@given(arrays(np.uint8, st.tuples(st.integers(1, 7), st.just(3))))
def test_colours_come_back_from_text(palette: ByteArray) -> None:
    np.testing.assert_array_equal(palette_from_text(palette_to_text(palette)), palette)


def test_what_is_no_colour_is_left_out() -> None:
    text = "v1=2 v0=1 v0=2 v0=300 v0=4 v0=5 v0=6 v0=7 v0=8 v0=9 v0=1 v0=1 v0=1 v0=255"
    assert palette_from_text(text).tolist() == [[4, 5, 6], [7, 8, 9]]
    assert palette_from_text("v0=1 v0=2").shape == (0, 3)
    assert len(palette_from_text("v1=999 " + "v0=1 " * 30)) == 7


def test_a_palette_without_text_is_refused() -> None:
    with pytest.raises(FormatInvalid, match="1 to 7 colours"):
        palette_to_text(np.zeros((8, 3), np.uint8))


def test_stripes_show_the_colours_from_left_to_right() -> None:
    picture = stripes(np.array([[255, 0, 0], [0, 0, 255]], np.uint8), 6)
    assert picture.shape == (6, 6, 3)
    assert picture[5, :, 0].tolist() == [255, 255, 255, 0, 0, 0]
