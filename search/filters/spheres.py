"""Distances on the earth, taken for a sphere: at most 0.6% from those on its true shape."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

EARTH_KM = 6371.0088  # the mean radius, with which Qdrant computes, too
LONGEST_KM = 20_040.0  # a little more than to the other side
_SLACK = 1e-9  # radians, 6 mm: so that rounding cannot put a point of the circle outside of its bounds

Degrees = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Bounds:
    """A box in degrees around a circle. Where west is greater than east it crosses the 180th meridian."""

    south: float
    west: float
    north: float
    east: float


def kilometres(lat: float, lon: float, lats: Degrees, lons: Degrees) -> Degrees:
    """The distances of a point from others, (n,), by the haversine formula; all in degrees."""
    phi, phis = math.radians(lat), np.radians(lats)
    across = np.sin(np.radians(lons - lon) / 2) ** 2
    half = np.sin((phis - phi) / 2) ** 2 + math.cos(phi) * np.cos(phis) * across
    return np.asarray(2 * EARTH_KM * np.arcsin(np.sqrt(np.clip(half, 0, 1))))


def bounds(lat: float, lon: float, km: float) -> Bounds:
    """The smallest box that has every point at most `km` from a point; all longitudes if a pole is among them."""
    angle = min(km / EARTH_KM + _SLACK, math.pi)
    phi = math.radians(lat)
    south, north = math.degrees(phi - angle), math.degrees(phi + angle)
    if south <= -90 or north >= 90:
        return Bounds(max(south, -90.0), -180.0, min(north, 90.0), 180.0)
    wide = math.degrees(math.asin(min(math.sin(angle) / math.cos(phi), 1.0)) + _SLACK)
    west, east = (_wrapped(lon + side) for side in (-wide, wide))
    return Bounds(south, west, north, east)


def _wrapped(lon: float) -> float:
    """A longitude of up to a turn too much as one from -180 to 180."""
    return lon + 360 if lon < -180 else lon - 360 if lon > 180 else lon
