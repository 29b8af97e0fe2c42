"""From any drawing to lines one pixel wide, as an edge detector would have left them. NumPy and Pillow only."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from anyseek.model.modalities.drawings import ByteArray

BoolArray = npt.NDArray[np.bool_]

_INKED = 64  # ink weaker than this is the blur beside a stroke
_SOLID = 9  # pixels: what is at least this thick is a shape, of which an edge detector sees the outline


def edge_lines(strength: ByteArray) -> ByteArray:
    """Ink uint8 (H, W), 0 for paper, as thin lines: uint8 (H, W) of 0 and 255.

    Strokes become their middle lines, solid shapes their outlines.
    """
    inked = strength >= _INKED
    solid = _opened(inked)
    outlines = solid & ~_filtered(solid, ImageFilter.MinFilter(3))
    return np.where(outlines | thinned(inked & ~solid), 255, 0).astype(np.uint8)


def thinned(inked: BoolArray) -> BoolArray:
    """Strokes bool (H, W) worn down from both sides to lines one pixel wide (Zhang and Suen, 1984)."""
    current = inked.copy()
    while True:
        before = current
        for first_half in (True, False):
            current = current & ~_removable(current, first_half=first_half)
        if np.array_equal(before, current):
            return current


def _removable(inked: BoolArray, *, first_half: bool) -> BoolArray:
    """The pixels on the south-east, or then the north-west, side of a stroke that do not hold it together."""
    around = _neighbours(inked)
    north, _, east, _, south, _, west, _ = around
    count = np.sum(around, axis=0)
    changes = np.sum([~a & b for a, b in zip(around, [*around[1:], around[0]], strict=True)], axis=0)
    if first_half:
        side = ~(north & east & south) & ~(east & south & west)
    else:
        side = ~(north & east & west) & ~(north & south & west)
    return np.asarray(inked & (count >= 2) & (count <= 6) & (changes == 1) & side)


def _neighbours(inked: BoolArray) -> list[BoolArray]:
    """Each pixel's eight neighbours, clockwise from the one above; beyond the border there is no ink."""
    height, width = inked.shape
    padded = np.pad(inked, 1)
    offsets = ((0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0), (0, 0))
    return [padded[row : row + height, column : column + width] for row, column in offsets]


def _opened(inked: BoolArray) -> BoolArray:
    """What remains of the ink where a square of `_SOLID` pixels fits into it."""
    return _filtered(_filtered(inked, ImageFilter.MinFilter(_SOLID)), ImageFilter.MaxFilter(_SOLID))


def _filtered(inked: BoolArray, kernel: ImageFilter.RankFilter) -> BoolArray:
    return np.asarray(Image.fromarray(inked.astype(np.uint8)).filter(kernel)) > 0
