"""Paginated listings of items by key or by date taken, and of folders."""

import math
import random
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Double, Select, and_, cast, exists, func, null, or_, select
from sqlalchemy.orm import Session

from anyseek.search.catalogue import facets, items
from anyseek.search.catalogue.tables import FacetRow, ItemRow
from anyseek.search.catalogue.values import id_in
from anyseek.search.errors import BadInput, StoreCorrupt
from anyseek.search.filters.tree import Filter
from anyseek.search.types import Collection, Item

SLASH = "/"
_AFTER_SLASH = chr(ord(SLASH) + 1)


@dataclass(frozen=True)
class Folder:
    """A folder, the number of the items in it and in all folders below, and the first of their keys."""

    path: str
    items: int
    cover: str


def folder_path(text: str) -> str:
    """Return the folder that a text names, with or without the slash at its end."""
    return text if not text or text.endswith(SLASH) else text + SLASH


def list_folders(session: Session, collection_id: int, folder: str, after: str | None, limit: int) -> list[Folder]:
    """The next `limit` folders that are directly in `folder`, by path; `after` is the last path of the page before."""
    path = func.substr(ItemRow.key, 1, len(folder) + _slash_position(session, folder)).label("path")
    deeper = select(path, ItemRow.key).where(*_below(collection_id, folder), _slash_position(session, folder) > 0)
    if after is not None:  # after all keys of that folder
        deeper = deeper.where(ItemRow.key >= after[:-1] + _AFTER_SLASH)
    rows = deeper.subquery()
    folders = select(rows.c.path, func.count(), func.min(rows.c.key)).group_by(rows.c.path).order_by(rows.c.path)
    return [Folder(*row) for row in session.execute(folders.limit(limit))]


def _below(collection_id: int, folder: str) -> tuple[ColumnElement[bool], ...]:
    """Conditions for the items in a folder and in all folders below."""
    of_collection = ItemRow.collection_id == collection_id
    if not folder:
        return (of_collection,)
    return of_collection, ItemRow.key > folder, ItemRow.key < folder[:-1] + _AFTER_SLASH


def _slash_position(session: Session, folder: str) -> ColumnElement[Any]:
    """The 1-based position of a key's next slash after the folder's path; 0 without one."""
    find = func.instr if session.get_bind().dialect.name == "sqlite" else func.strpos
    return find(func.substr(ItemRow.key, len(folder) + 1), SLASH)


TAKEN = "taken"  # the attribute that says when a picture was taken


class Order(StrEnum):
    """The order of a listing; items without a date come last, by key."""

    KEY = "key"
    NEWEST = "newest"
    OLDEST = "oldest"


@dataclass(frozen=True)
class Position:
    """The position of an item in a listing: its key, and the seconds since 1970 at which it was taken."""

    key: str
    moment: float | None = None

    @classmethod
    def parse(cls, cursor: str, order: Order) -> "Position":
        """The position that `cursor` encodes. Raises `BadInput` if it is not a cursor of this order."""
        if order is Order.KEY:
            return cls(cursor)
        moment, space, key = cursor.partition(" ")
        with suppress(ValueError):
            if space and (not moment or math.isfinite(float(moment))):
                return cls(key, float(moment) if moment else None)
        raise BadInput(f"`after` is {cursor[:40]!r}, which is not a cursor of this listing; send the `next` of a page")

    def cursor(self, order: Order) -> str:
        """The cursor that a client sends as `after` to get the next page."""
        if order is Order.KEY:
            return self.key
        return f"{'' if self.moment is None else repr(self.moment)} {self.key}"


_Row = tuple[int, str, float | None]
_Conditions = tuple[ColumnElement[bool], ...]


def page(
    session: Session,
    collection: Collection,
    order: Order,
    after: Position | None,
    limit: int,
    where: Filter | None = None,
    folder: str | None = None,
) -> list[tuple[Item, Position]]:
    """The next `limit` items that pass a checked filter, each with its position; only items directly in `folder`.

    Raises `StoreCorrupt` if one of them is damaged.
    """
    conditions: _Conditions = (ItemRow.collection_id == collection.id,)
    if folder is not None:
        conditions = (*_below(collection.id, folder), _slash_position(session, folder) == 0)
    if where is not None:  # the sum keeps SQLite from sorting all matches for each page
        passing = facets.matching_ids(session, collection.id, where).tolist()
        conditions = (*conditions, id_in(session, ItemRow.id + 0, passing))
    if order is Order.KEY:
        rows = _by_key(session, conditions, after, limit)
    else:
        rows = _by_date(session, collection.id, conditions, order, after, limit)
    by_id = items.by_ids(session, [row[0] for row in rows])
    for item_id, key, _ in rows:
        if item_id in by_id:
            items.refuse_damaged(by_id[item_id])
        if item_id not in by_id or by_id[item_id].key != key:
            raise StoreCorrupt(
                f"the database is damaged: it lists an item {key!r} that it does not have; anyseek rebuild"
            )
    return [(by_id[item_id], Position(key, moment)) for item_id, key, moment in rows]


def sample_ids(session: Session, collection_id: int, most: int) -> list[int]:
    """The ids of at most `most` of the collection's items, sampled with a fixed seed, ascending."""
    ids = sorted(session.scalars(select(ItemRow.id).where(ItemRow.collection_id == collection_id)))
    return sorted(random.Random(0).sample(ids, min(most, len(ids))))


def spaced_ids(session: Session, collection_id: int, count: int, most: int) -> list[int]:
    """The ids of about `most` of the collection's `count` items, ascending, at regular intervals.

    Ids are shared by all collections, so the collection's own items are numbered.
    """
    every = max(1, count // most)
    number = func.row_number().over(order_by=ItemRow.id).label("number")
    own = select(ItemRow.id, number).where(ItemRow.collection_id == collection_id).subquery()
    return sorted(session.scalars(select(own.c.id).where(own.c.number % every == 0).order_by(own.c.id).limit(2 * most)))


def _by_key(session: Session, conditions: _Conditions, after: Position | None, limit: int) -> list[_Row]:
    above = () if after is None else (ItemRow.key > after.key,)
    rows = select(ItemRow.id, ItemRow.key, cast(null(), Double)).where(*conditions, *above)
    return _rows(session, rows.order_by(ItemRow.key).limit(limit))


def _by_date(
    session: Session, collection_id: int, conditions: _Conditions, order: Order, after: Position | None, limit: int
) -> list[_Row]:
    undated = after is not None and after.moment is None
    rows = [] if undated else _rows(session, _dated(collection_id, conditions, order, after, limit))
    if len(rows) < limit:
        is_dated = exists().where(FacetRow.item_id == ItemRow.id, FacetRow.path == TAKEN, FacetRow.moment.is_not(None))
        rows += _by_key(session, (*conditions, ~is_dated), after if undated else None, limit - len(rows))
    return rows


def _rows(session: Session, statement: "Select[int, str, Any]") -> list[_Row]:
    return [(row[0], row[1], row[2]) for row in session.execute(statement)]


def _dated(
    collection_id: int, conditions: _Conditions, order: Order, after: Position | None, limit: int
) -> "Select[int, str, Any]":
    """Select items with a date; the earliest of several dates counts."""
    of_taken = (FacetRow.collection_id == collection_id, FacetRow.path == TAKEN, FacetRow.moment.is_not(None))
    dates = select(FacetRow.item_id, func.min(FacetRow.moment).label("moment")).where(*of_taken)
    date = dates.group_by(FacetRow.item_id).subquery()
    newest = order is Order.NEWEST
    dated = select(ItemRow.id, ItemRow.key, date.c.moment).join(date, date.c.item_id == ItemRow.id)
    statement = dated.where(*conditions)
    if after is not None:
        beyond = date.c.moment < after.moment if newest else date.c.moment > after.moment
        statement = statement.where(or_(beyond, and_(date.c.moment == after.moment, ItemRow.key > after.key)))
    direction = date.c.moment.desc() if newest else date.c.moment
    return statement.order_by(direction, ItemRow.key).limit(limit)
