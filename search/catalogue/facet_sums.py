"""Sums over facets, by which damage of them is noticed before a filter or a count goes by them.

What a filter does not find cannot be checked row by row: a damaged value is simply not among those that it finds. So
there is a sum over all facets of a collection that have a path and a kind of value, written in the transaction that
writes these. Before facets are first gone by, all that have the path are read and added up, in the same way as the
statement will read them: databases keep values twice, in rows and in indexes, and either may be damaged. A process does
so once for each path, and again after `AGAIN_AFTER` seconds.

A change within 32 bits of one facet is always noticed; others with a chance of all but one in four billion.
"""

import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import (
    ColumnElement,
    Engine,
    Select,
    and_,
    bindparam,
    delete,
    insert,
    or_,
    select,
    true,
    type_coerce,
    update,
)
from sqlalchemy.orm import Session
from sqlalchemy.types import NullType

from search.catalogue import checksums
from search.catalogue.tables import CollectionRow, FacetRow, FacetSumRow, ItemRow
from search.catalogue.values import CHUNK, chunks
from search.errors import StoreCorrupt

NUMBER, TEXT, TRUTH, MOMENT = KINDS = ("number", "text", "truth", "moment")  # columns of facets
AGAIN_AFTER = 24 * 3600.0
_MOST_KEPT = 1_000
# A damaged column may hold a value of any type, so values are taken as the driver gives them.
_VALUES = {kind: type_coerce(getattr(FacetRow, kind), NullType()).label(kind) for kind in KINDS}
_STREAMED = {"yield_per": 10_000}

_Row = Sequence[Any]  # path, item id, and a value or None for each of the kinds that are read
_Sums = Mapping[tuple[str, str], int]  # by path and kind


class Reading(Enum):
    """How a statement comes by facets, and so what of the database it relies on."""

    VALUES = auto()  # by the index of values of one kind, which has to be given
    ROWS = auto()  # by the rows of the collection
    ITEMS = auto()  # by the rows that the index of items names


@dataclass(frozen=True)
class Paths:
    """Some paths of a collection, with `below` those inside them as well; None: all."""

    some: tuple[str, ...] | None = None
    below: bool = False

    def hold(self, column: Any) -> ColumnElement[bool]:
        """The condition for a column of paths."""
        if self.some is None:
            return true()
        inside = [and_(column >= f"{path}.", column < f"{path}/") for path in self.some if self.below]
        return or_(column.in_(self.some), *inside)


ALL = Paths()

_Key = tuple[int, Reading, Paths, str | None]
# When what was last read and found sound, in seconds of the monotonic clock.
_checked: WeakKeyDictionary[Engine, dict[_Key, float]] = WeakKeyDictionary()


def check(
    session: Session,
    collection_id: int,
    reading: Reading,
    paths: Paths,
    kind: str | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Read the facets at some paths, of one kind or of all, unless this process did so lately.

    Raises `StoreCorrupt` if they are not those that were written.
    """
    sound = _checked.setdefault(session.get_bind().engine, {})
    key, now = (collection_id, reading, paths, kind), clock()
    if now - sound.get(key, -AGAIN_AFTER) < AGAIN_AFTER:
        return
    if wrong := differing(session, collection_id, reading, paths, kind):
        raise StoreCorrupt(_sentence(session, collection_id, wrong))
    if len(sound) >= _MOST_KEPT:  # whoever asks may name any path
        sound.clear()
    sound[key] = now


def differing(
    session: Session, collection_id: int, reading: Reading = Reading.ROWS, paths: Paths = ALL, kind: str | None = None
) -> list[str]:
    """The paths at which facets are not those that were written, in order."""
    kinds = KINDS if kind is None else (kind,)
    right = _held(session, collection_id, paths.hold(FacetSumRow.path), FacetSumRow.kind.in_(kinds))
    found = _added(collection_id, _rows(session, collection_id, reading, paths, kinds), kinds)
    return sorted({str(key[0]) for key in right.keys() | found.keys() if right.get(key, 0) != found.get(key, 0)})


def add(session: Session, collection_id: int, facets: Iterable[Mapping[str, Any]]) -> None:
    """Add facets that were written, as rows of their table."""
    _change(session, collection_id, _added(collection_id, map(_row, facets)))


def take_off(session: Session, collection_id: int, ids: Sequence[int]) -> None:
    """Take off the facets of items, which are to be deleted; those that are damaged leave the sums wrong."""
    rows = session.execute(_select(collection_id, KINDS).where(FacetRow.item_id.in_(ids)))
    _change(session, collection_id, {key: -total for key, total in _added(collection_id, rows).items()})


def forget(session: Session, collection_id: int) -> None:
    """Delete the sums of a collection whose facets are to be written anew."""
    session.execute(delete(FacetSumRow).where(FacetSumRow.collection_id == collection_id))


def _sentence(session: Session, collection_id: int, wrong: Sequence[str]) -> str:
    name = session.scalar(select(CollectionRow.name).where(CollectionRow.id == collection_id))
    return (
        f"the values of the attribute {wrong[0]!r} of the collection {name!r} are damaged in the database, so nothing "
        f"can be filtered or counted by them; anyseek verify tells what is damaged, anyseek rebuild {name} mends it"
    )


def _select(collection_id: int, kinds: Iterable[str]) -> Select[*tuple[Any, ...]]:
    columns = (FacetRow.path, FacetRow.item_id, *(_VALUES[kind] for kind in kinds))
    return select(*columns).where(FacetRow.collection_id == collection_id)


def _rows(session: Session, collection_id: int, reading: Reading, paths: Paths, kinds: Sequence[str]) -> Iterator[_Row]:
    """The facets at some paths, come by in a way; SQLite then takes the way that its name says."""
    wanted = _select(collection_id, kinds).where(paths.hold(FacetRow.path)).execution_options(**_STREAMED)
    if reading is Reading.ITEMS:
        of_collection = select(ItemRow.id).where(ItemRow.collection_id == collection_id).order_by(ItemRow.id)
        for some in chunks(session.scalars(of_collection).all(), CHUNK):
            yield from session.execute(wanted.where(FacetRow.item_id.in_(some)))
    elif reading is Reading.VALUES:
        (kind,) = kinds
        yield from session.execute(wanted.where(getattr(FacetRow, kind).is_not(None)))
    else:
        yield from session.execute(wanted)


def _row(facet: Mapping[str, Any]) -> _Row:
    return (facet["path"], facet["item_id"], *(facet[kind] for kind in KINDS))


def _added(collection_id: int, rows: Iterable[_Row], kinds: Sequence[str] = KINDS) -> dict[tuple[str, str], int]:
    """The sums over facets: of the CRC-32 of each value with its collection, path, kind and item."""
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for path, item_id, *values in rows:
        for kind, value in zip(kinds, values, strict=True):
            if value is not None:
                told = f"{item_id!r} {_plain(value)!r}".encode("ascii", "backslashreplace")
                sums[path, kind] += zlib.crc32(told, _of_names(collection_id, path, kind))
    return sums


@lru_cache(maxsize=4096)
def _of_names(*names: object) -> int:
    """The checksum of what many facets have in common."""
    return checksums.of_values(*names)


def _plain(value: object) -> object:
    """A value as both databases give it: truths as numbers, and no negative zero."""
    return float(value) + 0.0 if isinstance(value, int | float) else value


def _held(session: Session, collection_id: int, *where: ColumnElement[bool]) -> dict[tuple[str, str], int]:
    columns = (FacetSumRow.path, FacetSumRow.kind, FacetSumRow.total)
    rows = session.execute(select(*columns).where(FacetSumRow.collection_id == collection_id, *where))
    return {
        (path, kind): total if isinstance(total, int) else 0 for path, kind, total in rows
    }  # damaged, it may be any


_OF = and_(
    FacetSumRow.collection_id == bindparam("of"),
    FacetSumRow.path == bindparam("at"),
    FacetSumRow.kind == bindparam("called"),
)
_INSERT, _DELETE = insert(FacetSumRow), delete(FacetSumRow).where(_OF)
_UPDATE = update(FacetSumRow).where(_OF).values(total=bindparam("to"))


def _change(session: Session, collection_id: int, changes: _Sums) -> None:
    """Add to the sums of a collection whose row is locked; a sum over nothing has no row."""
    held: dict[tuple[str, str], int] = {}
    for some in chunks(list({path for path, _ in changes})):
        held |= _held(session, collection_id, FacetSumRow.path.in_(some))
    new, other, gone = [], [], []
    for (path, kind), by in changes.items():
        total = held.get((path, kind), 0) + by
        if (path, kind) not in held:
            new.append({"collection_id": collection_id, "path": path, "kind": kind, "total": total})
        elif total:
            other.append({"of": collection_id, "at": path, "called": kind, "to": total})
        else:
            gone.append({"of": collection_id, "at": path, "called": kind})
    connection = session.connection()
    for statement, rows in ((_INSERT, new), (_UPDATE, other), (_DELETE, gone)):
        if rows:
            connection.execute(statement, rows)
