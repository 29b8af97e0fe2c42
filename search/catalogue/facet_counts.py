"""Counts of attributes and values among the items of a collection that pass a filter."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from anyseek.model.spelling import close_names
from anyseek.search.catalogue import facets
from anyseek.search.catalogue.tables import FacetRow, ItemRow
from anyseek.search.catalogue.values import id_in
from anyseek.search.filters.tree import CAPTION, KEY, AnyOf, Compare, Condition, Filter, Operator, conditions, values_of
from anyseek.search.types import FacetValue, FieldCounts

_SAMPLED_ITEMS = 1_000  # the newest items, whose attributes are suggested
_LISTED_FIELDS = 8
_LAST_CHARACTER = "\U0010ffff"
_ITEMS = func.count(FacetRow.item_id.distinct()).label("items")
_COLUMNS = (FacetRow.text, FacetRow.number, FacetRow.moment, FacetRow.truth)


def count(
    session: Session,
    collection_id: int,
    fields: int,
    values: int,
    where: Filter | None = None,
    paths: Sequence[str] | None = None,
) -> list[FieldCounts]:
    """The `fields` most frequent attributes (only of `paths`, if given), each with its `values` most frequent values.

    Counts only items that pass a `checked` filter. Their facets are read, so the time grows with their number.
    """
    conditions = [FacetRow.collection_id == collection_id]
    if paths is not None:
        conditions.append(FacetRow.path.in_(paths))
    if where is not None:
        conditions.append(id_in(session, FacetRow.item_id, facets.matching_ids(session, collection_id, where).tolist()))
    number, text, moment = FacetRow.number, FacetRow.text, FacetRow.moment
    columns = (func.count(text.distinct()), func.count(FacetRow.truth), func.min(number), func.max(number))
    statement = select(FacetRow.path, _ITEMS, *columns, func.min(moment), func.max(moment)).where(*conditions)
    ordered = statement.group_by(FacetRow.path).order_by(_ITEMS.desc(), FacetRow.path).limit(fields)
    return [_field(session, conditions, row, values) for row in session.execute(ordered).all()]


def _field(session: Session, chosen: Sequence[ColumnElement[bool]], row: Sequence[Any], most: int) -> FieldCounts:
    path, items, distinct, truths, least, greatest, first, last = row
    frequent: list[FacetValue] = []
    for column, count in ((FacetRow.text, distinct), (FacetRow.truth, truths)):
        if count:
            counted = select(column, _ITEMS).where(*chosen, FacetRow.path == path, column.is_not(None))
            ordered = counted.group_by(column).order_by(_ITEMS.desc(), column).limit(most)
            rows: Sequence[Any] = session.execute(ordered).all()
            frequent += [FacetValue(*row) for row in rows]
    numbers = None if least is None else (least, greatest)
    return FieldCounts(path, items, distinct, tuple(frequent), numbers, None if first is None else (first, last))


def explain_absence(session: Session, collection_id: int, where: Filter) -> str | None:
    """A sentence about the first field or text of a filter that no item has; None if items have all of them."""
    attribute_conditions = [condition for condition in conditions(where) if condition.field not in (KEY, CAPTION)]
    for name in dict.fromkeys(condition.field for condition in attribute_conditions):
        if not _has_field(session, collection_id, name):
            newest = select(ItemRow.id).where(ItemRow.collection_id == collection_id).order_by(ItemRow.id.desc())
            newest_ids = select(newest.limit(_SAMPLED_ITEMS).subquery().c.id)
            paths = select(FacetRow.path).where(FacetRow.item_id.in_(newest_ids)).distinct().order_by(FacetRow.path)
            return _explain_absent_field(name, session.scalars(paths).all())
    notes = (_explain_absent_text(session, collection_id, condition) for condition in attribute_conditions)
    return next((note for note in notes if note), None)


def _explain_absent_text(session: Session, collection_id: int, condition: Condition) -> str | None:
    """A sentence about a condition whose texts no item has in the field; None if an item has one."""
    if not isinstance(condition, AnyOf) and not (
        isinstance(condition, Compare) and condition.operator is Operator.EQUAL
    ):
        return None
    texts = [value for value in values_of(condition) if isinstance(value, str)]
    field = condition.field
    field_texts = select(FacetRow.text).where(FacetRow.collection_id == collection_id, FacetRow.path == field)
    if not texts or session.scalar(field_texts.where(FacetRow.text.in_(texts)).limit(1)) is not None:
        return None
    known = session.scalars(field_texts.where(FacetRow.text.is_not(None)).distinct().limit(_SAMPLED_ITEMS)).all()
    if not known:
        below = (FacetRow.path.between(f"{field}.", f"{field}.{_LAST_CHARACTER}"), FacetRow.text.is_not(None))
        inside = select(FacetRow.path).where(FacetRow.collection_id == collection_id, *below).distinct()
        inner = session.scalars(inside.order_by(FacetRow.path).limit(_LISTED_FIELDS)).all()
        return f"the attribute {field!r} is no text; did you mean {_join_with_or(inner)}?" if inner else None
    absent = f"no item has {texts[0]!r} as {field}"
    suggestions = close_names(texts[0], [text for text in known if text is not None])
    return f"{absent}; did you mean {_join_with_or(suggestions)}?" if suggestions else absent


def _join_with_or(names: Sequence[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _has_field(session: Session, collection_id: int, field: str) -> bool:
    """True if an item has the attribute, or one inside it. Each column has a partial index."""
    for at_path in (FacetRow.path == field, FacetRow.path.between(f"{field}.", f"{field}.{_LAST_CHARACTER}")):
        for column in _COLUMNS:
            query = select(FacetRow.id).where(FacetRow.collection_id == collection_id, at_path, column.is_not(None))
            if session.scalar(query.limit(1)) is not None:
                return True
    return False


def _explain_absent_field(field: str, paths: Sequence[str]) -> str:
    absent = f"no item has the attribute {field!r}"
    lowered = field.lower()
    # Case-insensitive matches of the whole path or of its last step.
    same_step = [path for path in paths if lowered in (path.lower(), path.lower().rpartition(".")[2])]
    if suggestions := list(dict.fromkeys([*same_step, *close_names(field, paths)]))[:3]:
        return f"{absent}; did you mean {_join_with_or(suggestions)}?"
    if paths:
        more = ", …" if len(paths) > _LISTED_FIELDS else ""
        return f"{absent}; there are {', '.join(paths[:_LISTED_FIELDS])}{more}"
    return f"{absent}, nor any other"
