"""SAM instances: points of the picture, each with the masks that contain it.

A point is written as `point v0=<y> v1=<x>` (y first). Then follows `none`, or for each mask `polygon v0=<xmin>
v1=<ymin> v2=<xmax> v3=<ymax>` (x first) and 16 codes of the mask tokenizer. Coordinates are whole pixels of the
224 x 224 picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from anyseek.model.modalities.formats.bins import (
    Bin,
    read_codes,
    read_words,
    split_before,
    take_bins,
    write_bin,
    write_code,
)
from anyseek.model.modalities.formats.boxes import Box
from anyseek.model.modalities.formats.spans import FormatInvalid

SIDE = 224
MASK_TOKENS = 16
_POINT, _MASK, _NOTHING = "point", "polygon", "none"


@dataclass(frozen=True)
class MaskInstance:
    """One mask: its `box` in pixels and 16 `tokens` 0 to 1023, a 4 x 4 grid row by row."""

    box: Box
    tokens: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.tokens) != MASK_TOKENS:
            raise FormatInvalid(f"a mask has {MASK_TOKENS} tokens, not {len(self.tokens)}")


@dataclass(frozen=True)
class QueryPoint:
    """A point in pixels and the masks that contain it."""

    y: int
    x: int
    masks: tuple[MaskInstance, ...] = ()


def query_grid(count: int) -> list[tuple[int, int]]:
    """count x count evenly spaced points (y, x) of the picture, row by row."""
    step = SIDE // (count + 1)
    return [(row * step, column * step) for row in range(1, count + 1) for column in range(1, count + 1)]


def instances_to_text(points: Sequence[QueryPoint]) -> str:
    """The text of all points in their order; coordinates of boxes are cut to whole pixels."""
    words: list[str] = []
    for point in points:
        words += [_POINT, write_bin(0, point.y), write_bin(1, point.x)]
        for mask in point.masks:
            words += [_MASK, *(write_bin(axis, int(value)) for axis, value in enumerate(mask.box.corners))]
            words += [write_code(token) for token in mask.tokens]
        if not point.masks:
            words.append(_NOTHING)
    return " ".join(words)


def instances_from_text(text: str) -> list[QueryPoint]:
    """The points of a text; points without coordinates and masks that are not complete are left out."""
    points = []
    for _, *words in split_before(read_words(text), lambda word: word == _POINT):
        masks = [_read_mask(part[1:]) for part in split_before(words, lambda word: word == _MASK)]
        if (place := take_bins(words, (0, 1))) is not None:
            points.append(QueryPoint(place[0], place[1], tuple(mask for mask in masks if mask is not None)))
    return points


def _read_mask(words: Sequence[str | Bin]) -> MaskInstance | None:
    corners = take_bins(words, range(4))
    tokens = read_codes(words[4:], MASK_TOKENS)
    return None if corners is None or tokens is None else MaskInstance(Box(*map(float, corners)), tokens)
