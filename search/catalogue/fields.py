"""Suggestions for a field or a text of a filter that no item of a collection has."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from anyseek.model.spelling import alike
from anyseek.search.catalogue.tables import FacetRow, ItemRow
from anyseek.search.filters.tree import CAPTION, KEY, AnyOf, Compare, Condition, Filter, Operator, conditions, values_of

_LOOKED_AT = 1_000  # the newest items, whose attributes are offered
_SHOWN = 8
_LAST_CHARACTER = "\U0010ffff"
_COLUMNS = (FacetRow.text, FacetRow.number, FacetRow.moment, FacetRow.truth)


def note(session: Session, collection_id: int, where: Filter) -> str | None:
    """A sentence about the first field or text of a filter that no item has; None if there is no such."""
    every = [condition for condition in conditions(where) if condition.field not in (KEY, CAPTION)]
    for field in dict.fromkeys(condition.field for condition in every):
        if not _is_held(session, collection_id, field):
            return _sentence(field, _paths(session, collection_id))
    notes = (_note_of_text(session, collection_id, condition) for condition in every)
    return next((found for found in notes if found), None)


def _note_of_text(session: Session, collection_id: int, condition: Condition) -> str | None:
    """A sentence about texts that a field is to be equal to, none of which it is in any item."""
    if not isinstance(condition, AnyOf) and not (
        isinstance(condition, Compare) and condition.operator is Operator.EQUAL
    ):
        return None
    texts = [value for value in values_of(condition) if isinstance(value, str)]
    field = condition.field
    held = select(FacetRow.text).where(FacetRow.collection_id == collection_id, FacetRow.path == field)
    if not texts or session.scalar(held.where(FacetRow.text.in_(texts)).limit(1)) is not None:
        return None
    known = session.scalars(held.where(FacetRow.text.is_not(None)).distinct().limit(_LOOKED_AT)).all()
    if not known:
        below = (FacetRow.path.between(f"{field}.", f"{field}.{_LAST_CHARACTER}"), FacetRow.text.is_not(None))
        inside = select(FacetRow.path).where(FacetRow.collection_id == collection_id, *below).distinct()
        inner = session.scalars(inside.order_by(FacetRow.path).limit(_SHOWN)).all()
        return f"the attribute {field!r} is no text; did you mean {_either(inner)}?" if inner else None
    absent = f"no item has {texts[0]!r} as {field}"
    near = alike(texts[0], [text for text in known if text is not None])
    return f"{absent}; did you mean {_either(near)}?" if near else absent


def _either(names: Sequence[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _is_held(session: Session, collection_id: int, field: str) -> bool:
    """True if an item has the attribute, or one inside it. Each column has an index of the rows that have it."""
    for below in (FacetRow.path == field, FacetRow.path.between(f"{field}.", f"{field}.{_LAST_CHARACTER}")):
        for column in _COLUMNS:
            held = select(FacetRow.id).where(FacetRow.collection_id == collection_id, below, column.is_not(None))
            if session.scalar(held.limit(1)) is not None:
                return True
    return False


def _paths(session: Session, collection_id: int) -> list[str]:
    newest = select(ItemRow.id).where(ItemRow.collection_id == collection_id).order_by(ItemRow.id.desc())
    some = newest.limit(_LOOKED_AT).subquery()
    query = select(FacetRow.path).where(FacetRow.item_id.in_(select(some.c.id))).distinct().order_by(FacetRow.path)
    return list(session.scalars(query))


def _sentence(field: str, paths: Sequence[str]) -> str:
    absent = f"no item has the attribute {field!r}"
    near = _near(field, paths)
    if near:
        return f"{absent}; did you mean {_either(near)}?"
    if paths:
        more = ", …" if len(paths) > _SHOWN else ""
        return f"{absent}; there are {', '.join(paths[:_SHOWN])}{more}"
    return f"{absent}, nor any other"


def _near(field: str, paths: Sequence[str]) -> list[str]:
    """Up to three paths that are spelt alike, in any case, as a whole or in their last step."""
    wanted = field.lower()
    same_step = [path for path in paths if wanted in (path.lower(), path.lower().rpartition(".")[2])]
    return list(dict.fromkeys([*same_step, *alike(field, paths)]))[:3]
