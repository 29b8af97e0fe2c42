"""Places within the attributes of an item, and tests for those in a box or near a point."""

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from anyseek.search.filters import spheres
from anyseek.search.filters.facets import as_float, join_path
from anyseek.search.filters.spheres import Degrees
from anyseek.search.filters.tree import MAX_PATH_LENGTH, InBox, InRadius
from anyseek.search.types import Attributes

# Further places are ignored, like further facets.
MAX_PLACES = 1_000
_LAT, _LON = "lat", "lon"


class Place(NamedTuple):
    """The path of an object with the numbers `lat` and `lon`, in degrees."""

    path: str
    lat: float
    lon: float


def places_of(attributes: Attributes) -> list[Place]:
    """Return the places of an item in the order of its attributes, at most `MAX_PLACES`."""
    return list(islice(_walk("", attributes), MAX_PLACES))


def places_at(attributes: Attributes, field: str) -> list[Place]:
    """Return the places at a field, in the same order, without visiting other attributes."""
    return [place for place in islice(_walk("", attributes, f"{field}.{_LAT}"), MAX_PLACES) if place.path == field]


def area_mask(where: InBox | InRadius, lats: Degrees, lons: Degrees) -> npt.NDArray[np.bool_]:
    """Mask (n,) of the places that satisfy the condition."""
    if isinstance(where, InRadius):
        return spheres.kilometres(where.lat, where.lon, lats, lons) <= where.km
    west, east = lons >= where.west, lons <= where.east
    in_longitudes = west & east if where.west <= where.east else west | east
    return (lats >= where.south) & (lats <= where.north) & in_longitudes


def _walk(path: str, value: Any, target: str | None = None) -> Iterator[Place]:
    """Every place at or below a path; `target` restricts the walk to ancestors of that latitude's path."""
    if isinstance(value, list):
        for inner in value:
            yield from _walk(path, inner, target)
    elif isinstance(value, dict) and len(path) <= MAX_PATH_LENGTH:
        for name, inner in value.items():
            below = join_path(path, name)
            if target is not None and not target.startswith(below):
                continue
            if isinstance(inner, dict | list):
                yield from _walk(below, inner, target)
            elif below.endswith(f".{_LAT}"):
                yield from _place(below, inner, value.get(name.removesuffix(_LAT) + _LON))


def _place(path_of_lat: str, lat: object, lon: object) -> Iterator[Place]:
    numbers = [as_float(side) for side in (lat, lon) if isinstance(side, int | float) and not isinstance(side, bool)]
    if len(numbers) == 2 and abs(numbers[0]) <= 90 and abs(numbers[1]) <= 180:
        yield Place(path_of_lat.removesuffix(f".{_LAT}"), *numbers)
