"""A map as a picture: thumbnails on a grid without overlaps, or a point for each item where there are too many."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from anyseek.model.modalities.rendering.panels import INK, PAPER, font
from anyseek.model.seam import FloatArray

MOST_THUMBNAILS = 1_000
SIDE = 2_400  # pixels of the longer side, about, and of a map of points exactly
_LARGEST_CELL, _SMALLEST_CELL = 192, 48
_ROOM = 1.6  # cells for each item
_FRAME, _GAP = 4, 2
_MOST_CELLS = 40  # each way, where each shows the item in its middle
_ACCENT = "#4f46d8"

Thumbnail = Callable[[str], Image.Image | None]


@dataclass(frozen=True)
class Sheet:
    """A drawn map, how many of its items are on it, and how many of these have no thumbnail."""

    picture: Image.Image
    shown: int
    blank: int


def draw(found: dict[str, Any], thumbnail: Thumbnail) -> Sheet:
    """Draw a map, an answer of `GET /v1/collections/{c}/map` with at least one place.

    Up to `MOST_THUMBNAILS` items are thumbnails, each on the free cell that is nearest to its place. More are points if
    they have colours; else each cell of a grid shows the item in its middle. `thumbnail` gives that of a key.
    """
    places = found["places"]
    positions = np.array([(place["x"], -place["y"]) for place in places], np.float32)  # pictures count rows downwards
    if len(places) > MOST_THUMBNAILS and found["legend"]:
        sheet = Sheet(_points(places, positions), len(places), 0)
    else:
        sheet = _thumbnails(places, positions, thumbnail)
    return Sheet(_with_legend(sheet.picture, found["legend"]), sheet.shown, sheet.blank)


def nearest_free_cells(positions: FloatArray, columns: int, rows: int) -> npt.NDArray[np.int64]:
    """A cell of its own for each position (n, 2), numbered by rows, for at most `columns` x `rows` positions: (n,).

    In rounds, each position without a cell asks for the nearest free one, and the nearest of those who ask gets it. So
    nobody is sent far because others came first by chance.
    """
    scaled = _on_grid(positions, columns, rows)
    centres = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2).astype(np.float32)
    cells = np.full(len(positions), -1, np.int64)
    free = np.arange(columns * rows)
    while (waiting := np.flatnonzero(cells < 0)).size:
        distances = ((scaled[waiting, np.newaxis] - centres[free]) ** 2).sum(axis=2)
        choice = distances.argmin(axis=1)
        order = np.lexsort((waiting, distances[np.arange(len(waiting)), choice]))
        taken, first = np.unique(choice[order], return_index=True)
        cells[waiting[order[first]]] = free[taken]
        free = np.delete(free, taken)
    return cells


def middle_of_cells(positions: FloatArray, columns: int, rows: int) -> tuple[npt.NDArray[np.int64], ...]:
    """Of the positions (n, 2) in each cell, the one nearest to its centre: places in `positions`, and their cells."""
    scaled = _on_grid(positions, columns, rows)
    nearest = np.rint(scaled)
    cells = (nearest[:, 1] * columns + nearest[:, 0]).astype(np.int64)
    order = np.lexsort((np.arange(len(cells)), ((scaled - nearest) ** 2).sum(axis=1)))
    taken, first = np.unique(cells[order], return_index=True)
    return order[first], taken


def _on_grid(positions: FloatArray, columns: int, rows: int) -> FloatArray:
    """The positions so that the outermost lie in the middle of the outermost cells."""
    low, high = positions.min(axis=0), positions.max(axis=0)
    size = np.array([columns - 1, rows - 1], np.float32)
    span = np.where(high > low, high - low, 1)
    scaled: FloatArray = ((positions - low) / span * size + np.where(high > low, 0, size / 2)).astype(np.float32)
    return scaled


def _thumbnails(places: Sequence[dict[str, Any]], positions: FloatArray, thumbnail: Thumbnail) -> Sheet:
    columns, rows = _grid(positions)
    if len(places) <= MOST_THUMBNAILS:
        shown, cells = np.arange(len(places)), nearest_free_cells(positions, columns, rows)
    else:
        shown, cells = middle_of_cells(positions, columns, rows)
    side = max(min(SIDE // max(columns, rows), _LARGEST_CELL), _SMALLEST_CELL)
    sheet = Image.new("RGB", (columns * side, rows * side), PAPER)
    blank = 0
    for number, cell in zip(shown.tolist(), cells.tolist(), strict=True):
        row, column = divmod(cell, columns)
        small, colour = thumbnail(places[number]["key"]), places[number]["colour"]
        blank += small is None
        _paste(sheet, small, (column * side, row * side), side, colour)
    return Sheet(sheet, len(shown), blank)


def _grid(positions: FloatArray) -> tuple[int, int]:
    """Columns and rows with room for all positions, as wide and high as these lie."""
    count = len(positions)
    if count > MOST_THUMBNAILS:
        wide = high = _MOST_CELLS
    else:
        spread = np.ptp(positions, axis=0) + 0.1
        wide = math.ceil(math.sqrt(count * _ROOM * float(spread[0] / spread[1])))
        high = math.ceil(count * _ROOM / wide)
    return wide, high


def _paste(
    sheet: Image.Image, small: Image.Image | None, corner: tuple[int, int], side: int, colour: str | None
) -> None:
    """A thumbnail in the middle of its cell, with a frame of its colour; a grey square if there is none."""
    pen = ImageDraw.Draw(sheet)
    inner = side - 2 * _GAP
    if colour is not None:
        box = (corner[0] + _GAP, corner[1] + _GAP, corner[0] + _GAP + inner - 1, corner[1] + _GAP + inner - 1)
        pen.rectangle(box, fill=colour)
        inner -= 2 * _FRAME
    fitted = Image.new("RGB", (inner, inner), "#dddddd") if small is None else small.convert("RGB")
    fitted.thumbnail((inner, inner))
    sheet.paste(fitted, (corner[0] + (side - fitted.width) // 2, corner[1] + (side - fitted.height) // 2))


def _points(places: Sequence[dict[str, Any]], positions: FloatArray) -> Image.Image:
    """A disc for each item, smaller the more there are; drawn twice as large, so that their edges are smooth."""
    radius = max(3.0, 260 / math.sqrt(len(places)))
    low, span = positions.min(axis=0), max(float(np.ptp(positions, axis=0).max()), 1e-6)
    placed = (positions - low) / span * (SIDE - 6 * radius) + 3 * radius
    height = math.ceil(float(placed[:, 1].max()) + 3 * radius)
    sheet = Image.new("RGB", (2 * SIDE, 2 * height), PAPER)
    pen = ImageDraw.Draw(sheet)
    for place, (x, y) in zip(places, placed.tolist(), strict=True):
        pen.ellipse(
            [2 * (x - radius), 2 * (y - radius), 2 * (x + radius), 2 * (y + radius)], fill=place["colour"] or _ACCENT
        )
    return sheet.resize((SIDE, height), Image.Resampling.BOX)


def _with_legend(picture: Image.Image, legend: Sequence[dict[str, Any]]) -> Image.Image:
    """The picture with a row for each colour beneath, in letters that can be read when all of it fills a screen."""
    if not legend:
        return picture
    texts = [f"{one['label']} ({one['items']:,})" for one in legend]
    size = max(picture.width // 70, 14)
    line, letters = 2 * size, font(size)
    width = max(picture.width, math.ceil(max(letters.getlength(text) for text in texts)) + 3 * line)
    whole = Image.new("RGB", (width, picture.height + (len(legend) + 1) * line), PAPER)
    whole.paste(picture, (0, 0))
    pen = ImageDraw.Draw(whole)
    for number, (one, text) in enumerate(zip(legend, texts, strict=True)):
        top = picture.height + line // 2 + number * line
        pen.rectangle((line // 2, top + size // 4, line // 2 + size, top + size + size // 4), fill=one["colour"])
        pen.text((2 * line, top + size * 3 // 4), text, fill=INK, font=letters, anchor="lm")
    return whole
