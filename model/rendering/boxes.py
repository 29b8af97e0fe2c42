"""Boxes on pictures."""

import zlib
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from model.drawing import ByteArray
from model.formats.boxes import Box, LabelledBox
from model.rendering.colours import class_colours
from model.rendering.panels import SIDE, Colour, canvas, label

_LINE = 3


def colour_of(number: int) -> Colour:
    """The colour of the thing number 1, 2, …"""
    red, green, blue = class_colours(np.array([number]))[0].tolist()
    return red, green, blue


def boxes_preview(boxes: Sequence[LabelledBox], picture: ByteArray | None) -> Image.Image:
    """Every box with its label on the middle square of the picture; boxes of one class have one colour."""
    image = canvas(picture)
    pen = ImageDraw.Draw(image)
    for one in boxes:
        # A checksum, so that a class has its colour in every picture and in every process.
        colour = colour_of(1 + zlib.crc32(one.label.encode()) % 997)
        outline(pen, one.box, colour)
        label(pen, (one.box.xmin * SIDE, one.box.ymin * SIDE), one.label, colour)
    return image


def outline(pen: ImageDraw.ImageDraw, box: Box, colour: Colour, whole: float = 1.0) -> None:
    """Draw a box whose coordinates go to `whole` at the picture's right and lower edge; corners in any order."""
    left, right = sorted((box.xmin, box.xmax))
    top, bottom = sorted((box.ymin, box.ymax))
    scale = (SIDE - 1) / whole
    pen.rectangle((left * scale, top * scale, right * scale, bottom * scale), outline=colour, width=_LINE)
