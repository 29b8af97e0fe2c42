"""Distances on the earth, and the box around a circle."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyseek.search.filters.spheres import EARTH_KM, bounds, kilometres

LATITUDES = st.floats(-90, 90)
LONGITUDES = st.floats(-180, 180)


def apart(lat: float, lon: float, other_lat: float, other_lon: float) -> float:
    return float(kilometres(lat, lon, np.array([other_lat]), np.array([other_lon]))[0])


@pytest.mark.parametrize(
    ("first", "second", "km"),
    [
        ((41.8931, 12.4828), (48.8566, 2.3522), 1105.8),  # Rome and Paris
        ((-17.0, 179.9), (-17.0, -179.9), 21.3),
        ((90.0, 0.0), (-90.0, 50.0), math.pi * EARTH_KM),
        ((5.0, 7.0), (5.0, 7.0), 0.0),
    ],
)
def test_known_distances(first: tuple[float, float], second: tuple[float, float], km: float) -> None:
    assert apart(*first, *second) == pytest.approx(km, abs=0.5)


@given(LATITUDES, LONGITUDES, LATITUDES, LONGITUDES)
def test_the_box_around_a_circle_has_its_points(lat: float, lon: float, other_lat: float, other_lon: float) -> None:
    km = apart(lat, lon, other_lat, other_lon)
    box = bounds(lat, lon, max(km, 1e-6))
    assert box.south <= other_lat <= box.north
    inside = box.west <= other_lon <= box.east
    across = box.west > box.east and (other_lon >= box.west or other_lon <= box.east)
    at_the_pole = abs(abs(other_lat) - 90) < 1e-6  # where every longitude is the same place
    on_the_line = abs(abs(other_lon) - 180) < 1e-6  # 180 and -180 are one meridian
    assert inside or across or at_the_pole or on_the_line


def test_the_box_is_no_larger_than_it_has_to_be() -> None:
    box = bounds(41.9, 12.5, 10)
    assert box.north - box.south == pytest.approx(20 / 111.195, rel=1e-4)
    assert box.east - box.west == pytest.approx(20 / 111.195 / math.cos(math.radians(41.9)), rel=1e-3)
