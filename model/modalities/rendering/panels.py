"""The parts of previews: a square canvas, text, and legends beneath.

Text uses Pillow's built-in font, so every machine draws the same.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from anyseek.model.modalities.drawings import ByteArray

SIDE = 448  # of previews: twice what published models predict at
Colour = tuple[int, int, int]

PAPER, INK = (250, 250, 250), (25, 25, 25)
_NEUTRAL = (226, 226, 226)
FONT_SIZE = 15
_MARGIN, _SWATCH = 10, 14
_ROW = _SWATCH + 8


def font(size: int = FONT_SIZE) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's built-in font."""
    return ImageFont.load_default(size)


def canvas(picture: ByteArray | None, side: int = SIDE) -> Image.Image:
    """The model's input, `side` pixels wide: the centre square of uint8 (H, W, 3), or grey without a picture."""
    if picture is None:
        return Image.new("RGB", (side, side), _NEUTRAL)
    height, width = picture.shape[:2]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    middle = Image.fromarray(picture[top : top + edge, left : left + edge])
    return middle.resize((side, side), Image.Resampling.BICUBIC)


def enlarge(values: ByteArray, side: int = SIDE) -> Image.Image:
    """Scale uint8 (h, w) or (h, w, 3) up to a longer side of `side` by nearest neighbour; larger ones stay."""
    height, width = values.shape[:2]
    scale = max(side / max(height, width), 1.0)
    size = (round(width * scale), round(height * scale))
    return Image.fromarray(values).resize(size, Image.Resampling.NEAREST)


def draw_label(pen: ImageDraw.ImageDraw, corner: tuple[float, float], text: str, colour: Colour) -> None:
    """Draw text on a patch of `colour` with its upper left corner at `corner`, moved to lie inside the image."""
    width, height = pen.im.size
    left, top, right, bottom = pen.textbbox((0, 0), text, font())
    text_width, text_height = right - left + 6, bottom - top + 6
    x = max(min(corner[0], width - text_width), 0)
    y = max(min(corner[1], height - text_height), 0)
    pen.rectangle((x, y, x + text_width, y + text_height), fill=colour)
    pen.text((x + 3 - left, y + 3 - top), text, fill=text_colour_on(colour), font=font())


def text_colour_on(colour: Colour) -> Colour:
    """Black or white, whichever is legible on `colour`."""
    brightness = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    return INK if brightness > 140 else (255, 255, 255)


def with_legend(image: Image.Image, entries: Sequence[tuple[Colour, str]]) -> Image.Image:
    """The image with rows of colour and text beneath, in as many columns as fit."""
    if not entries:
        return image
    widest = max(font().getlength(text) for _, text in entries)
    column = int(_SWATCH + 8 + widest + _MARGIN)
    columns = max(min((image.width - _MARGIN) // column, len(entries)), 1)
    rows = -(-len(entries) // columns)
    width = max(image.width, column + _MARGIN)
    whole = Image.new("RGB", (width, image.height + rows * _ROW + 2 * _MARGIN), PAPER)
    whole.paste(image, (0, 0))
    pen = ImageDraw.Draw(whole)
    for place, (colour, text) in enumerate(entries):
        x = _MARGIN + place // rows * column
        y = image.height + _MARGIN + place % rows * _ROW
        pen.rectangle((x, y, x + _SWATCH, y + _SWATCH), fill=colour, outline=INK)
        pen.text((x + _SWATCH + 8, y + _SWATCH / 2), text, fill=INK, font=font(), anchor="lm")
    return whole


def with_scale(image: Image.Image, bar: ByteArray, first: str, last: str, note: str = "") -> Image.Image:
    """The image with a colour bar uint8 (n, 3) below, labelled `first` and `last`, and a note below that."""
    height = 2 * _MARGIN + _ROW + (_ROW if note else 0)
    whole = Image.new("RGB", (image.width, image.height + height), PAPER)
    whole.paste(image, (0, 0))
    pen = ImageDraw.Draw(whole)
    middle = image.height + _MARGIN + _SWATCH / 2
    start = int(_MARGIN * 2 + font().getlength(first))
    end = int(image.width - _MARGIN * 2 - font().getlength(last))
    strip = Image.fromarray(bar[None]).resize((max(end - start, 1), _SWATCH), Image.Resampling.BILINEAR)
    whole.paste(strip, (start, image.height + _MARGIN))
    pen.text((_MARGIN, middle), first, fill=INK, font=font(), anchor="lm")
    pen.text((image.width - _MARGIN, middle), last, fill=INK, font=font(), anchor="rm")
    if note:
        pen.text((_MARGIN, middle + _ROW), note, fill=INK, font=font(), anchor="lm")
    return whole


_CELL, _GAP, _LINE, _TEXT = 192, 12, 22, 13
_MAX_COLUMNS = 10
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


@dataclass(frozen=True)
class Print:
    """One cell of a contact sheet: rank, key, and the picture, None if it is missing."""

    rank: int
    key: str
    picture: Image.Image | None


def contact_sheet(prints: Sequence[Print]) -> Image.Image:
    """A grid of one or more pictures, row by row, with rank and key; of a long key the end is shown."""
    columns = min(math.ceil(math.sqrt(len(prints) * 1.5)), _MAX_COLUMNS, len(prints))
    rows = math.ceil(len(prints) / columns)
    width, height = _CELL + _GAP, _CELL + _LINE + _GAP
    sheet = Image.new("RGB", (columns * width + _GAP, rows * height + _GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    for place, item in enumerate(prints):
        left, top = _GAP + place % columns * width, _GAP + place // columns * height
        if item.picture is not None:
            small = item.picture.convert("RGB")
            small.thumbnail((_CELL, _CELL))
            sheet.paste(small, (left + (_CELL - small.width) // 2, top + (_CELL - small.height) // 2))
        pen.text((left, top + _CELL + 3), _caption(item), fill=INK, font=font(_TEXT))
    return sheet


def _caption(item: Print) -> str:
    """Rank and key, as much of the key's end as fits."""
    key = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in item.key)
    text, kept = f"{item.rank}  {key}", len(key)
    while font(_TEXT).getlength(text) > _CELL and kept > 1:
        kept -= 1
        text = f"{item.rank}  {ELLIPSIS}{key[-kept:]}"
    return text
