"""A contact sheet: many small pictures in a grid, each with a line of text beneath."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from anyseek.model.modalities.rendering.panels import INK, PAPER, font

_CELL, _GAP, _LINE, _TEXT = 192, 12, 22, 13
_MOST_COLUMNS = 10
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


@dataclass(frozen=True)
class Print:
    """One picture of a sheet: its place in the order, its key, and the picture, None where there is none."""

    rank: int
    key: str
    picture: Image.Image | None


def contact_sheet(prints: Sequence[Print]) -> Image.Image:
    """A grid of at least one picture, in their order by rows, with rank and key; a long key keeps its end."""
    columns = min(math.ceil(math.sqrt(len(prints) * 1.5)), _MOST_COLUMNS, len(prints))
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
