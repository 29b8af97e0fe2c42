"""The items that pass a filter, by SQL statements over facets, and the values that items have."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy.orm import Session, aliased

from anyseek.search.catalogue.tables import FacetRow, ItemRow
from anyseek.search.catalogue.values import among
from anyseek.search.filters import spheres, tree
from anyseek.search.filters.tree import Filter, Operator
from anyseek.search.types import GroupValue, IdArray

_FEW = 5_000  # ids, from which on it is faster to ask for the values of all items
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
    found: dict[int, list[GroupValue]] = {}
    wanted = of_path.where(among(session, FacetRow.item_id, ids)) if len(ids) <= _FEW else of_path
    for item_id, *kinds in session.execute(wanted.order_by(FacetRow.id)):
        found.setdefault(item_id, []).append(next(value for value in kinds if value is not None))
    return found


@dataclass(frozen=True)
class _Tables:
    """The tables that conditions search: all facets and items, or only those of some items."""

    facets: Any = FacetRow
    items: Any = ItemRow

    @classmethod
    def of(cls, session: Session, ids: Sequence[int]) -> "_Tables":
        """OFFSET 0 makes databases read these rows first; SQLite would visit all rows that satisfy the condition."""
        facets = select(FacetRow).where(among(session, FacetRow.item_id, ids)).offset(0).subquery()
        items = select(ItemRow).where(among(session, ItemRow.id, ids)).offset(0).subquery()
        return cls(aliased(FacetRow, facets), aliased(ItemRow, items))


def ids_where(session: Session, collection_id: int, where: Filter, candidates: IdArray | None = None) -> IdArray:
    """The ids of the collection's items that pass a `checked` filter, ascending; `candidates` restricts them."""
    if candidates is None:
        return _ids_where(session, collection_id, where, _Tables())
    if len(candidates) > _FEW:
        return np.intersect1d(_ids_where(session, collection_id, where, _Tables()), candidates)
    return _ids_where(session, collection_id, where, _Tables.of(session, candidates.tolist()))


def _ids_where(session: Session, collection_id: int, where: Filter, tables: _Tables) -> IdArray:
    match where:
        case tree.And(parts):
            found = _ids_where(session, collection_id, parts[0], tables)
            for part in parts[1:]:
                others = _ids_where(session, collection_id, part, tables)
                found = np.intersect1d(found, others, assume_unique=True)
            return found
        case tree.Or(parts):
            return np.unique(np.concatenate([_ids_where(session, collection_id, part, tables) for part in parts]))
        case tree.Not(part):
            every = _ids(session, _items(tables, collection_id))
            return np.setdiff1d(every, _ids_where(session, collection_id, part, tables), assume_unique=True)
        case tree.InRadius():
            return _ids_in_radius(session, collection_id, where, tables)
        case _:
            return _ids(session, _statement(tables, collection_id, where))


def _ids_in_radius(session: Session, collection_id: int, where: tree.InRadius, tables: _Tables) -> IdArray:
    """The points in the box around the circle come from the database, which need not know sines, and are measured."""
    box = spheres.bounds(where.lat, where.lon, where.km)
    latitude, longitude = _sides(tables, tree.InBox(where.field, **asdict(box)))
    facets = tables.facets
    of_lon = _facets(tables, collection_id, *longitude).add_columns(facets.number.label("lon")).subquery()
    of_lat = _facets(tables, collection_id, *latitude).add_columns(facets.number, of_lon.c.lon)
    rows = session.execute(of_lat.join(of_lon, of_lon.c.item_id == facets.item_id)).all()
    ids, lats, lons = np.array([tuple(row) for row in rows], np.float64).reshape(-1, 3).T
    near = spheres.kilometres(where.lat, where.lon, lats, lons) <= where.km
    return np.unique(ids[near].astype(np.int64))


def _ids(session: Session, statement: Select[int]) -> IdArray:
    return np.unique(np.fromiter(session.scalars(statement), np.int64))


def _statement(tables: _Tables, collection_id: int, condition: tree.Condition) -> Select[int]:
    """A statement for the ids of the items that satisfy one condition; an id may come several times."""
    facets = tables.facets
    if isinstance(condition, tree.InBox):
        latitude, longitude = _sides(tables, condition)
        of_lon = _facets(tables, collection_id, *longitude)
        return _facets(tables, collection_id, *latitude).where(facets.item_id.in_(of_lon))
    if condition.field in (tree.KEY, tree.CAPTION):
        column = tables.items.key if condition.field == tree.KEY else tables.items.caption
        is_there = isinstance(condition, tree.Exists)
        holds = column.is_not(None) if is_there else _holds(condition, lambda value: (column, value))
        return _items(tables, collection_id).where(holds)
    if isinstance(condition, tree.Exists):
        below = and_(facets.path >= f"{condition.field}.", facets.path < f"{condition.field}/")
        within = or_(facets.path == condition.field, below)
        return select(facets.item_id).where(facets.collection_id == collection_id, within)
    return _facets(tables, collection_id, condition.field, _holds(condition, partial(_column, facets)))


def _sides(tables: _Tables, box: tree.InBox) -> list[tuple[str, ColumnElement[bool]]]:
    """The paths of latitudes and longitudes, and what holds for those in a box."""
    number = tables.facets.number
    north, east = _between(number, box.south, box.north), _across(number, box.west, box.east)
    return [(f"{box.field}.lat", north), (f"{box.field}.lon", east)]


def _items(tables: _Tables, collection_id: int) -> Select[int]:
    return select(tables.items.id).where(tables.items.collection_id == collection_id)


def _facets(tables: _Tables, collection_id: int, path: str, holds: ColumnElement[bool]) -> Select[int]:
    facets = tables.facets
    return select(facets.item_id).where(facets.collection_id == collection_id, facets.path == path, holds)


def _holds(condition: tree.Condition, column_of: Callable[[tree.Scalar], tuple[Any, Any]]) -> ColumnElement[bool]:
    """The SQL condition for a value; `column_of` is the column for a value, and the value in it."""
    holds: ColumnElement[bool]
    match condition:
        case tree.Compare(_, order, value):
            holds = _ORDER[order](*column_of(value))
        case tree.AnyOf(_, values):
            holds = or_(*(column == bare for column, bare in map(column_of, values)))
        case tree.StartsWith(_, prefix):  # as a range, which an index answers and which gives no character a meaning
            column, _ = column_of(prefix)
            holds = and_(column >= prefix, column < prefix + _LAST_CHARACTER)
        case _:
            raise TypeError(f"{condition} is no comparison with values")
    return holds


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


def _across(column: Any, west: float, east: float) -> ColumnElement[bool]:
    if west <= east:
        return _between(column, west, east)
    return or_(column >= west, column <= east)
