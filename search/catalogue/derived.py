"""Facets and words compared with the items that they are made from, and written anew where they differ.

They have no checksums, because what a filter does not find cannot be checked. Items have, so whatever their facets and
words should be can be worked out again from sound ones.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from search.caller import Caller, acting
from search.catalogue import audit, checks, collections, facets, integrity, items, log, words
from search.catalogue.log import NewEntry
from search.catalogue.session import Database
from search.catalogue.tables import ItemRow
from search.catalogue.values import CHUNK, chunks
from search.types import Item

ITSELF = "anyseek"  # who mends, for the audit log
_NO_TEXT = "could not decode"  # what SQLite's driver says of a text whose bytes are none

Indexed = Mapping[int, int] | None  # see `words.indexed`
T = TypeVar("T")


@dataclass(frozen=True)
class Kind:
    """One kind of derived rows. `indexed` is what `stale` and `strays` go by, `renew` makes the indexes anew."""

    name: str  # as people call them
    disagrees: Callable[[Session], bool]
    indexed: Callable[[Session, Callable[[], None]], Indexed]
    stale: Callable[[Session, int, Sequence[Item], Indexed], list[Item]]
    strays: Callable[[Session, Indexed], list[int]]
    renew: Callable[[Session], None]
    renews_always: bool  # before rows are replaced
    delete: Callable[[Session, Sequence[int]], None]
    insert_of: Callable[[Session, int, Sequence[Item]], None]


@dataclass(frozen=True)
class Damage:
    """What differs: the table's indexes, items by their collection's id, and rows of items that are not there."""

    in_indexes: bool
    stale: Mapping[int, Sequence[int]]
    strays: Sequence[int]

    def __bool__(self) -> bool:
        return bool(self.in_indexes or self.stale or self.strays)

    def __str__(self) -> str:
        count = sum(map(len, self.stale.values())) + len(self.strays)
        said = [f"{count} items"] if count else []
        return " and ".join([*said, "an index"] if self.in_indexes else said)


FACETS = Kind(
    "attributes",
    lambda session: integrity.disagrees(session, "facets"),
    lambda session, _: None,
    lambda session, collection_id, some, _: facets.stale(session, collection_id, some),
    lambda session, _: facets.strays(session),
    lambda session: integrity.index_again(session, "facets"),
    False,
    facets.delete,
    lambda session, collection_id, some: facets.insert_of(
        session, collection_id, {item.id: item.attributes for item in some}
    ),
)
WORDS = Kind(
    "words",
    lambda session: False,  # what `indexed` says is compared item by item
    words.indexed,
    words.stale,
    words.strays,
    words.index_again,
    True,
    words.delete,
    words.insert_of,
)


def count_items(session: Session) -> int:
    """The number of items of all collections."""
    return session.scalar(select(func.count()).select_from(ItemRow)) or 0


def survey(database: Database, kind: Kind, after_batch: Callable[[int], None] = lambda count: None) -> Damage:
    """Compare the rows of all sound items, in batches of which each is one consistent view.

    `after_batch` gets the number of items compared in each, and 0 now and then before. What differs is compared once
    more in one view, so an item that is written meanwhile is never taken for damaged. Raises SQLAlchemy's errors where
    damage stops a reading.
    """
    rest = partial(after_batch, 0)
    with database.read() as session:
        numbers, indexed = sorted(collections.ids(session)), kind.indexed(session, rest)
        in_indexes, strays = kind.disagrees(session), _strays(session, kind, numbers, indexed)
    suspects = {number: _suspects(database, kind, number, indexed, after_batch) for number in numbers}
    return Damage(in_indexes, _certain(database, kind, suspects, rest), strays)


def mend(database: Database, kind: Kind, damage: Damage) -> None:
    """Write the rows anew, and tell it in the audit log and in the logs of the collections.

    From these, other processes learn to look at the items again. A transaction has at most `CHUNK` items, so that other
    writers have their turns. Raises SQLAlchemy's errors.
    """
    with acting(Caller(ITSELF)):
        with database.write() as session:
            if damage.in_indexes or kind.renews_always:
                kind.renew(session)  # first, because rows cannot be taken out of an index that has others
            if damage.in_indexes:
                audit.record(session, "collection.mend", None, f"the index of {kind.name}")
            kind.delete(session, damage.strays)
        for number, ids in damage.stale.items():
            for some in chunks(ids):
                with database.write() as session:
                    _write_again(session, kind, number, some)


def _certain(
    database: Database, kind: Kind, suspects: Mapping[int, Sequence[int]], rest: Callable[[], None]
) -> dict[int, list[int]]:
    """Those of the items suspected that differ in one view, too."""
    if not any(suspects.values()):
        return {}
    with database.read() as session:
        indexed, there = kind.indexed(session, rest), collections.ids(session)
        found = {
            number: [item.id for item in _stale(session, kind, number, ids, indexed)]
            for number, ids in suspects.items()
            if number in there
        }
    return {number: ids for number, ids in found.items() if ids}


def _write_again(session: Session, kind: Kind, number: int, ids: Sequence[int]) -> None:
    last_seq = log.lock(session, number)
    sound = _sound(session, ids)
    if not sound:  # deleted meanwhile
        return
    kind.delete(session, [item.id for item in sound])
    kind.insert_of(session, number, sound)
    log.append(session, number, last_seq, [NewEntry(log.PAYLOAD, item.id, item.revision) for item in sound])
    name = collections.head_by_id(session, number).name
    audit.record(session, "collection.mend", name, f"the {kind.name} of {len(sound)} items")


def _suspects(
    database: Database, kind: Kind, number: int, indexed: Indexed, after_batch: Callable[[int], None]
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


def _stale(session: Session, kind: Kind, number: int, ids: Sequence[int], indexed: Indexed) -> list[Item]:
    def differing(some: Sequence[Item]) -> list[Item]:
        return kind.stale(session, number, some, indexed)

    return _apart(_sound(session, ids), differing, lambda item: [item])


def _sound(session: Session, ids: Sequence[int]) -> list[Item]:
    """Those items that match their checksums."""

    def read(some: Sequence[int]) -> list[Item]:
        return [item for item in items.by_ids(session, some).values() if not item.damaged]

    return _apart(ids, read, lambda _: [])


def _apart(some: Sequence[Any], work: Callable[[Sequence[Any]], list[T]], of_one: Callable[[Any], list[T]]) -> list[T]:
    """What `work` says of all, or of each half where it meets a text that is none; `of_one` of one that has such."""
    try:
        return work(some) if some else []
    except DBAPIError as error:
        if _NO_TEXT not in str(error.orig).lower():
            raise
    if len(some) == 1:
        return of_one(some[0])
    middle = len(some) // 2
    return [*_apart(some[:middle], work, of_one), *_apart(some[middle:], work, of_one)]


def _strays(session: Session, kind: Kind, numbers: Sequence[int], indexed: Indexed) -> list[int]:
    """Without items whose own rows are lost: an answer that finds one by its facets says that it is left out."""
    found = set(kind.strays(session, indexed))
    lost: dict[int, set[int]] = defaultdict(set)
    for number in numbers if found else ():
        lost[number].update(checks.vanished_items(session, collections.head_by_id(session, number), sorted(found)))
    return sorted(found.difference(*lost.values()))
