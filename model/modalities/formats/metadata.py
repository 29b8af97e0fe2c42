"""Metadata: numbers that describe a picture, written as pairs `v1=<field> v0=<bin>`.

The reference reads a bin of a range as value / 50 * (max - min) + min, which is not the inverse of how it writes one.
Here a bin stands for its middle, so reading a bin and writing it again gives the same bin.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from anyseek.model.modalities.formats.bins import MAX_BIN, Bin, clamp, read_words, write_bin
from anyseek.model.modalities.formats.spans import FormatInvalid


@dataclass(frozen=True)
class Count:
    """Whole numbers in steps of `unit`, from 0 to 999 steps; a bin stands for its lowest number."""

    unit: int = 1

    def to_bin(self, value: float) -> int:
        return int(clamp(value, 0, MAX_BIN * self.unit)) // self.unit

    def from_bin(self, number: int) -> float:
        return number * self.unit


@dataclass(frozen=True)
class Range:
    """Numbers in [low, high] in `bins` bins, the last for `high` alone; values outside count as its ends."""

    low: float
    high: float
    bins: int = 50

    def to_bin(self, value: float) -> int:
        return int((clamp(value, self.low, self.high) - self.low) / (self.high - self.low) * (self.bins - 1))

    def from_bin(self, number: int) -> float | None:
        if number >= self.bins:
            return None
        last = self.bins - 1
        return self.high if number == last else self.low + (number + 0.5) / last * (self.high - self.low)


@dataclass(frozen=True)
class Steps:
    """A bin for each interval between `boundaries`, a boundary belonging to the upper one; `values` stand for them."""

    boundaries: tuple[float, ...]
    values: tuple[float, ...]

    def to_bin(self, value: float) -> int:
        return sum(value >= boundary for boundary in self.boundaries)

    def from_bin(self, number: int) -> float | None:
        return self.values[number] if number < len(self.values) else None


# How the values of a field become bins: `from_bin` is None where it has no such bin. Field `n` is written `v1=<n>`.
FIELDS: dict[str, Count | Range | Steps] = {
    "original_width": Count(32),
    "original_height": Count(32),
    "caption_n_chars": Count(),
    "caption_n_words": Count(),
    "caption_n_sentences": Count(),
    "n_humans": Count(),
    "n_sam_instances": Count(),
    "n_coco_instances": Count(),
    "coco_instance_diversity": Count(),
    "colorfulness": Range(0, 150),
    "brightness": Range(0, 255),
    "contrast": Range(0, 127),
    "saturation": Range(0, 255),
    "entropy": Range(0, 10),
    "walkability": Range(0, 1),
    "objectness": Range(0, 1),
    "semantic_diversity": Count(),
    "geometric_complexity": Range(0, 0.75),
    "occlusion_score": Range(0, 0.25),
    "watermark_score": Steps((0.5,), (0.0, 1.0)),
    "aesthetic_score": Steps((4.5, 5.5), (4.0, 5.0, 6.0)),
}
FIELD_NUMBERS = {name: number for number, name in enumerate(FIELDS)}
_NAMES = tuple(FIELDS)


@dataclass(frozen=True)
class Metadata:
    """Numbers by field name, in the order in which they are written. Raises `FormatInvalid` for an unknown field."""

    values: Mapping[str, float]

    def __post_init__(self) -> None:
        if unknown := [name for name in self.values if name not in FIELDS]:
            raise FormatInvalid(f"{unknown[0]!r} is not a field of metadata; the fields are {', '.join(FIELDS)}")


def metadata_chunks(metadata: Metadata) -> list[str]:
    """One pair a field: what span masking keeps or drops as one."""
    return [
        f"{write_bin(1, FIELD_NUMBERS[name])} {write_bin(0, FIELDS[name].to_bin(value))}"
        for name, value in metadata.values.items()
    ]


def metadata_to_text(metadata: Metadata) -> str:
    """All pairs, joined by spaces."""
    return " ".join(metadata_chunks(metadata))


def metadata_from_text(text: str) -> Metadata:
    """The fields of a text, the first of each counting; pairs that no field has are left out."""
    values: dict[str, float] = {}
    words = read_words(text)
    for field, number in pairwise(words):
        if not (isinstance(field, Bin) and isinstance(number, Bin) and (field.axis, number.axis) == (1, 0)):
            continue
        name = _NAMES[field.value] if field.value < len(_NAMES) else None
        value = FIELDS[name].from_bin(number.value) if name is not None else None
        if name is not None and value is not None:
            values.setdefault(name, value)
    return Metadata(values)
