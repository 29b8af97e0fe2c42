"""The facets of items: written with the items, and the conditions of filters turned into statements about them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Select, and_, insert, or_, select
from sqlalchemy import delete as delete_rows
from sqlalchemy.orm import Session

from search.catalogue.rows import CHUNK, chunks
from search.catalogue.tables import FacetRow, ItemRow
from search.filters.facets import Facet, facets_of
from search.filters.tree import (
    CAPTION,
    KEY,
    And,
    AnyOf,
    Compare,
    Condition,
    Exists,
    Filter,
    InBox,
    Moment,
    Not,
    Operator,
    Or,
    Scalar,
    StartsWith,
)
from search.types import Attributes, IdArray

_LAST_CHARACTER = "\U0010ffff"
_ORDER: dict[Operator, Callable[[Any, Any], Any]] = {
    Operator.EQUAL: lambda column, value: column == value,
    Operator.LESS: lambda column, value: column < value,
    Operator.AT_MOST: lambda column, value: column <= value,
    Operator.GREATER: lambda column, value: column > value,
    Operator.AT_LEAST: lambda column, value: column >= value,
}


def insert_of(session: Session, collection_id: int, attributes: Mapping[int, Attributes]) -> None:
    """Write the facets of items that have none, by item id."""
    rows = [
        {"collection_id": collection_id, "item_id": item_id, **asdict(facet)}
        for item_id, values in attributes.items()
        for facet in facets_of(values)
    ]
    if rows:
        session.execute(insert(FacetRow), rows)


def remove(session: Session, ids: Sequence[int]) -> None:
    """Forget the facets of items."""
    for some in chunks(ids):
        session.execute(delete_rows(FacetRow).where(FacetRow.item_id.in_(some)))


def make_again(session: Session, collection_id: int) -> None:
    """Write the facets of all items of a collection anew."""
    session.execute(delete_rows(FacetRow).where(FacetRow.collection_id == collection_id))
    items = select(ItemRow.id, ItemRow.attributes).where(ItemRow.collection_id == collection_id)
    for some in session.execute(items).partitions(CHUNK):
        insert_of(session, collection_id, {row.id: row.attributes for row in some})


def held_by(session: Session, ids: Sequence[int]) -> dict[int, set[Facet]]:
    """The facets of items as they are stored, by item id."""
    found: dict[int, set[Facet]] = {}
    columns = (FacetRow.path, FacetRow.number, FacetRow.text, FacetRow.truth, FacetRow.moment)
    for some in chunks(ids):
        rows = session.execute(select(FacetRow.item_id, *columns).where(FacetRow.item_id.in_(some)))
        for row in rows:
            found.setdefault(row.item_id, set()).add(Facet(row.path, row.number, row.text, row.truth, row.moment))
    return found


def ids_where(session: Session, collection_id: int, where: Filter) -> IdArray:
    """The ids of the collection's items for which a `checked` filter holds, ascending."""
    match where:
        case And(parts):
            found = ids_where(session, collection_id, parts[0])
            for part in parts[1:]:
                found = np.intersect1d(found, ids_where(session, collection_id, part), assume_unique=True)
            return found
        case Or(parts):
            return np.unique(np.concatenate([ids_where(session, collection_id, part) for part in parts]))
        case Not(part):
            every = _ids(session, select(ItemRow.id).where(ItemRow.collection_id == collection_id))
            return np.setdiff1d(every, ids_where(session, collection_id, part), assume_unique=True)
        case _:
            return _ids(session, _statement(collection_id, where))


def _ids(session: Session, statement: Select[int]) -> IdArray:
    return np.unique(np.fromiter(session.scalars(statement), np.int64))


def _statement(collection_id: int, condition: Condition) -> Select[int]:
    """Ids of the items for which one condition holds; an id may come several times."""
    if isinstance(condition, InBox):
        latitude = _facets(collection_id, f"{condition.field}.lat", _between(condition.south, condition.north))
        longitude = _facets(collection_id, f"{condition.field}.lon", _across(condition.west, condition.east))
        return latitude.where(FacetRow.item_id.in_(longitude))
    if condition.field in (KEY, CAPTION):
        return select(ItemRow.id).where(ItemRow.collection_id == collection_id, _of_item(condition))
    if isinstance(condition, Exists):
        below = and_(FacetRow.path >= f"{condition.field}.", FacetRow.path < f"{condition.field}/")
        within = or_(FacetRow.path == condition.field, below)
        return select(FacetRow.item_id).where(FacetRow.collection_id == collection_id, within)
    return _facets(collection_id, condition.field, _of_facet(condition))


def _facets(collection_id: int, path: str, holds: ColumnElement[bool]) -> Select[int]:
    return select(FacetRow.item_id).where(FacetRow.collection_id == collection_id, FacetRow.path == path, holds)


def _of_facet(condition: Compare | AnyOf | StartsWith) -> ColumnElement[bool]:
    match condition:
        case Compare(_, operator, value):
            column, bare = _column(value)
            holds: ColumnElement[bool] = _ORDER[operator](column, bare)
            return holds
        case AnyOf(_, values):
            return or_(*(_equal(value) for value in values))
        case StartsWith(_, prefix):
            return _starts(FacetRow.text, prefix)


def _of_item(condition: Compare | AnyOf | StartsWith | Exists) -> ColumnElement[bool]:
    """A condition on the key or the caption."""
    column: Any = {KEY: ItemRow.key, CAPTION: ItemRow.caption}[condition.field]
    match condition:
        case Compare(_, operator, value):
            holds: ColumnElement[bool] = _ORDER[operator](column, value)
            return holds
        case AnyOf(_, values):
            return or_(*(column == value for value in values))
        case StartsWith(_, prefix):
            return _starts(column, prefix)
        case Exists():
            present: ColumnElement[bool] = column.is_not(None)
            return present


def _column(value: Scalar) -> tuple[Any, bool | float | str]:
    match value:
        case bool():
            return FacetRow.truth, value
        case Moment(seconds):
            return FacetRow.moment, seconds
        case str():
            return FacetRow.text, value
        case _:
            return FacetRow.number, value


def _equal(value: Scalar) -> ColumnElement[bool]:
    column, bare = _column(value)
    holds: ColumnElement[bool] = column == bare
    return holds


def _starts(column: Any, prefix: str) -> ColumnElement[bool]:
    """As a range, which an index answers, and in which no character of the prefix has a meaning of its own."""
    return and_(column >= prefix, column < prefix + _LAST_CHARACTER)


def _between(low: float, high: float) -> ColumnElement[bool]:
    return and_(FacetRow.number >= low, FacetRow.number <= high)


def _across(west: float, east: float) -> ColumnElement[bool]:
    if west <= east:
        return _between(west, east)
    return or_(FacetRow.number >= west, FacetRow.number <= east)
