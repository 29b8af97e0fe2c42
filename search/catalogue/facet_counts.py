"""Which attributes the items of a collection have, and how many items have each value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from search.catalogue.tables import FacetRow


@dataclass(frozen=True)
class ValueCount:
    """A text or a truth value, and how many items have it."""

    value: str | bool
    items: int


@dataclass(frozen=True)
class FieldCounts:
    """One attribute by its path: how many items have it, and what its values are.

    `values` are its most frequent texts and truth values, of `distinct` texts in all. `numbers` and `moments` are the
    smallest and the largest of its values of that kind, moments in seconds since 1970; None if it has none.
    """

    field: str
    items: int
    distinct: int
    values: tuple[ValueCount, ...] = ()
    numbers: tuple[float, float] | None = None
    moments: tuple[float, float] | None = None


def count(session: Session, collection_id: int, fields: int, values: int) -> list[FieldCounts]:
    """The `fields` attributes that most items have, each with its `values` most frequent values."""
    number, text, moment = FacetRow.number, FacetRow.text, FacetRow.moment
    held = func.count(FacetRow.item_id.distinct()).label("items")
    columns = (func.count(text.distinct()), func.count(FacetRow.truth), func.min(number), func.max(number))
    statement = select(FacetRow.path, held, *columns, func.min(moment), func.max(moment))
    of_collection = statement.where(FacetRow.collection_id == collection_id).group_by(FacetRow.path)
    rows = session.execute(of_collection.order_by(held.desc(), FacetRow.path).limit(fields)).all()
    return [_field(session, collection_id, row, values) for row in rows]


def _field(session: Session, collection_id: int, row: Sequence[Any], values: int) -> FieldCounts:
    path, items, distinct, truths, least, most, first, last = row
    found: list[ValueCount] = []
    for column, there in ((FacetRow.text, distinct), (FacetRow.truth, truths)):
        if there:
            found += [ValueCount(*counted) for counted in _values(session, collection_id, path, column, values).items()]
    return FieldCounts(
        path,
        items,
        distinct,
        tuple(found),
        None if least is None else (least, most),
        None if first is None else (first, last),
    )


def _values(session: Session, collection_id: int, path: str, column: Any, most: int) -> Mapping[str | bool, int]:
    held = func.count(FacetRow.item_id.distinct()).label("items")
    statement = select(column, held).where(FacetRow.collection_id == collection_id, FacetRow.path == path)
    ordered = statement.where(column.is_not(None)).group_by(column).order_by(held.desc(), column).limit(most)
    return dict(session.execute(ordered).all())
