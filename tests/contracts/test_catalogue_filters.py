"""Filters find the same items on every database as a plain reading of what they mean."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, func, select, text

from anyseek.search.catalogue import checks, collections, facets, items
from anyseek.search.catalogue.derived_tables import FACETS
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import FacetRow
from anyseek.search.filters.facets import MAX_FACETS, facets_of
from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.filters.tree import (
    And,
    AnyOf,
    Compare,
    Exists,
    Filter,
    InBox,
    InRadius,
    Moment,
    Not,
    Operator,
    Or,
    StartsWith,
    checked,
)
from anyseek.search.types import Attributes, Collection, NewItem
from tests.search.gallery import SPACES, direction

ORDER: dict[Operator, Callable[[Any, Any], bool]] = {
    Operator.EQUAL: lambda a, b: a == b,
    Operator.LESS: lambda a, b: a < b,
    Operator.AT_MOST: lambda a, b: a <= b,
    Operator.GREATER: lambda a, b: a > b,
    Operator.AT_LEAST: lambda a, b: a >= b,
}


def put(database: Database, collection: Collection, attributes: dict[str, Attributes]) -> None:
    new = [
        NewItem(key, key, {space: direction(key, space) for space in SPACES}, f"caption of {key}", values)
        for key, values in attributes.items()
    ]
    with database.write() as session:
        items.write(session, collection, new)


def found(database: Database, collection: Collection, where: Filter | str) -> set[str]:
    tree = filter_from_text(where) if isinstance(where, str) else where
    with database.read() as session:
        ids = facets.matching_ids(session, collection.id, checked(tree))
        every = np.array(items.ids_after(session, collection.id, 0, 1_000), np.int64)
        half = facets.matching_ids(session, collection.id, checked(tree), every[::2])
        assert half.tolist() == [item_id for item_id in ids.tolist() if item_id in set(every[::2].tolist())]
        return {item.key for item in items.by_ids(session, ids.tolist()).values()}


PICTURES: dict[str, Attributes] = {
    "a": {"width": 640, "label": "cat", "taken": "2024-05-01T10:00:00Z", "place": {"lat": 47.4, "lon": 8.5}},
    "b": {"width": 1920, "label": ["dog", "cat"], "taken": "2023-01-31", "open": True, "place": {"lat": -9, "lon": 99}},
    "c": {"width": "1920", "label": "Cat", "camera": {"make": "Nikon", "lens": {"mm": 50}}, "open": False},
    "d": {"label": None, "camera": {"make": "Nikkor"}, "place": {"lat": -17, "lon": -179.5}, "n": 10**400},
}  # fmt: skip


PLACES: dict[str, Attributes] = {
    "apart": {"seen": [{"lat": 10, "lon": 20}, {"lat": 50, "lon": 60}]},
    "there": {"seen": [{"lat": 50, "lon": 20}, {"lat": 10.0, "lon": 60}]},
    "halves": {"seen": [{"lat": 10}, {"lon": 60}, {"lat": [10], "lon": [60]}, {"lat": 10, "lon": "60"}, 10, [[]]]},
    "deeper": {"trips": [{"stops": [[{"seen.lat": 10, "seen.lon": 60}]]}]},
}


@pytest.mark.parametrize("area", ["5 km of 10, 60", "(9, 59, 11, 61)", "(10, 60, 10, 60)"])
def test_the_two_numbers_of_a_place_stay_together(database: Database, collection: Collection, area: str) -> None:
    put(database, collection, PLACES)
    assert found(database, collection, f"seen within {area}") == {"there"}
    assert found(database, collection, f"trips.stops.seen within {area}") == {"deeper"}
    assert found(database, collection, f"not seen within {area}") == {"apart", "halves", "deeper"}


@pytest.mark.parametrize(
    ("where", "keys"),
    [
        ("width >= 640", "ab"), ("width > 640", "b"), ("width = '1920'", "c"), ("not width = 1920", "acd"),
        ("label = cat", "ab"), ("label in (dog, Cat)", "bc"), ("label exists", "abc"), ("not label exists", "d"),
        ("open = true", "b"), ("open in (false)", "c"), ("camera exists", "cd"), ("camera.lens.mm < 60", "c"),
        ("camera.make starts with Nik", "cd"), ("camera.make starts with Niko", "c"), ("label >= a", "ab"),
        ("taken >= 2023-06-01", "a"), ("taken < 2024-05-01T12:00:00+02:00", "b"), ("taken = '2023-01-31'", "b"),
        ("place within (45, 5, 48, 11)", "a"), ("place within (-20, 90, 0, -170)", "bd"),
        ("@key in (a, d)", "ad"), ("@caption starts with 'caption of b'", "b"), ("@caption exists and @key > b", "cd"),
        ("n > 1e300", "d"), ("width > 0 and (label = dog or taken >= 2024-01-01)", "ab"), ("nothing = 1", ""),
        ("label starts with ''", "abc"), ("place.lat < 0", "bd"),
        ("place within 100 km of 47, 8", "a"), ("place within 50 km of 47, 8", ""),
        ("place within 200km of -17, 179", "d"),
        ("not place within 42 mi of (47, 8)", "bcd"), ("place within 20000 km of 47, 8", "abd"),
    ],
)  # fmt: skip
def test_finds_what_it_says(database: Database, collection: Collection, where: str, keys: str) -> None:
    put(database, collection, PICTURES)
    assert found(database, collection, where) == set(keys)


def test_many_ids_cost_no_more_statements_than_a_whole_collection(database: Database, collection: Collection) -> None:
    put(database, collection, PICTURES)
    where, asked = checked(filter_from_text("label exists and @key != b")), list[str]()
    with database.read() as session:
        right = facets.matching_ids(session, collection.id, where)
        event.listen(database.engine, "before_cursor_execute", lambda *call: asked.append(call[2]))
        among = np.concatenate([right[:1], np.arange(1_000_000, 1_006_000)])
        assert facets.matching_ids(session, collection.id, where, among).tolist() == right[:1].tolist()
    assert len(right) > 1
    assert len(asked) <= 3


def test_all_ids_are_read_once_however_many_nots_a_filter_has(database: Database, collection: Collection) -> None:
    put(database, collection, PICTURES)
    asked = list[str]()
    event.listen(database.engine, "before_cursor_execute", lambda *call: asked.append(call[2]))
    with database.read() as session:
        asked.clear()
        nots = And(tuple(Not(And((Exists("label"), Not(Exists(f"no{n}"))))) for n in range(5)))
        assert len(facets.matching_ids(session, collection.id, nots)) == 1
    assert len(asked) == 10 + 1


def test_an_item_whose_attributes_are_unreadable_is_found_by_its_place(
    database: Database, collection: Collection
) -> None:
    put(database, collection, PICTURES)
    broken = "{" if database.engine.dialect.name == "sqlite" else "null"  # PostgreSQL refuses what is no JSON
    with database.write() as session:
        session.execute(text(f"UPDATE items SET attributes = '{broken}' WHERE key = 'a'"))
    with database.read() as session:
        ids = facets.matching_ids(session, collection.id, filter_from_text("place within 100 km of 47, 8"))
        assert [item.damaged for item in items.by_ids(session, ids.tolist()).values()] == [True]


def test_a_changed_item_is_found_by_what_it_is_now(database: Database, collection: Collection) -> None:
    put(database, collection, {"a": {"size": 1}})
    put(database, collection, {"a": {"size": 2}})
    assert (found(database, collection, "size = 1"), found(database, collection, "size = 2")) == (set(), {"a"})
    with database.write() as session:
        items.delete(session, collection, ["a"])
    assert found(database, collection, "size = 2") == set()


def test_a_long_text_is_found_by_its_start_and_never_mistaken(database: Database, collection: Collection) -> None:
    put(database, collection, {"long": {"text": "x" * 900}, "short": {"text": "x" * 500}, "nul": {"te\0xt": "a\0b"}})
    assert found(database, collection, f"text = {'x' * 500}") == {"short"}
    assert found(database, collection, f"text starts with {'x' * 500}") == {"long", "short"}
    assert found(database, collection, "`te\ufffdxt` = 'a\ufffdb'") == {"nul"}


def test_no_item_has_more_facets_than_the_limit() -> None:
    assert len(facets_of({"numbers": list(range(5_000))})) == MAX_FACETS


def test_verify_sees_stale_facets_and_settling_mends_them(database: Database, collection: Collection) -> None:
    put(database, collection, PICTURES)
    with database.write() as session:
        head = collections.head(session, collection.name)
        FACETS.delete(session, list(items.ids_of_keys(session, head.id, ["a", "c"]).values()))
    with database.read() as session:
        assert sorted(checks.stale_keys(session, head, FACETS)) == ["a", "c"]
    with database.write() as session:
        checks.repair(session, head, [])
    with database.read() as session:
        assert list(checks.stale_keys(session, head, FACETS)) == []
    assert found(database, collection, "width exists") == {"a", "b", "c"}


def test_deleting_a_collection_takes_its_facets_along(database: Database, collection: Collection) -> None:
    put(database, collection, PICTURES)
    with database.write() as session:
        collections.delete(session, collection.name)
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(FacetRow)) == 0


SCALARS = st.sampled_from([0, 1, -2.5, True, False, "", "a", "ab", "b", "2024-05-01", "ä", None])
OBJECTS = st.dictionaries(st.sampled_from(["x", "lat", "lon"]), SCALARS, max_size=3)
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["x", "y", "z"]),
    SCALARS | st.lists(SCALARS, max_size=3) | OBJECTS | st.lists(OBJECTS, max_size=3),
    max_size=3,
)
FIELDS = st.sampled_from(["x", "y", "z", "x.x", "z.lat"])
VALUES = st.sampled_from([0.0, 1.0, -2.5, True, "", "a", "ab", "2024-05-01", "ä", Moment(1_714_521_600.0)])
ORDERED = VALUES.filter(lambda value: not isinstance(value, bool))
CONDITIONS = st.one_of(
    st.builds(Compare, FIELDS, st.sampled_from(list(Operator)), ORDERED),
    st.builds(Compare, FIELDS, st.just(Operator.EQUAL), VALUES),
    st.builds(AnyOf, FIELDS, st.lists(VALUES, min_size=1, max_size=3).map(tuple)),
    st.builds(StartsWith, FIELDS, st.sampled_from(["", "a", "2024", "ä"])),
    st.builds(Exists, FIELDS),
    st.builds(
        lambda field, west: InBox(field, -1.0, west, 1.0, 0.0), st.sampled_from("xy"), st.sampled_from([-1.0, 1.0])
    ),
    st.builds(
        InRadius,
        st.sampled_from("xy"),
        st.sampled_from([0.0, 1.0, 89.5]),
        st.sampled_from([0.0, -179.5]),
        st.sampled_from([1.0, 150.0, 300.0, 20_000.0]),
    ),
)
FILTERS = st.recursive(
    CONDITIONS,
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: And(tuple(parts))),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: Or(tuple(parts))),
    ),
    max_leaves=6,
)


def leaves(path: str, value: Any) -> Iterator[Any]:
    """Every value at a path or below, with the path relative to it."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(f"{path}.{name}" if path else name, inner)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(path, inner)
    elif value is not None:
        yield path, value


def holds(where: Filter, attributes: Attributes) -> bool:
    """The oracle: what the words of `anyseek.search.filters.tree` say, read plainly."""
    match where:
        case And(parts):
            return all(holds(part, attributes) for part in parts)
        case Or(parts):
            return any(holds(part, attributes) for part in parts)
        case Not(part):
            return not holds(part, attributes)
        case InBox(field, south, west, north, east):
            inside = [lon for lat, lon in points(attributes, field) if south <= lat <= north]
            return any(west <= lon <= east if west <= east else lon >= west or lon <= east for lon in inside)
        case InRadius(field, lat, lon, km):
            return any(apart(lat, lon, a, o) <= km for a, o in points(attributes, field))
        case Exists(field):
            return any(path == field or path.startswith(f"{field}.") for path, _ in leaves("", attributes))
        case _:
            return any(passes(where, value) for path, value in leaves("", attributes) if path == where.field)


def points(attributes: Attributes, field: str) -> list[tuple[float, float]]:
    """The places at a field of the attributes themselves: objects there, each with both numbers."""
    value = attributes.get(field)
    objects = [inner for inner in (value if isinstance(value, list) else [value]) if isinstance(inner, dict)]
    pairs = [(inner.get("lat"), inner.get("lon")) for inner in objects]
    return [(a, o) for a, o in pairs if is_number(a) and is_number(o) and abs(a) <= 90 and abs(o) <= 180]


def apart(lat: float, lon: float, other_lat: float, other_lon: float) -> float:
    """Kilometres between two points: the angle between their directions from the middle of the earth."""

    def direction(lat: float, lon: float) -> tuple[float, float, float]:
        phi, along = math.radians(lat), math.radians(lon)
        return math.cos(phi) * math.cos(along), math.cos(phi) * math.sin(along), math.sin(phi)

    return 6371.0088 * 2 * math.asin(min(math.dist(direction(lat, lon), direction(other_lat, other_lon)) / 2, 1.0))


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def passes(condition: Compare | AnyOf | StartsWith, value: Any) -> bool:
    match condition:
        case StartsWith(_, prefix):
            return isinstance(value, str) and value.startswith(prefix)
        case AnyOf(field, values):
            return any(passes(Compare(field, Operator.EQUAL, choice), value) for choice in values)
        case Compare(_, operator, Moment(seconds)):
            moment = Moment.parse(value) if isinstance(value, str) else None
            return moment is not None and ORDER[operator](moment.seconds, seconds)
        case Compare(_, operator, wanted):
            same_kind = isinstance(wanted, str) == isinstance(value, str) and is_number(wanted) == is_number(value)
            return same_kind and ORDER[operator](value, wanted)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(attributes=st.lists(ATTRIBUTES, max_size=6), filters=st.lists(FILTERS, min_size=1, max_size=5))
def test_agrees_with_a_plain_reading(
    database: Database, collection: Collection, attributes: list[Attributes], filters: list[Filter]
) -> None:
    with database.write() as session:
        items.delete(session, collection, [str(n) for n in range(6)])
    gallery = {str(n): values for n, values in enumerate(attributes)}
    put(database, collection, gallery)
    for where in filters:
        assert found(database, collection, where) == {key for key, values in gallery.items() if holds(where, values)}
