"""Qdrant finds by a filter what the NumPy index finds among the ids that the catalogue resolves it to."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anyseek.search.catalogue import facets, items
from anyseek.search.catalogue.session import Database
from anyseek.search.filters.tree import (
    CAPTION,
    KEY,
    AnyOf,
    Compare,
    Exists,
    Filter,
    InBox,
    InRadius,
    Not,
    Operator,
    StartsWith,
    checked,
)
from anyseek.search.spaces.qdrant.backend import connect
from anyseek.search.spaces.qdrant.filters import as_condition, payload_of
from anyseek.search.types import Attributes, Collection, Item
from tests.contracts.test_catalogue_filters import ATTRIBUTES, FILTERS, PLACES, put
from tests.contracts.vector_indexes import NEEDS_SERVER, QDRANT_URL, in_qdrant
from tests.search.gallery import DIMENSION, direction
from tests.search.memory_index import MemoryIndex

ADDRESSES = [
    pytest.param(":memory:", id="qdrant-local"),
    pytest.param(QDRANT_URL, id="qdrant-server", marks=NEEDS_SERVER),
]
QUERY = direction("the query", "looks")[np.newaxis]
OWN_TEXTS = [
    Exists(CAPTION),
    Not(Exists(CAPTION)),
    Compare(KEY, Operator.GREATER, "1"),
    Compare(KEY, Operator.AT_MOST, "3"),
    AnyOf(KEY, ("0", "5", "x")),
    StartsWith(CAPTION, "caption of"),
    Compare(CAPTION, Operator.LESS, "caption of 2"),
]


class Both:
    """The same items in the catalogue with the NumPy index, and in Qdrant."""

    def __init__(self, database: Database, collection: Collection, address: str) -> None:
        self._database = database
        self._collection = collection
        self._memory = MemoryIndex(DIMENSION)
        self._client = connect(address)
        self._qdrant = in_qdrant(self._client, DIMENSION)

    def put(self, gallery: dict[str, Attributes]) -> None:
        put(self._database, self._collection, gallery)
        with self._database.read() as session:
            held = list(items.by_keys(session, self._collection, list(gallery)).values())
        if held:
            ids = np.array([item.id for item in held])
            vectors = np.stack([direction(item.key, "looks") for item in held])
            self._memory.upsert(ids, vectors)
            self._qdrant.upsert(ids, vectors, held)

    def assert_equal(self, filters: Sequence[Filter]) -> None:
        for where in filters:
            with self._database.read() as session:
                ids = facets.matching_ids(session, self._collection.id, checked(where))
            expected, found = self._memory.search(QUERY, 10, ids), self._qdrant.search(QUERY, 10, where)
            np.testing.assert_array_equal(found.ids, expected.ids, str(where))
            np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)

    def close(self) -> None:
        self._client.close()


def test_long_texts_are_ordered_as_in_the_catalogue(database: Database, collection: Collection) -> None:
    both = Both(database, collection, ":memory:")
    both.put({"a": {"t": "x" * 900}, "b": {"t": "x" * 500}, "c": {"t": "x" * 7 + "y"}, "d": {"t": "\U0010ffff\u00e4"}})
    for value in ("x" * 500, "x" * 499, "x" * 8, "x", "\U0010ffff", "\u00e4" * 3):
        both.assert_equal([Compare("t", operator, value) for operator in Operator] + [StartsWith("t", value)])
    both.close()


def test_the_two_numbers_of_a_place_stay_together(database: Database, collection: Collection) -> None:
    both = Both(database, collection, ":memory:")
    both.put(PLACES)
    for field in ("seen", "trips.stops.seen"):
        both.assert_equal([InRadius(field, 10, 60, 5), InBox(field, 9, 59, 11, 61), InBox(field, 10, 60, 10, 60)])
        both.assert_equal([InBox(field, 9, 60, 50, -170)])
    both.close()


def test_attributes_that_look_like_own_fields_are_not_taken_for_them() -> None:
    item = Item(1, "k", None, "", None, {"@key": "other", "a": {"@key": "inner"}}, 1)
    assert {facet["path"] for facet in payload_of(item)["facets"]} == {"@key", "a.@key"}
    assert [facet["text"] for facet in payload_of(item)["facets"] if facet["path"] == "@key"] == ["k"]
    assert as_condition(Exists("@caption")).must


@pytest.mark.parametrize("address", ADDRESSES)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(attributes=st.lists(ATTRIBUTES, max_size=6), filters=st.lists(FILTERS, min_size=1, max_size=5))
def test_agrees_with_the_catalogue(
    database: Database, collection: Collection, address: str, attributes: list[Attributes], filters: list[Filter]
) -> None:
    with database.write() as session:
        items.delete(session, collection, [str(n) for n in range(6)])
    both = Both(database, collection, address)
    both.put({str(n): values for n, values in enumerate(attributes)})
    both.assert_equal([*filters, *OWN_TEXTS])
    both.close()
