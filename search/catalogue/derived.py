"""Facets and words compared with the items that they are made from, and written anew where they differ.

They have no checksums, because what a filter does not find cannot be checked. Items have, so whatever their facets and
words should be can be worked out again from sound ones. Items without a checksum, of an older version, may be what is
damaged, so they are left to `verify`, which only names what differs.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from anyseek.search.actor import Caller, acting
from anyseek.search.catalogue import audit, checks, collections, facets, items, log, words
from anyseek.search.catalogue.log import NewEntry
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import ItemRow
from anyseek.search.catalogue.values import CHUNK, Lookup, chunks
from anyseek.search.types import Item

ITSELF = "anyseek"  # the actor that mends, in the audit log
_CHECKED = Lookup(select(ItemRow.id).where(ItemRow.checksum.is_not(None)), ItemRow.__table__.c.id)
_NO_TEXT = "could not decode"  # what SQLite's driver says of a text whose bytes are none

Indexed = Mapping[int, int] | None  # see `words.indexed`
T = TypeVar("T")


class DerivedKind(Protocol):
    """One kind of derived rows, with what the modules `facets` and `words` know of their table."""

    NAME: str  # as users call it

    def indexed(self, session: Session, rest: Callable[[], None]) -> Indexed:
        """The content of an index that is compared item by item; `rest` is called now and then while it is read."""

    def index_disagrees(self, session: Session) -> bool:
        """True if the table and its indexes disagree."""

    def stale(self, session: Session, collection_id: int, some: Sequence[Item], indexed: Indexed) -> list[Item]:
        """The sound items of `some` whose rows differ from what they should be."""

    def strays(self, session: Session, indexed: Indexed) -> list[int]:
        """Ids of items that have rows and do not exist."""

    def index_differs(self, some: Sequence[Item], strays: Sequence[int], indexed: Indexed) -> bool:
        """True if the content of the index, and not only a row, is wrong about stale items or strays."""

    def rebuild_index(self, session: Session) -> None:
        """Rebuild the indexes from the rows."""

    def delete(self, session: Session, ids: Sequence[int]) -> None:
        """Delete the rows of items."""

    def write_again(self, session: Session, collection_id: int, some: Sequence[Item], index_is_of_rows: bool) -> None:
        """Replace the rows of items; `index_is_of_rows` if the indexes have just been rebuilt."""


FACETS: DerivedKind = facets
WORDS: DerivedKind = words


@dataclass(frozen=True)
class Damage:
    """Differences in a table: its indexes, items by their collection's id, and rows of items that are not there."""

    in_indexes: bool
    stale: Mapping[int, Sequence[int]]
    strays: Sequence[int]

    def __bool__(self) -> bool:
        return bool(self.in_indexes or self.stale or self.strays)

    def __str__(self) -> str:
        count = sum(map(len, self.stale.values())) + len(self.strays)
        said = [f"{count} items"] if count else []
        return " and ".join([*said, "an index"] if self.in_indexes else said)


def count_items(session: Session) -> int:
    """The number of items of all collections."""
    return session.scalar(select(func.count()).select_from(ItemRow)) or 0


def survey(database: Database, kind: DerivedKind, after_batch: Callable[[int], None] = lambda count: None) -> Damage:
    """Compare the rows of all sound items, in batches of which each is one consistent view.

    `after_batch` gets the number of items compared in each, and 0 now and then before. What differs is compared once
    more in one view, so an item that is written meanwhile is never taken for damaged. Raises SQLAlchemy's errors where
    damage stops a reading.
    """
    rest = partial(after_batch, 0)
    with database.read() as session:
        numbers, indexed = sorted(collections.ids(session)), kind.indexed(session, rest)
        in_indexes, strays = kind.index_disagrees(session), _strays(session, kind, numbers, indexed)
    suspects = {number: _suspects(database, kind, number, indexed, after_batch) for number in numbers}
    stale, differs = _certain(database, kind, suspects, strays, rest)
    return Damage(in_indexes or differs, stale, strays)


def mend(database: Database, kind: DerivedKind, damage: Damage) -> None:
    """Write the rows anew, and tell it in the audit log and in the logs of the collections.

    From these, other processes learn to look at the items again. An index is made anew in one transaction, and only if
    it differs itself. Each further one has at most `CHUNK` items, so that other writers have their turns. Raises
    SQLAlchemy's errors; what was written until then stays.
    """
    with acting(Caller(ITSELF)):
        if damage.in_indexes:  # first, because rows cannot be taken out of an index that has others
            with database.write() as session:
                kind.rebuild_index(session)
                audit.record(session, "collection.mend", None, f"the index of {kind.NAME}")
        for some in chunks(damage.strays):
            with database.write() as session:
                _delete_strays(session, kind, some)
        for number, ids in damage.stale.items():
            for some in chunks(ids):
                with database.write() as session:
                    _write_again(session, kind, number, some, damage.in_indexes)


def _certain(
    database: Database,
    kind: DerivedKind,
    suspects: Mapping[int, Sequence[int]],
    strays: Sequence[int],
    rest: Callable[[], None],
) -> tuple[dict[int, list[int]], bool]:
    """The suspects that differ in a single view as well, and True if the index itself differs."""
    if not any(suspects.values()) and not strays:
        return {}, False
    found: dict[int, list[int]] = {}
    with database.read() as session:
        indexed, there = kind.indexed(session, rest), collections.ids(session)
        differs = kind.index_differs([], strays, indexed)
        for number, ids in suspects.items():
            if number in there and (stale := _stale(session, kind, number, ids, indexed)):
                found[number] = [item.id for item in stale]
                differs = differs or kind.index_differs(stale, [], indexed)
    return found, differs


def _delete_strays(session: Session, kind: DerivedKind, ids: Sequence[int]) -> None:
    there = set(session.scalars(select(ItemRow.id).where(ItemRow.id.in_(ids))))
    gone = [item_id for item_id in ids if item_id not in there]  # a new item may have the number meanwhile
    if not gone:
        return
    kind.delete(session, gone)
    audit.record(session, "collection.mend", None, f"the {kind.NAME} of {len(gone)} items that are gone")


def _write_again(session: Session, kind: DerivedKind, number: int, ids: Sequence[int], is_renewed: bool) -> None:
    last_seq = log.lock(session, number)
    sound = _sound(session, ids)
    if not sound:  # deleted meanwhile
        return
    kind.write_again(session, number, sound, is_renewed)
    log.append(session, number, last_seq, [NewEntry(log.PAYLOAD, item.id, item.revision) for item in sound])
    name = collections.head_by_id(session, number).name
    audit.record(session, "collection.mend", name, f"the {kind.NAME} of {len(sound)} items")


def _suspects(
    database: Database, kind: DerivedKind, number: int, indexed: Indexed, after_batch: Callable[[int], None]
) -> list[int]:
    """The items of a collection whose rows differ in the view in which their batch is read."""
    found: list[int] = []
    after = 0
    while True:
        with database.read() as session:
            ids = items.ids_after(session, number, after, CHUNK)
            found += [item.id for item in _stale(session, kind, number, ids, indexed)]
        if not ids:
            return found
        after = ids[-1]
        after_batch(len(ids))


def _stale(session: Session, kind: DerivedKind, number: int, ids: Sequence[int], indexed: Indexed) -> list[Item]:
    def differing(some: Sequence[Item]) -> list[Item]:
        return kind.stale(session, number, some, indexed)

    return _apart(_sound(session, ids), differing, lambda item: [item])


def _sound(session: Session, ids: Sequence[int]) -> list[Item]:
    """The items that have checksums and match them."""

    def read(some: Sequence[int]) -> list[Item]:
        checked = [row[0] for row in _CHECKED.rows(session.connection(), some)]
        return [item for item in items.by_ids(session, checked).values() if not item.damaged]

    return _apart(ids, read, lambda _: [])


def _apart(some: Sequence[Any], work: Callable[[Sequence[Any]], list[T]], of_one: Callable[[Any], list[T]]) -> list[T]:
    """The results of `work`. A list with an undecodable text is halved until `of_one` gets its row."""
    try:
        return work(some) if some else []
    except DBAPIError as error:
        if _NO_TEXT not in str(error.orig).lower():
            raise
    if len(some) == 1:
        return of_one(some[0])
    middle = len(some) // 2
    return [*_apart(some[:middle], work, of_one), *_apart(some[middle:], work, of_one)]


def _strays(session: Session, kind: DerivedKind, numbers: Sequence[int], indexed: Indexed) -> list[int]:
    """Strays, without items whose own rows are lost: an answer that finds these by facets says that it omits them."""
    found = set(kind.strays(session, indexed))
    lost: dict[int, set[int]] = defaultdict(set)
    for number in numbers if found else ():
        lost[number].update(checks.vanished_items(session, collections.head_by_id(session, number), list(found)))
    return sorted(found.difference(*lost.values()), key=str)  # damage may have made a number a text
