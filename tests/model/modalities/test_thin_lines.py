"""Lines of drawings."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw

from anyseek.model.modalities.thin_lines import edge_lines, thinned


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
    lines = thinned(inked)
    assert not (lines & ~inked).any()
    np.testing.assert_array_equal(thinned(lines), lines)


def test_blank_paper_has_no_lines() -> None:
    assert not edge_lines(np.zeros((30, 40), np.uint8)).any()
