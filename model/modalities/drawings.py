"""Drawings as arrays: one polarity, one contrast, one frame. NumPy and Pillow only.

A drawing reaches us as strokes or solid shapes, dark on light or light on dark, clean or photographed. Everything
downstream sees ink as a value from 0 (paper) to 255 (full stroke).
"""

from typing import cast

import numpy as np
import numpy.typing as npt
from PIL import Image

ByteArray = npt.NDArray[np.uint8]

_INKED = 32  # ink of at least this strength says where on the sheet the drawing is
_FAINTEST_INK = 8.0  # a sheet is blank if its strongest stroke differs from the paper by less than this


def ink(drawing: ByteArray) -> ByteArray:
    """The amount of ink at each pixel: uint8 (H, W), 0 for paper, 255 for the strongest strokes.

    The paper is the median of the border, so polarity and the paper's shade do not matter; ink is what differs
    from it on the far side of the range. Applying it twice changes nothing. A blank sheet gives zeros.
    """
    values = drawing.astype(np.float32)
    border = np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])
    paper = float(np.median(border))
    dark_on_light = paper > (float(values.min()) + float(values.max())) / 2
    strength = np.clip(paper - values if dark_on_light else values - paper, 0, None)
    peak = float(strength.max())
    if peak < _FAINTEST_INK:
        return np.zeros_like(drawing)
    return cast(ByteArray, np.rint(strength * (255.0 / peak)).astype(np.uint8))


def ink_to_picture(strength: ByteArray) -> ByteArray:
    """Black ink on white paper: uint8 (H, W, 3)."""
    return np.repeat(255 - strength[:, :, None], 3, axis=2)


def crop_to_ink(strength: ByteArray) -> ByteArray:
    """Crop a drawing that fills less than half of its sheet, with a margin; others are unchanged."""
    rows, columns = np.nonzero(strength > _INKED)
    if not len(rows):
        return strength
    top, bottom = int(rows.min()), int(rows.max()) + 1
    left, right = int(columns.min()), int(columns.max()) + 1
    side = max(bottom - top, right - left)
    if side * 2 >= max(strength.shape):
        return strength
    margin = side // 6
    return strength[max(top - margin, 0) : bottom + margin, max(left - margin, 0) : right + margin]


def square(picture: ByteArray, size: int, background: int) -> ByteArray:
    """Pad (H, W, 3) to a square with `background` on both sides, then scale it to (size, size, 3)."""
    height, width = picture.shape[:2]
    side = max(height, width)
    canvas = Image.new("RGB", (side, side), (background,) * 3)
    canvas.paste(Image.fromarray(picture), ((side - width) // 2, (side - height) // 2))
    return np.asarray(canvas.resize((size, size), Image.Resampling.BICUBIC))
