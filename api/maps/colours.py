"""The colours of a map: one for each value of an attribute, or a scale for numbers and times, and what they mean."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from anyseek.search.types import GroupValue

# Okabe and Ito, "Color Universal Design", 2008, which people with colour blindness tell apart, and three more.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8c6d31", "#6f4fa8", "#b8b000")
# Five steps of viridis, from low to high.
_SCALE = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")
OTHER, NONE = "#8a8a8a", "#c9c9c9"
_FEW = 10  # different numbers, from which on they are coloured by a scale
_LONGEST = 40


@dataclass(frozen=True)
class Meaning:
    """What a colour, `#rrggbb`, stands for, and how many items have it."""

    colour: str
    label: str
    items: int


@dataclass(frozen=True)
class Colouring:
    """The colour of each item, and the legend of all of them."""

    colours: tuple[str, ...]
    legend: tuple[Meaning, ...]


def coloured(values: Sequence[GroupValue | None]) -> Colouring:
    """Colours for values, None where an item has none: for nine values, or for five parts of many numbers or times."""
    held = [value for value in values if value is not None]
    numbers = _numbers(held)
    if numbers is not None and len(set(numbers)) > _FEW:
        return _by_scale(values, numbers)
    return _by_value(values)


def _by_value(values: Sequence[GroupValue | None]) -> Colouring:
    """The most frequent values have colours; equal counts are ordered by label."""
    counted = Counter(_label(value) for value in values if value is not None)
    ordered = sorted(counted.items(), key=lambda one: (-one[1], one[0]))
    colour_of = {label: colour for (label, _), colour in zip(ordered, _COLOURS, strict=False)}
    legend = [Meaning(colour_of[label], label, count) for label, count in ordered[: len(_COLOURS)]]
    others = ordered[len(_COLOURS) :]
    if others:
        legend.append(Meaning(OTHER, f"{len(others):,} other values", sum(count for _, count in others)))
    colours = [NONE if value is None else colour_of.get(_label(value), OTHER) for value in values]
    return Colouring(tuple(colours), (*legend, *_none(values)))


def _by_scale(values: Sequence[GroupValue | None], numbers: Sequence[float]) -> Colouring:
    """Five parts of about equally many items each, from the lowest numbers to the highest."""
    edges = np.quantile(numbers, np.arange(1, len(_SCALE)) / len(_SCALE), method="inverted_cdf")
    given = iter(np.searchsorted(edges, numbers).tolist())
    steps = [None if value is None else next(given) for value in values]
    held = [value for value in values if value is not None]
    parts: dict[int, list[tuple[float, GroupValue]]] = defaultdict(list)
    for number, value, step in zip(numbers, held, (step for step in steps if step is not None), strict=True):
        parts[step].append((number, value))
    legend = [Meaning(_SCALE[step], _span(part), len(part)) for step, part in sorted(parts.items())]
    colours = [NONE if step is None else _SCALE[step] for step in steps]
    return Colouring(tuple(colours), (*legend, *_none(values)))


def _none(values: Sequence[GroupValue | None]) -> tuple[Meaning, ...]:
    without = sum(value is None for value in values)
    return (Meaning(NONE, "none", without),) if without else ()


def _numbers(values: Sequence[GroupValue]) -> list[float] | None:
    """The values as numbers if all are numbers, or all are times, then seconds; else None."""
    if all(isinstance(value, float | int) and not isinstance(value, bool) for value in values):
        return [float(value) for value in values]
    try:
        return [_seconds(value) for value in values]
    except ValueError:
        return None


def _seconds(value: GroupValue) -> float:
    """Raises `ValueError` for what is no ISO 8601 time with a date."""
    if not isinstance(value, str) or len(value) < len("2024-05-01"):
        raise ValueError(value)
    moment = datetime.fromisoformat(value)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _span(part: Sequence[tuple[float, GroupValue]]) -> str:
    """The lowest and the highest value of a part; of times their dates."""
    ends = [_label(end[:10] if isinstance(end, str) else end) for _, end in (min(part), max(part))]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def _label(value: GroupValue) -> str:
    """A value on one line, cut where it is long."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = f"{value:g}" if isinstance(value, float | int) else value
    shown = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"
