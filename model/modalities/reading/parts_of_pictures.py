"""A part of a picture as a picture of its own, cut out of the original before that is scaled down."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from anyseek.model.modalities.reading.encoded import WORKING_SIDE, Encoded
from anyseek.model.modalities.reading.errors import BadRegion
from anyseek.model.modalities.reading.pictures import decode_for_part
from anyseek.model.modalities.reading.understood import Reading, Understood

REGION = "region"


def read_region(file: Encoded, box: Sequence[float]) -> Reading:
    """The part of an upright picture in a box of left, top, right and bottom, as fractions of its sides.

    Uint8 (H, W, 3) with sides of at most `WORKING_SIDE`. Raises `BadRegion` for an empty box or one that is not
    inside, and `DecodeError`.
    """
    if len(box) != 4 or not all(math.isfinite(edge) and 0 <= edge <= 1 for edge in box):
        raise BadRegion(f"the box of {file.name} is {_written(box)}; it has left, top, right and bottom from 0 to 1")
    left, top, right, bottom = box
    if left >= right or top >= bottom:
        raise BadRegion(f"the box of {file.name} is {_written(box)} and empty; left is below right, top below bottom")
    whole, (width, height) = decode_for_part(file, right - left, bottom - top, WORKING_SIDE)
    rows, columns = _within(top, bottom, whole.shape[0]), _within(left, right, whole.shape[1])
    image = Image.fromarray(np.ascontiguousarray(whole[rows.start : rows.stop, columns.start : columns.stop]))
    image.thumbnail((WORKING_SIDE, WORKING_SIDE), Image.Resampling.BICUBIC, reducing_gap=2.0)
    size = f"{len(_within(left, right, width))} x {len(_within(top, bottom, height))}"
    sentence = f"only the box {_written(box)} of {file.name} is used, {size} pixels"
    return Reading(np.asarray(image), Understood(file.name, REGION, 1.0, sentence))


def _within(first: float, last: float, pixels: int) -> range:
    """The pixels of a side that lie between two fractions of it, one at least."""
    start = min(int(first * pixels), pixels - 1)
    return range(start, max(math.ceil(last * pixels), start + 1))


def _written(box: Sequence[float]) -> str:
    return ", ".join(f"{edge:g}" for edge in box[:8])
