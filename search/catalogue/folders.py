"""The folders of a collection: keys are paths, and what stands before a slash is a folder.

A folder is named by its path with a slash at the end (`2024/rome/`), the topmost one by the empty text.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from anyseek.search.catalogue.tables import ItemRow

SLASH = "/"
_AFTER_SLASH = chr(ord(SLASH) + 1)


@dataclass(frozen=True)
class Folder:
    """A folder, the number of the items in it and in all folders below, and the first of their keys."""

    path: str
    items: int
    cover: str


def named(text: str) -> str:
    """Return the folder that a text names, with or without the slash at its end."""
    return text if not text or text.endswith(SLASH) else text + SLASH


def inside(session: Session, collection_id: int, folder: str, after: str | None, limit: int) -> list[Folder]:
    """The next `limit` folders that are directly in `folder`, by path; `after` is the last path of the page before."""
    path = func.substr(ItemRow.key, 1, len(folder) + _place_of_slash(session, folder)).label("path")
    deeper = select(path, ItemRow.key).where(*below(collection_id, folder), _place_of_slash(session, folder) > 0)
    if after is not None:  # what follows all keys of that folder
        deeper = deeper.where(ItemRow.key >= after[:-1] + _AFTER_SLASH)
    rows = deeper.subquery()
    found = select(rows.c.path, func.count(), func.min(rows.c.key)).group_by(rows.c.path).order_by(rows.c.path)
    return [Folder(*row) for row in session.execute(found.limit(limit))]


def below(collection_id: int, folder: str) -> tuple[ColumnElement[bool], ...]:
    """Conditions for the items in a folder and in all folders below."""
    of_collection = ItemRow.collection_id == collection_id
    if not folder:
        return (of_collection,)
    return of_collection, ItemRow.key > folder, ItemRow.key < folder[:-1] + _AFTER_SLASH


def directly_in(session: Session, collection_id: int, folder: str) -> tuple[ColumnElement[bool], ...]:
    """Conditions for the items in a folder, without those of folders in it."""
    return *below(collection_id, folder), _place_of_slash(session, folder) == 0


def _place_of_slash(session: Session, folder: str) -> ColumnElement[Any]:
    """The place of a key's next slash below `folder`, counted from 1 behind the folder's path; 0 without one."""
    find = func.instr if session.get_bind().dialect.name == "sqlite" else func.strpos
    return find(func.substr(ItemRow.key, len(folder) + 1), SLASH)
