"""Facets and words compared with the items that they are made from, and written anew where they differ.

They have no checksums, because what a filter does not find cannot be checked. Items have, so whatever their facets and
words should be can be worked out again from sound ones. Items without a checksum, of an older version, may be what is
damaged, so they are left to `verify`, which only names what differs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from anyseek.search.actor import Caller, acting
from anyseek.search.catalogue import audit, checks, collections, items, log
from anyseek.search.catalogue.derived_tables import DerivedTable
from anyseek.search.catalogue.log import NewEntry
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import ItemRow
from anyseek.search.catalogue.values import CHUNK, Lookup, chunks
from anyseek.search.types import Item

ITSELF = "anyseek"  # the actor that mends, in the audit log
_CHECKED = Lookup(select(ItemRow.id).where(ItemRow.checksum.is_not(None)), ItemRow.__table__.c.id)
_UNDECODABLE = "could not decode"  # what SQLite's driver says of a text whose bytes are none

T = TypeVar("T")


@dataclass(frozen=True)
class Damage:
    """Differences in a table: its index, items by their collection's id, and rows of items that are not there."""

    in_index: bool
    stale: Mapping[int, Sequence[int]]
    strays: Sequence[int]

    def __bool__(self) -> bool:
        return bool(self.in_index or self.stale or self.strays)

    def __str__(self) -> str:
        count = sum(map(len, self.stale.values())) + len(self.strays)
        parts = ([f"{count} items"] if count else []) + (["an index"] if self.in_index else [])
        return " and ".join(parts)


def count_items(session: Session) -> int:
    """The number of items of all collections."""
    return session.scalar(select(func.count()).select_from(ItemRow)) or 0


def survey(database: Database, table: DerivedTable, after_batch: Callable[[int], None] = lambda count: None) -> Damage:
    """Compare the index with the rows, and the rows with all sound items in batches; each is one consistent view.

    `after_batch` gets the number of items compared in each, and 0 now and then before. Raises SQLAlchemy's errors where
    damage stops a reading.
    """
    with database.read() as session:
        numbers = sorted(collections.ids(session))
        in_index = table.index_disagrees(session, partial(after_batch, 0))
        strays = _strays(session, table, numbers)
    stale = {number: _stale_of(database, table, number, after_batch) for number in numbers}
    return Damage(in_index, {number: ids for number, ids in stale.items() if ids}, strays)


def mend(database: Database, table: DerivedTable, damage: Damage) -> None:
    """Write the rows anew, and tell it in the audit log and in the logs of the collections.

    From these, other processes learn to look at the items again. An index is made anew in one transaction, and only if
    it differs. Each further one has at most `CHUNK` items, so that other writers have their turns. Raises SQLAlchemy's
    errors; what was written until then stays.
    """
    with acting(Caller(ITSELF)):
        if damage.in_index:  # first, because rows cannot be taken out of an index that has others
            with database.write() as session:
                table.rebuild_index(session)
                audit.record(session, "collection.mend", None, f"the index of {table.name}")
        for some in chunks(damage.strays):
            with database.write() as session:
                _delete_strays(session, table, some)
        for number, ids in damage.stale.items():
            for some in chunks(ids):
                with database.write() as session:
                    _write_again(session, table, number, some)


def _strays(session: Session, table: DerivedTable, numbers: Sequence[int]) -> list[int]:
    """Strays, without items whose own rows are lost: an answer that finds these by facets says that it omits them."""
    strays = set(table.strays(session))
    for number in numbers if strays else ():
        strays.difference_update(
            checks.vanished_items(session, collections.head_by_id(session, number), sorted(strays, key=str))
        )
    return sorted(strays, key=str)  # damage may have made a number a text


def _delete_strays(session: Session, table: DerivedTable, ids: Sequence[int]) -> None:
    existing = set(session.scalars(select(ItemRow.id).where(ItemRow.id.in_(ids))))
    gone = [item_id for item_id in ids if item_id not in existing]  # a new item may have the number meanwhile
    if gone:
        table.delete(session, gone)
        audit.record(session, "collection.mend", None, f"the {table.name} of {len(gone)} items that are gone")


def _write_again(session: Session, table: DerivedTable, number: int, ids: Sequence[int]) -> None:
    last_seq = log.lock(session, number)
    sound = _sound(session, ids)
    if not sound:  # deleted meanwhile
        return
    table.delete(session, [item.id for item in sound])
    table.insert(session, number, sound)
    log.append(session, number, last_seq, [NewEntry(log.PAYLOAD, item.id, item.revision) for item in sound])
    name = collections.head_by_id(session, number).name
    audit.record(session, "collection.mend", name, f"the {table.name} of {len(sound)} items")


def _stale_of(database: Database, table: DerivedTable, number: int, after_batch: Callable[[int], None]) -> list[int]:
    """The items of a collection whose rows differ in the view in which their batch is read."""
    stale: list[int] = []
    after = 0
    while True:
        with database.read() as session:
            ids = items.ids_after(session, number, after, CHUNK)
            differing = partial(table.stale, session, number)
            stale += [item.id for item in _halved(_sound(session, ids), differing, lambda item: [item])]
        if not ids:
            return stale
        after = ids[-1]
        after_batch(len(ids))


def _sound(session: Session, ids: Sequence[int]) -> list[Item]:
    """The items that have checksums and match them."""

    def read(some: Sequence[int]) -> list[Item]:
        checked = [row[0] for row in _CHECKED.rows(session.connection(), some)]
        return [item for item in items.by_ids(session, checked).values() if not item.damaged]

    return _halved(ids, read, lambda _: [])


def _halved(some: Sequence[Any], work: Callable[[Sequence[Any]], list[T]], of_one: Callable[[Any], list[T]]) -> list[T]:
    """The results of `work`. A list with an undecodable text is halved until `of_one` gets its row."""
    try:
        return work(some) if some else []
    except DBAPIError as error:
        if _UNDECODABLE not in str(error.orig).lower():
            raise
    if len(some) == 1:
        return of_one(some[0])
    middle = len(some) // 2
    return [*_halved(some[:middle], work, of_one), *_halved(some[middle:], work, of_one)]
