"""Distances on a spherical earth, within 0.6% of those on the ellipsoid."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

EARTH_KM = 6371.0088  # the mean radius, which Qdrant uses too
MAX_RADIUS_KM = 20_040.0  # a little more than to the antipode
_SLACK = 1e-9  # radians, 6 mm: keeps rounding from putting a point of the circle outside its bounds

Degrees = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Bounds:
    """Bounding box of a circle, in degrees; if west is greater than east, it crosses the 180th meridian."""

    south: float
    west: float
    north: float
    east: float


def kilometres(lat: float, lon: float, lats: Degrees, lons: Degrees) -> Degrees:
    """Distances (n,) in km from a point to others by the haversine formula; coordinates are in degrees."""
    phi, phis = math.radians(lat), np.radians(lats)
    half_lon = np.sin(np.radians(lons - lon) / 2) ** 2
    haversine = np.sin((phis - phi) / 2) ** 2 + math.cos(phi) * np.cos(phis) * half_lon
    return np.asarray(2 * EARTH_KM * np.arcsin(np.sqrt(np.clip(haversine, 0, 1))))


def bounds(lat: float, lon: float, km: float) -> Bounds:
    """Bounding box of the circle with radius `km` around a point; all longitudes if it includes a pole."""
    angle = min(km / EARTH_KM + _SLACK, math.pi)
    phi = math.radians(lat)
    south, north = math.degrees(phi - angle), math.degrees(phi + angle)
    if south <= -90 or north >= 90:
        return Bounds(max(south, -90.0), -180.0, min(north, 90.0), 180.0)
    half_width = math.degrees(math.asin(min(math.sin(angle) / math.cos(phi), 1.0)) + _SLACK)
    west, east = (_wrap_longitude(lon + offset) for offset in (-half_width, half_width))
    return Bounds(south, west, north, east)


def _wrap_longitude(lon: float) -> float:
    """The longitude normalised to -180 to 180 degrees."""
    return lon + 360 if lon < -180 else lon - 360 if lon > 180 else lon
