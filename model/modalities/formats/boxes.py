"""Bounding boxes (`det`): each box is `v0=<xmin> v1=<ymin> v2=<xmax> v3=<ymax> <class>`; spaces join them."""

from collections.abc import Sequence
from dataclasses import dataclass

from anyseek.model.modalities.formats.bins import (
    Bin,
    read_words,
    scale_from_bin,
    scale_to_bin,
    split_before,
    take_bins,
    write_bin,
)
from anyseek.model.modalities.formats.spans import FormatInvalid

MIN_SCORE = 0.6  # boxes of a lower score are not written
_CORNER_AXES = range(4)


@dataclass(frozen=True)
class Box:
    """A rectangle; [0, 1] of the picture's width and height, unless the format says pixels."""

    xmin: float
    ymin: float
    xmax: float
    ymax: float

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """xmin, ymin, xmax, ymax."""
        return self.xmin, self.ymin, self.xmax, self.ymax


@dataclass(frozen=True)
class LabelledBox:
    """A box and the class in it; published vocabularies know the 80 COCO names. `score` in [0, 1] is not written."""

    box: Box
    label: str
    score: float = 1.0

    def __post_init__(self) -> None:
        words = read_words(self.label)
        if " ".join(word for word in words if isinstance(word, str)) != self.label or not words:
            raise FormatInvalid(
                f"{self.label!r} is not a class name; a class name is words joined by single spaces, none of them a bin"
            )


def boxes_to_text(boxes: Sequence[LabelledBox]) -> str:
    """Boxes of a score of 0.6 or more, nearest to the upper left corner first."""
    chosen = [box for box in boxes if box.score >= MIN_SCORE]
    chosen.sort(key=lambda item: item.box.xmin**2 + item.box.ymin**2)
    return " ".join(f"{write_box(item.box)} {item.label}" for item in chosen)


def boxes_from_text(text: str) -> list[LabelledBox]:
    """The boxes of a text, with score 1; a box without four corners and a class is left out."""
    boxes = []
    for words in split_before(read_words(text), lambda word: isinstance(word, Bin) and word.axis == 0):
        box = read_box(words)
        label = [word for word in words[4:] if isinstance(word, str)]
        if box is not None and label and len(label) == len(words) - 4:
            boxes.append(LabelledBox(box, " ".join(label)))
    return boxes


def write_box(box: Box) -> str:
    """Four bins of a box in [0, 1]: xmin, ymin, xmax, ymax."""
    return " ".join(write_bin(axis, scale_to_bin(value, 0.0, 1.0)) for axis, value in enumerate(box.corners))


def read_box(words: Sequence[str | Bin]) -> Box | None:
    """The box in [0, 1] of the first four words; None if they are not a box."""
    values = take_bins(words, _CORNER_AXES)
    return None if values is None else Box(*(scale_from_bin(value, 0.0, 1.0) for value in values))
