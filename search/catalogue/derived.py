"""Comparison of facets and words with the items that they are derived from, and repair of the rows that differ.

These rows have no checksums, because a row that a filter misses cannot be checked. Items do have them, so the rows of
sound items can be recomputed. Items without a checksum, from an older version, may themselves be damaged; `verify` only
reports their differences.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from anyseek.search.actor import Actor, acting_as
from anyseek.search.catalogue import audit, checks, collections, items, log
from anyseek.search.catalogue.derived_tables import DerivedTable
from anyseek.search.catalogue.log import NewEntry
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import ItemRow
from anyseek.search.catalogue.values import CHUNK, Lookup, chunks
from anyseek.search.types import Item

SYSTEM_ACTOR = "anyseek"  # the actor of repairs, in the audit log
_CHECKED = Lookup(select(ItemRow.id).where(ItemRow.checksum.is_not(None)), ItemRow.__table__.c.id)
_UNDECODABLE = "could not decode"  # part of the error of SQLite's driver for a text that is not UTF-8

T = TypeVar("T")


@dataclass(frozen=True)
class Damage:
    """Differences in a table: its index, stale items by collection id, and missing items that still have rows."""

    in_index: bool
    stale: Mapping[int, Sequence[int]]
    orphans: Sequence[int]

    def __bool__(self) -> bool:
        return bool(self.in_index or self.stale or self.orphans)

    def __str__(self) -> str:
        count = sum(map(len, self.stale.values())) + len(self.orphans)
        parts = ([f"{count} items"] if count else []) + (["an index"] if self.in_index else [])
        return " and ".join(parts)


def count_items(session: Session) -> int:
    """The number of items of all collections."""
    return session.scalar(select(func.count()).select_from(ItemRow)) or 0


def find_damage(
    database: Database, table: DerivedTable, progress: Callable[[int], None] = lambda count: None
) -> Damage:
    """Compare the index with the rows, and the rows with all sound items, in batches that each read one snapshot.

    `progress` gets the number of items compared in each batch, and 0 at intervals before. Raises SQLAlchemy's errors
    if damage makes rows unreadable.
    """
    with database.read() as session:
        collection_ids = sorted(collections.ids(session))
        in_index = table.index_disagrees(session, partial(progress, 0))
        orphans = _find_orphans(session, table, collection_ids)
    stale = {number: _find_stale(database, table, number, progress) for number in collection_ids}
    return Damage(in_index, {number: ids for number, ids in stale.items() if ids}, orphans)


def repair(database: Database, table: DerivedTable, damage: Damage) -> None:
    """Rebuild the damaged rows; record it in the audit log and in the collections' logs.

    The logs make other processes reload the items. An index is rebuilt in one transaction, and only if it differs.
    Other transactions have at most `CHUNK` items, so that other writers get their turns. Raises SQLAlchemy's errors;
    transactions committed before stay.
    """
    with acting_as(Actor(SYSTEM_ACTOR)):
        if damage.in_index:  # first, because deletions fail on a damaged index
            with database.write() as session:
                table.rebuild_index(session)
                audit.record(session, "collection.mend", None, f"the index of {table.name}")
        for chunk in chunks(damage.orphans):
            with database.write() as session:
                _delete_orphans(session, table, chunk)
        for collection_id, ids in damage.stale.items():
            for chunk in chunks(ids):
                with database.write() as session:
                    _rewrite(session, table, collection_id, chunk)


def _find_orphans(session: Session, table: DerivedTable, collection_ids: Sequence[int]) -> list[int]:
    """Ids of deleted items that still have rows. Vanished items are left out, because answers report them."""
    orphans = set(table.orphans(session))
    for collection_id in collection_ids if orphans else ():
        orphans.difference_update(
            checks.vanished_items(session, collections.head_by_id(session, collection_id), sorted(orphans, key=str))
        )
    return sorted(orphans, key=str)  # damage may have turned a number into a text


def _delete_orphans(session: Session, table: DerivedTable, ids: Sequence[int]) -> None:
    existing = set(session.scalars(select(ItemRow.id).where(ItemRow.id.in_(ids))))
    missing = [item_id for item_id in ids if item_id not in existing]  # a new item may have got the id since
    if missing:
        table.delete(session, missing)
        audit.record(session, "collection.mend", None, f"the {table.name} of {len(missing)} items that are gone")


def _rewrite(session: Session, table: DerivedTable, collection_id: int, ids: Sequence[int]) -> None:
    last_seq = log.lock(session, collection_id)
    sound = _read_sound(session, ids)
    if not sound:  # deleted in the meantime
        return
    table.delete(session, [item.id for item in sound])
    table.insert(session, collection_id, sound)
    log.append(session, collection_id, last_seq, [NewEntry(log.PAYLOAD, item.id, item.revision) for item in sound])
    name = collections.head_by_id(session, collection_id).name
    audit.record(session, "collection.mend", name, f"the {table.name} of {len(sound)} items")


def _find_stale(
    database: Database, table: DerivedTable, collection_id: int, progress: Callable[[int], None]
) -> list[int]:
    """The ids of a collection's items whose rows differ; each batch is compared in a snapshot of its own."""
    stale: list[int] = []
    after = 0
    while True:
        with database.read() as session:
            ids = items.ids_after(session, collection_id, after, CHUNK)
            compare = partial(table.stale, session, collection_id)
            stale += [item.id for item in _bisect_undecodable(_read_sound(session, ids), compare, lambda item: [item])]
        if not ids:
            return stale
        after = ids[-1]
        progress(len(ids))


def _read_sound(session: Session, ids: Sequence[int]) -> list[Item]:
    """The items that have checksums and match them."""

    def read(ids: Sequence[int]) -> list[Item]:
        checked = [row[0] for row in _CHECKED.rows(session.connection(), ids)]
        return [item for item in items.by_ids(session, checked).values() if not item.damaged]

    return _bisect_undecodable(ids, read, lambda _: [])


def _bisect_undecodable(
    rows: Sequence[Any], work: Callable[[Sequence[Any]], list[T]], fallback: Callable[[Any], list[T]]
) -> list[T]:
    """The results of `work(rows)`; rows with an undecodable text are found by bisection and given to `fallback`."""
    try:
        return work(rows) if rows else []
    except DBAPIError as error:
        if _UNDECODABLE not in str(error.orig).lower():
            raise
    if len(rows) == 1:
        return fallback(rows[0])
    middle = len(rows) // 2
    return [result for half in (rows[:middle], rows[middle:]) for result in _bisect_undecodable(half, work, fallback)]
