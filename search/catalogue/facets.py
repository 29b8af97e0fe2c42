"""The items that pass a filter, by SQL statements over facets, and the values that items have."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial, reduce
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy.orm import Session, aliased

from anyseek.model.modalities.reading.budget import raise_if_abandoned
from anyseek.search.catalogue import item_rows
from anyseek.search.catalogue.interruption import filter_deadline
from anyseek.search.catalogue.tables import FacetRow, ItemRow
from anyseek.search.catalogue.values import chunks, id_in
from anyseek.search.filters import spheres, tree
from anyseek.search.filters.places import area_mask, places_at
from anyseek.search.filters.tree import Filter, Operator
from anyseek.search.types import GroupValue, IdArray

_MAX_LISTED_IDS = 5_000  # with more ids it is faster to read the values of all items
_LAST_CHARACTER = "\U0010ffff"
_ORDER: dict[Operator, Callable[[Any, Any], Any]] = {
    Operator.EQUAL: operator.eq,
    Operator.LESS: operator.lt,
    Operator.AT_MOST: operator.le,
    Operator.GREATER: operator.gt,
    Operator.AT_LEAST: operator.ge,
}


def values_of(session: Session, collection_id: int, path: str, ids: Sequence[int]) -> dict[int, list[GroupValue]]:
    """The values that items have at a path, by item id; an item without one is left out."""
    columns = (FacetRow.item_id, FacetRow.truth, FacetRow.text, FacetRow.number)
    of_path = select(*columns).where(FacetRow.collection_id == collection_id, FacetRow.path == path)
    values: dict[int, list[GroupValue]] = {}
    query = of_path.where(id_in(session, FacetRow.item_id, ids)) if len(ids) <= _MAX_LISTED_IDS else of_path
    for item_id, *kinds in session.execute(query.order_by(FacetRow.id)):
        values.setdefault(item_id, []).append(next(value for value in kinds if value is not None))
    return values


@dataclass(frozen=True)
class _Tables:
    """The tables that conditions search: all facets and items, or only those of some items."""

    facets: Any = FacetRow
    items: Any = ItemRow

    @classmethod
    def of(cls, session: Session, ids: Sequence[int]) -> "_Tables":
        """OFFSET 0 makes databases read these rows first; SQLite would visit all rows that satisfy the condition."""
        facets = select(FacetRow).where(id_in(session, FacetRow.item_id, ids)).offset(0).subquery()
        items = select(ItemRow).where(id_in(session, ItemRow.id, ids)).offset(0).subquery()
        return cls(aliased(FacetRow, facets), aliased(ItemRow, items))


def matching_ids(session: Session, collection_id: int, where: Filter, candidates: IdArray | None = None) -> IdArray:
    """The ids of the collection's items that pass a `checked` filter, ascending; `candidates` restricts them.

    Raises what `raise_if_abandoned` raises: `LimitExceeded` when the filters of the request have taken too long.
    """
    with filter_deadline(session, tree.name_of(where)):
        if candidates is None:
            return _Evaluation(session, collection_id, _Tables()).ids(where)
        if len(candidates) > _MAX_LISTED_IDS:
            return np.intersect1d(_Evaluation(session, collection_id, _Tables()).ids(where), candidates)
        return _Evaluation(session, collection_id, _Tables.of(session, candidates.tolist())).ids(where)


class _Evaluation:
    """Evaluates one filter, condition by condition; all ids, from which `not` subtracts, are read at most once."""

    def __init__(self, session: Session, collection_id: int, tables: _Tables) -> None:
        self._session, self._collection_id, self._tables = session, collection_id, tables

    @cached_property
    def _every(self) -> IdArray:
        return self._read(_item_statement(self._tables, self._collection_id))

    def ids(self, where: Filter) -> IdArray:
        match where:
            case tree.And(parts):
                return reduce(partial(np.intersect1d, assume_unique=True), map(self.ids, parts))
            case tree.Or(parts):
                return np.unique(np.concatenate([self.ids(part) for part in parts]))
            case tree.Not(part):
                return np.setdiff1d(self._every, self.ids(part), assume_unique=True)
            case tree.InBox() | tree.InRadius():
                return self._with_place(where)
            case _:
                return self._read(_statement(self._tables, self._collection_id, where))

    def _with_place(self, where: tree.InBox | tree.InRadius) -> IdArray:
        """The items with a place in the area; items with unreadable attributes pass, to be reported.

        SQL finds items with a latitude and a longitude in range, which may be of two places; the attributes decide.
        """
        candidates = reduce(
            np.intersect1d,
            (self._read(side) for side in _coordinate_statements(self._tables, self._collection_id, where)),
        )
        matching: list[int] = []
        for batch in chunks(candidates.tolist()):
            raise_if_abandoned()
            places: list[tuple[int, float, float]] = []
            for item_id, attributes in item_rows.attributes(self._session.connection(), batch):
                if attributes is None:
                    matching.append(item_id)
                else:
                    places += [(item_id, place.lat, place.lon) for place in places_at(attributes, where.field)]
            ids, lats, lons = np.array(places, np.float64).reshape(-1, 3).T
            matching += ids[area_mask(where, lats, lons)].astype(np.int64).tolist()
        return np.unique(np.array(matching, np.int64))

    def _read(self, statement: Select[int]) -> IdArray:
        raise_if_abandoned()
        return np.unique(np.fromiter(self._session.scalars(statement), np.int64))


def _statement(tables: _Tables, collection_id: int, condition: tree.Condition) -> Select[int]:
    """A statement for the ids of the items that satisfy one condition; an id may occur several times."""
    facets = tables.facets
    if condition.field in (tree.KEY, tree.CAPTION):
        column = tables.items.key if condition.field == tree.KEY else tables.items.caption
        is_existence = isinstance(condition, tree.Exists)
        passes = column.is_not(None) if is_existence else _comparison(condition, lambda value: (column, value))
        return _item_statement(tables, collection_id).where(passes)
    if isinstance(condition, tree.Exists):
        below = and_(facets.path >= f"{condition.field}.", facets.path < f"{condition.field}/")
        within = or_(facets.path == condition.field, below)
        return select(facets.item_id).where(facets.collection_id == collection_id, within)
    return _facet_statement(tables, collection_id, condition.field, _comparison(condition, partial(_column, facets)))


def _coordinate_statements(tables: _Tables, collection_id: int, where: tree.InBox | tree.InRadius) -> list[Select[int]]:
    """Statements for the items with a latitude, and for those with a longitude, in a box or a circle's bounding box."""
    box = where if isinstance(where, tree.InBox) else spheres.bounds(where.lat, where.lon, where.km)
    number, field = tables.facets.number, where.field
    north, east = _between(number, box.south, box.north), _between_longitudes(number, box.west, box.east)
    return [
        _facet_statement(tables, collection_id, f"{field}.lat", north),
        _facet_statement(tables, collection_id, f"{field}.lon", east),
    ]


def _item_statement(tables: _Tables, collection_id: int) -> Select[int]:
    return select(tables.items.id).where(tables.items.collection_id == collection_id)


def _facet_statement(tables: _Tables, collection_id: int, path: str, condition: ColumnElement[bool]) -> Select[int]:
    facets = tables.facets
    return select(facets.item_id).where(facets.collection_id == collection_id, facets.path == path, condition)


def _comparison(condition: tree.Condition, column_of: Callable[[tree.Scalar], tuple[Any, Any]]) -> ColumnElement[bool]:
    """The SQL condition for a value; `column_of` returns the column of a value's type, and the value as stored."""
    comparison: ColumnElement[bool]
    match condition:
        case tree.Compare(_, order, value):
            comparison = _ORDER[order](*column_of(value))
        case tree.AnyOf(_, values):
            comparison = or_(*(column == bare for column, bare in map(column_of, values)))
        case tree.StartsWith(_, prefix):  # as a range, which uses an index and has no wildcards
            column, _ = column_of(prefix)
            comparison = and_(column >= prefix, column < prefix + _LAST_CHARACTER)
        case _:
            raise TypeError(f"{condition} is no comparison with values")
    return comparison


def _column(facets: Any, value: tree.Scalar) -> tuple[Any, bool | float | str]:
    match value:
        case bool():
            return facets.truth, value
        case tree.Moment(seconds):
            return facets.moment, seconds
        case str():
            return facets.text, value
        case _:
            return facets.number, value


def _between(column: Any, low: float, high: float) -> ColumnElement[bool]:
    return and_(column >= low, column <= high)


def _between_longitudes(column: Any, west: float, east: float) -> ColumnElement[bool]:
    if west <= east:
        return _between(column, west, east)
    return or_(column >= west, column <= east)
