"""The map of a collection: similar items are near each other, coloured by the values of an attribute."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query
from pydantic import Field

from anyseek.api.dependencies import JsonRoute, ServiceDependency, requires
from anyseek.api.http.security import Scope
from anyseek.api.schemas import Answer
from anyseek.search.maps import MAX_ITEMS, CollectionMap, MapRequest
from anyseek.search.types import GroupValue

router = APIRouter(prefix="/v1/collections/{collection}/map", tags=["collections"], route_class=JsonRoute)

Items = Annotated[int, Query(ge=1, le=MAX_ITEMS, description="how many items at most; a sample if there are more")]
SpaceName = Annotated[str | None, Query(description="the space whose vectors are laid out; the model's by default")]
Attribute = Annotated[str | None, Query(description="an attribute by whose values items are coloured")]
Seed = Annotated[int, Query(ge=0, le=2**32 - 1, description="the random seed; equal seeds give equal maps")]

# Okabe and Ito, "Color Universal Design", 2008, safe for colour blindness, and three more.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8c6d31", "#6f4fa8", "#b8b000")
# Five steps of viridis, from low to high.
_SCALE = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")
OTHER, NONE = "#8a8a8a", "#c9c9c9"
_MAX_DISTINCT_NUMBERS = 10  # above this, numbers are coloured by a scale
_MAX_LABEL_LENGTH = 40


class PlaceAnswer(Answer):
    key: str
    x: float = Field(description="from -1, left, to 1")
    y: float = Field(description="from -1, the bottom, to 1")
    value: str | float | bool | None = Field(description="the item's first value of the attribute of `colour_by`")
    colour: str | None = Field(description="the colour of that value, as in the legend")


class MeaningAnswer(Answer):
    colour: str = Field(examples=["#0072b2"])
    label: str
    items: int


class MapAnswer(Answer):
    """Items on a plane, similar ones near each other."""

    places: list[PlaceAnswer] = Field(description="in the order in which the items were first put")
    legend: list[MeaningAnswer] = Field(description="what the colours mean; empty without `colour_by`")
    space: str = Field(description="whose vectors were laid out")
    items: int = Field(description="how many items the collection has; those on the map are a sample if it has more")
    left_out: int = Field(
        description="how many of the chosen items have no sound vector in the space, or a damaged row"
    )

    @classmethod
    def of(cls, layout: CollectionMap, is_coloured: bool) -> "MapAnswer":
        values = [place.value for place in layout.places]
        colours, legend = assign_colours(values) if is_coloured else ([], [])
        places = [PlaceAnswer(**vars(place), colour=colour) for place, colour in zip_longest(layout.places, colours)]
        return cls(places=places, legend=legend, space=layout.space, items=layout.items, left_out=layout.left_out)


@router.get("", dependencies=[requires(Scope.READ)])
async def get_map(
    collection: str,
    service: ServiceDependency,
    space: SpaceName = None,
    colour_by: Attribute = None,
    limit: Items = 5_000,
    seed: Seed = 0,
) -> MapAnswer:
    """Get the map of a collection. It takes seconds at first and after changes of the collection."""
    service.check_ready()
    map_request = MapRequest(space, colour_by, limit, seed)

    def work() -> MapAnswer:
        layout = service.runtime.retry_on_switch(lambda: service.engine_for(collection).map(collection, map_request))
        return MapAnswer.of(layout, colour_by is not None)

    return await service.maps.run(work)


def assign_colours(values: Sequence[GroupValue | None]) -> tuple[list[str], list[MeaningAnswer]]:
    """The colour of each value, where None is no value, and the legend of all colours.

    The nine most frequent values have their own colours; many numbers or times share five, from low to high.
    """
    present = [value for value in values if value is not None]
    numbers = _numbers(present)
    if numbers is not None and len(set(numbers)) > _MAX_DISTINCT_NUMBERS:
        colours, legend = _colour_by_scale(present, numbers)
    else:
        colours, legend = _colour_by_value([_label(value) for value in present])
    if len(present) < len(values):
        legend.append(MeaningAnswer(colour=NONE, label="none", items=len(values) - len(present)))
    remaining = iter(colours)
    return [NONE if value is None else next(remaining) for value in values], legend


def _colour_by_value(labels: Sequence[str]) -> tuple[list[str], list[MeaningAnswer]]:
    """Colours of the most frequent values; equal counts are ordered by label."""
    ordered = sorted(Counter(labels).items(), key=lambda counted: (-counted[1], counted[0]))
    colour_of = {label: colour for (label, _), colour in zip(ordered, _COLOURS, strict=False)}
    first, others = ordered[: len(_COLOURS)], ordered[len(_COLOURS) :]
    legend = [MeaningAnswer(colour=colour_of[label], label=label, items=count) for label, count in first]
    if others:
        count = sum(count for _, count in others)
        legend.append(MeaningAnswer(colour=OTHER, label=f"{len(others):,} other values", items=count))
    return [colour_of.get(label, OTHER) for label in labels], legend


def _colour_by_scale(values: Sequence[GroupValue], numbers: Sequence[float]) -> tuple[list[str], list[MeaningAnswer]]:
    """Colours by quintile, from the lowest numbers to the highest."""
    edges = np.quantile(numbers, np.arange(1, len(_SCALE)) / len(_SCALE), method="inverted_cdf")
    steps = np.searchsorted(edges, numbers).tolist()
    parts: dict[int, list[tuple[float, GroupValue]]] = defaultdict(list)
    for number, value, step in zip(numbers, values, steps, strict=True):
        parts[step].append((number, value))
    legend = [
        MeaningAnswer(colour=_SCALE[step], label=_span(part), items=len(part)) for step, part in sorted(parts.items())
    ]
    return [_SCALE[step] for step in steps], legend


def _numbers(values: Sequence[GroupValue]) -> list[float] | None:
    """The values as numbers, or times as seconds; None unless all are numbers or all are times."""
    if all(isinstance(value, float | int) and not isinstance(value, bool) for value in values):
        return [float(value) for value in values]
    try:
        return [_seconds(value) for value in values]
    except ValueError:
        return None


def _seconds(value: GroupValue) -> float:
    """The timestamp of an ISO 8601 time with a date. Raises `ValueError`."""
    if not isinstance(value, str) or len(value) < len("2024-05-01"):
        raise ValueError(value)
    moment = datetime.fromisoformat(value)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _span(part: Sequence[tuple[float, GroupValue]]) -> str:
    """The label of a quintile: its lowest and highest value, of times the dates."""
    ends = [_label(end[:10] if isinstance(end, str) else end) for _, end in (min(part), max(part))]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def _label(value: GroupValue) -> str:
    """A value on one line, truncated to `_MAX_LABEL_LENGTH`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = f"{value:g}" if isinstance(value, float | int) else value
    shown = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
    return shown if len(shown) <= _MAX_LABEL_LENGTH else f"{shown[: _MAX_LABEL_LENGTH - 1]}\N{HORIZONTAL ELLIPSIS}"
