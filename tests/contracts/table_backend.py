"""A backend as docs/indexes.md says one is added: vectors in the rows of a table, as pgvector has them, but in memory.

The "database" is a dictionary for each data directory, so that it outlives a backend as a server would.
"""

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anyseek.model.seam import FloatArray
from anyseek.search.catalogue import collections
from anyseek.search.catalogue.collections import Head, SpaceHead
from anyseek.search.catalogue.session import Database
from anyseek.search.filters import tree
from anyseek.search.filters.facets import Facet, facets_of
from anyseek.search.filters.places import Place, area_mask, places_of
from anyseek.search.filters.tree import Filter, Operator
from anyseek.search.settings import Settings
from anyseek.search.spaces.base import Neighbours, no_neighbours, top_k
from anyseek.search.spaces.shared import SharedSpace
from anyseek.search.types import IdArray, Item


@dataclass(frozen=True)
class Row:
    """A vector (d,) and what filters see of its item."""

    vector: FloatArray
    facets: tuple[Facet, ...]
    places: list[Place]


Table = dict[int, Row]  # by item id
SERVERS: dict[Path, dict[tuple[int, int], Table]] = defaultdict(lambda: defaultdict(dict))


class TableStore:
    """The rows of one space on one version of its centre."""

    def __init__(self, table: Table, dimension: int) -> None:
        self._table, self._dimension = table, dimension
        self._lock = threading.Lock()

    def create(self) -> None:
        """Tables are there when they are named."""

    def upsert(self, ids: IdArray, vectors: FloatArray, items: Sequence[Item]) -> None:
        rows = {item.id: row_of(item, vector) for item, vector in zip(items, vectors, strict=True)}
        assert list(rows) == ids.tolist()
        with self._lock:
            self._table.update(rows)

    def delete(self, ids: IdArray) -> None:
        with self._lock:
            for item_id in ids.tolist():
                self._table.pop(item_id, None)

    def clear(self) -> None:
        with self._lock:
            self._table.clear()

    def ids(self) -> Iterator[IdArray]:
        yield np.array(sorted(self._table), np.int64)

    def search(self, vectors: FloatArray, k: int, where: Filter | None = None) -> Neighbours:
        with self._lock:
            rows = [(number, row) for number, row in self._table.items() if where is None or passes(row, where)]
        if not rows:
            return no_neighbours(len(vectors))
        scores = vectors @ np.stack([row.vector for _, row in rows]).T
        ids = np.broadcast_to(np.array([number for number, _ in rows], np.int64), scores.shape)
        return top_k(ids, scores.astype(np.float32), k)

    def count(self) -> int:
        return len(self._table)

    def vectors(self, ids: IdArray) -> tuple[IdArray, FloatArray]:
        with self._lock:
            held = sorted(set(ids.tolist()) & self._table.keys())
            rows = np.array([self._table[number].vector for number in held], np.float32)
        return np.array(held, np.int64), rows.reshape(len(held), self._dimension)


class TableBackend:
    """Opens spaces in the tables of the data directory."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._tables = SERVERS[settings.home]

    @staticmethod
    def check(settings: Settings) -> str:
        return f"the tables of {settings.home} answer"

    def open(self, head: Head, space: SpaceHead) -> SharedSpace:
        def store_of(version: int) -> TableStore:
            return TableStore(self._tables[space.id, version], space.dimension)

        return SharedSpace(self._database, head.id, space, store_of)

    def clear_filter_cache(self) -> None:
        """Do nothing."""

    def remove_unknown(self) -> None:
        held = list(self._tables)
        with self._database.read() as session:
            known = collections.space_ids(session)
        for key in held:
            if key[0] not in known:
                self._tables[key].clear()

    def close(self) -> None:
        """No connection is open."""


def row_of(item: Item, vector: FloatArray) -> Row:
    """The translation of attributes: facets, the key and the caption as two more, and places."""
    own = [Facet(tree.KEY, text=item.key)] + ([] if item.caption is None else [Facet(tree.CAPTION, text=item.caption)])
    facets = [facet for facet in facets_of(item.attributes) if not facet.path.startswith("@")]
    return Row(vector.copy(), (*facets, *own), places_of(item.attributes))


def passes(row: Row, where: Filter) -> bool:
    """The translation of filters: whether one holds for an item of these facets."""
    match where:
        case tree.And(parts):
            return all(passes(row, part) for part in parts)
        case tree.Or(parts):
            return any(passes(row, part) for part in parts)
        case tree.Not(part):
            return not passes(row, part)
        case tree.Exists(field):
            return any(facet.path == field or facet.path.startswith(f"{field}.") for facet in row.facets)
        case tree.InBox(field) | tree.InRadius(field):
            own = [(place.lat, place.lon) for place in row.places if place.path == field]
            return bool(area_mask(where, *np.array(own, np.float64).reshape(-1, 2).T).any())
        case tree.Compare(field, operator, value):
            return any(compared(facet, operator, value) for facet in row.facets if facet.path == field)
        case tree.AnyOf(field, values):
            named = [facet for facet in row.facets if facet.path == field]
            return any(compared(facet, Operator.EQUAL, value) for facet in named for value in values)
        case tree.StartsWith(field, prefix):
            texts = [facet.text for facet in row.facets if facet.path == field and facet.text is not None]
            return any(text.startswith(prefix) for text in texts)


def compared(facet: Facet, operator: Operator, value: tree.Scalar) -> bool:
    """Whether one value of an item stands in this order to another of its kind."""
    match value:
        case bool():
            held, bare = facet.truth, value
        case tree.Moment(seconds):
            held, bare = facet.moment, seconds
        case str():
            held, bare = facet.text, value
        case _:
            held, bare = facet.number, value
    orders = {
        Operator.EQUAL: lambda: held == bare,
        Operator.LESS: lambda: held < bare,
        Operator.AT_MOST: lambda: held <= bare,
        Operator.GREATER: lambda: held > bare,
        Operator.AT_LEAST: lambda: held >= bare,
    }
    return held is not None and orders[operator]()
