"""A part of a picture as a picture of its own, cut out of the original before that is scaled down."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from model.modalities.reading.encoded import WORKING_SIDE, Encoded
from model.modalities.reading.errors import BadRegion
from model.modalities.reading.pictures import decode_picture
from model.modalities.reading.understood import Reading, Understood

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
    whole = decode_picture(replace(file, side=None))
    height, width = whole.shape[:2]
    first_row, first_column = min(int(top * height), height - 1), min(int(left * width), width - 1)
    last_row, last_column = (
        max(math.ceil(bottom * height), first_row + 1),
        max(math.ceil(right * width), first_column + 1),
    )
    image = Image.fromarray(np.ascontiguousarray(whole[first_row:last_row, first_column:last_column]))
    size = f"{image.width} x {image.height}"
    image.thumbnail((WORKING_SIDE, WORKING_SIDE), Image.Resampling.BICUBIC, reducing_gap=2.0)
    sentence = f"only the box {_written(box)} of {file.name} is used, {size} pixels"
    return Reading(np.asarray(image), Understood(file.name, REGION, 1.0, sentence))


def _written(box: Sequence[float]) -> str:
    return ", ".join(f"{edge:g}" for edge in box[:8])
