"""Colour palettes as swatches."""

from PIL import Image, ImageDraw

from model.drawing import ByteArray
from model.rendering.documents import palette_members
from model.rendering.panels import PAPER, Colour, font, ink_on

_SWATCH = (120, 150)


def palette_preview(palette: ByteArray) -> Image.Image:
    """Each colour as a field with its #rrggbb on it."""
    width, height = _SWATCH
    image = Image.new("RGB", (width * max(len(palette), 1), height), PAPER)
    pen = ImageDraw.Draw(image)
    for place, (colour, name) in enumerate(zip(palette.tolist(), palette_members(palette), strict=True)):
        fill: Colour = (colour[0], colour[1], colour[2])
        pen.rectangle((place * width, 0, (place + 1) * width, height), fill=fill)
        middle = (place * width + width / 2, height / 2)
        pen.text(middle, name, fill=ink_on(fill), font=font(), anchor="mm")
    if not len(palette):
        pen.text((width / 2, height / 2), "no colours", fill=ink_on(PAPER), font=font(), anchor="mm")
    return image
