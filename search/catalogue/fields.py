"""Fields of filters that no item of a collection has, and the names that may have been meant."""

import difflib
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from search.catalogue.tables import FacetRow, ItemRow
from search.filters.tree import CAPTION, KEY, Filter, conditions

_LOOKED_AT = 1_000  # the newest items, whose attributes are offered
_SHOWN = 8
_LAST_CHARACTER = "\U0010ffff"
_COLUMNS = (FacetRow.text, FacetRow.number, FacetRow.moment, FacetRow.truth)


def note(session: Session, collection_id: int, where: Filter) -> str | None:
    """A sentence about the first field of a filter that no item has; None if there is no such field."""
    for field in dict.fromkeys(condition.field for condition in conditions(where)):
        if field not in (KEY, CAPTION) and not _is_held(session, collection_id, field):
            return _sentence(field, _paths(session, collection_id))
    return None


def _is_held(session: Session, collection_id: int, field: str) -> bool:
    """Whether an item has the attribute, or one inside it. Each column has an index of the rows that have it."""
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
        return f"{absent}; did you mean {' or '.join(near)}?"
    if paths:
        more = ", …" if len(paths) > _SHOWN else ""
        return f"{absent}; there are {', '.join(paths[:_SHOWN])}{more}"
    return f"{absent}, nor any other"


def _near(field: str, paths: Sequence[str]) -> list[str]:
    """Up to three paths that are spelt alike, in any case, as a whole or in their last step."""
    wanted = field.lower()
    same_step = [path for path in paths if wanted in (path.lower(), path.lower().rpartition(".")[2])]
    by_lower = {path.lower(): path for path in paths}
    alike = [by_lower[found] for found in difflib.get_close_matches(wanted, by_lower, n=3, cutoff=0.7)]
    return list(dict.fromkeys([*same_step, *alike]))[:3]
