"""The facets of items, which are written with the items, and SQL statements for the conditions of filters."""

import operator
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Select, and_, insert, or_, select, text
from sqlalchemy import delete as delete_rows
from sqlalchemy.orm import Session, aliased

from anyseek.search.catalogue import item_rows
from anyseek.search.catalogue.tables import FacetRow, ItemRow
from anyseek.search.catalogue.values import Lookup, chunks
from anyseek.search.filters import spheres, tree
from anyseek.search.filters.facets import Facet, facets_of
from anyseek.search.filters.tree import Filter, Operator
from anyseek.search.types import Attributes, GroupValue, IdArray, Item

_COLUMNS = [FacetRow.item_id, FacetRow.collection_id, *(getattr(FacetRow, name) for name in Facet._fields)]
_OF_ITEMS = Lookup(select(*_COLUMNS), FacetRow.__table__.c.item_id)  # a row is two numbers and a `Facet`
NAME = "attributes"  # what users call facets
_FEW = 5_000  # ids, from which on it is faster to ask for the values of all items
_LAST_CHARACTER = "\U0010ffff"
_ORDER: dict[Operator, Callable[[Any, Any], Any]] = {
    Operator.EQUAL: operator.eq,
    Operator.LESS: operator.lt,
    Operator.AT_MOST: operator.le,
    Operator.GREATER: operator.gt,
    Operator.AT_LEAST: operator.ge,
}


def insert_of(session: Session, collection_id: int, attributes: Mapping[int, Attributes]) -> None:
    """Write the facets of items that have none, by item id."""
    rows = [
        {"collection_id": collection_id, "item_id": item_id, **facet._asdict()}
        for item_id, values in attributes.items()
        for facet in facets_of(values)
    ]
    if rows:
        # Bypasses the ORM, which would send one statement per run of facets of one type.
        session.connection().execute(insert(FacetRow), rows)


def delete(session: Session, ids: Sequence[int]) -> None:
    """Delete the facets of items."""
    for some in chunks(ids):
        session.execute(delete_rows(FacetRow).where(FacetRow.item_id.in_(some)))


def write_again(session: Session, collection_id: int, some: Sequence[Item], index_is_of_rows: bool = True) -> None:
    """Replace the facets of items."""
    delete(session, [item.id for item in some])
    insert_of(session, collection_id, {item.id: item.attributes for item in some})


def make_again(session: Session, collection_id: int) -> None:
    """Write the facets of all items of a collection anew; a damaged item has none."""
    session.execute(delete_rows(FacetRow).where(FacetRow.collection_id == collection_id))
    for some in item_rows.pages(session, item_rows.of_collection(collection_id)):
        insert_of(session, collection_id, {item.id: item.attributes for item in some if not item.damaged})


def indexed(session: Session, rest: Callable[[], None] = lambda: None) -> None:
    """No index of facets is compared item by item."""


def index_differs(some: Sequence[Item], strays: Sequence[int], indexed: object = None) -> bool:
    """False: see `indexed`."""
    return False


def index_disagrees(session: Session) -> bool:
    """True if SQLite's table and its indexes disagree. PostgreSQL is not asked: its pages have checksums."""
    return _is_sqlite(session) and session.scalars(text("PRAGMA integrity_check(facets)")).all() != ["ok"]


def rebuild_index(session: Session) -> None:
    """Rebuild SQLite's indexes from the rows."""
    if _is_sqlite(session):
        session.execute(text("REINDEX facets"))


def stale(session: Session, collection_id: int, some: Sequence[Item], indexed: object = None) -> list[Item]:
    """The sound items of `some` whose facets do not match their attributes."""
    wrong: list[Item] = []
    for few in chunks(some):
        held = Counter(map(tuple, _OF_ITEMS.rows(session.connection(), [item.id for item in few])))
        right = {(item.id, collection_id, *facet) for item in few for facet in facets_of(item.attributes)}
        if held.keys() != right or held.total() != len(right):  # damage may also have made a row like another
            ids = {row[0] for row in right ^ held.keys()} | {row[0] for row, count in held.items() if count > 1}
            wrong += [item for item in few if item.id in ids]
    return wrong


def strays(session: Session, indexed: object = None) -> list[int]:
    """Ids of items that facets are of, and that are not there; PostgreSQL's foreign keys admit none."""
    if not _is_sqlite(session):
        return []
    of_none = FacetRow.item_id.not_in(select(ItemRow.id))
    return list(session.scalars(select(FacetRow.item_id).where(of_none).distinct()))


def values_of(session: Session, collection_id: int, path: str, ids: Sequence[int]) -> dict[int, list[GroupValue]]:
    """The values that items have at a path, by item id; an item without one is left out."""
    columns = (FacetRow.item_id, FacetRow.truth, FacetRow.text, FacetRow.number)
    of_path = select(*columns).where(FacetRow.collection_id == collection_id, FacetRow.path == path)
    found: dict[int, list[GroupValue]] = {}
    for some in chunks(ids) if len(ids) <= _FEW else [ids]:
        wanted = of_path.where(FacetRow.item_id.in_(some)) if len(ids) <= _FEW else of_path
        for item_id, *kinds in session.execute(wanted.order_by(FacetRow.id)):
            found.setdefault(item_id, []).append(next(value for value in kinds if value is not None))
    return found


@dataclass(frozen=True)
class _Tables:
    """The tables that conditions search: all facets and items, or only those of some items."""

    facets: Any = FacetRow
    items: Any = ItemRow

    @classmethod
    def of(cls, ids: Sequence[int]) -> "_Tables":
        """OFFSET 0 makes databases read these rows first; SQLite would visit all rows that satisfy the condition."""
        facets = select(FacetRow).where(FacetRow.item_id.in_(ids)).offset(0).subquery()
        items = select(ItemRow).where(ItemRow.id.in_(ids)).offset(0).subquery()
        return cls(aliased(FacetRow, facets), aliased(ItemRow, items))


def ids_where(session: Session, collection_id: int, where: Filter, among: IdArray | None = None) -> IdArray:
    """The ids of the collection's items that pass a `checked` filter, ascending; `among` restricts them."""
    if among is None:
        return _ids_where(session, collection_id, where, _Tables())
    if len(among) > _FEW:
        return np.intersect1d(_ids_where(session, collection_id, where, _Tables()), among)
    some = [_ids_where(session, collection_id, where, _Tables.of(ids)) for ids in chunks(np.unique(among).tolist())]
    return np.concatenate([np.empty(0, np.int64), *some])


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


def _is_sqlite(session: Session) -> bool:
    return session.get_bind().dialect.name == "sqlite"
