"""Places within attributes: objects with both numbers in range, under the path that filters call them by."""

import pytest

from anyseek.search.filters.places import MAX_PLACES, Place, places_at, places_of
from anyseek.search.types import Attributes

ROME: Attributes = {"lat": 41.9, "lon": 12.5}


@pytest.mark.parametrize(
    ("attributes", "places"),
    [
        ({"a": ROME, "b": {"c": [ROME, [{"lat": 1, "lon": 2, "d": ROME}]]}}, "a b.c b.c.d b.c"),
        ({"a.lat": 1, "a.lon": 2, "a": {"lat": 3}, "lat": 4, "lon": 5}, "a"),
        ({"a": {"lat": 90, "lon": -180}, "b": {"lat": 90.1, "lon": 0}, "c": {"lat": 0, "lon": 10**400}}, "a"),
        ({"a": {"lat": True, "lon": 1}, "b": {"lat": "1", "lon": 1}, "c": {"lat": [1], "lon": [2]}, "d": []}, ""),
        ({"a": {"lat": 1, "lon": None}, "b": {"lon": 1}, "ab": {"flat": 1, "flon": 2}}, ""),
    ],
)
def test_only_both_numbers_of_one_object_are_a_place(attributes: Attributes, places: str) -> None:
    found = places_of(attributes)
    assert sorted(place.path for place in found) == sorted(places.split())
    for field in {place.path for place in found}:
        assert places_at(attributes, field) == [place for place in found if place.path == field]


def test_the_numbers_are_those_of_the_object() -> None:
    assert places_at({"a": [{"lat": 1, "lon": 2}, {"lon": 4, "lat": 3.5}]}, "a") == [
        Place("a", 1.0, 2.0),
        Place("a", 3.5, 4.0),
    ]


def test_no_item_has_more_places_than_the_limit() -> None:
    assert len(places_of({"a": [ROME] * 5_000})) == MAX_PLACES
