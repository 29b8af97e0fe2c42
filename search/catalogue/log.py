"""The log: every vector, deletion and change of payload of a collection, in one numbered order without gaps.

The kinds of entries are `upsert` (an item's raw vector in one space), `payload` (something other than vectors changed)
and `delete`; the last two concern the item in every space and carry no vector.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Row, Select, and_, func, insert, or_, select, update
from sqlalchemy import delete as delete_rows
from sqlalchemy.orm import Session

from anyseek.model.seam import FloatArray
from anyseek.search.catalogue import checksums
from anyseek.search.catalogue.session import count_changed
from anyseek.search.catalogue.tables import CollectionRow, ItemRow, LogRow, SpaceRow
from anyseek.search.catalogue.values import chunks, from_bytes, to_bytes
from anyseek.search.types import IdArray

UPSERT, PAYLOAD, DELETE = "upsert", "payload", "delete"

PAGE = 1_000

_ENTRY = (
    LogRow.seq,
    LogRow.kind,
    LogRow.item_id,
    LogRow.space_id,
    LogRow.fingerprint,
    LogRow.vector,
    LogRow.revision,
    LogRow.checksum,
)


@dataclass(frozen=True)
class NewEntry:
    """An entry to append; `revision` is the item's after the change."""

    kind: str
    item_id: int
    revision: int
    space_id: int | None = None
    fingerprint: str | None = None
    vector: FloatArray | None = None


@dataclass(frozen=True)
class LogEntry:
    """One stored entry; `data` is the raw (not centred) vector, float32 little-endian.

    An entry that is not `sound` does not match its checksum: nothing in it can be trusted.
    """

    seq: int
    kind: str
    item_id: int
    space_id: int | None
    fingerprint: str | None
    data: bytes | None
    revision: int
    sound: bool = True

    def vector(self, fingerprint: str, dimension: int) -> FloatArray | None:
        """The vector (dimension,), None if it was made under another fingerprint or is damaged."""
        if not self.sound or self.data is None or self.fingerprint != fingerprint or len(self.data) != 4 * dimension:
            return None
        return from_bytes(self.data)


@dataclass(frozen=True)
class VectorPage:
    """The newest raw vectors of existing items in one space, by item id, each with its model's fingerprint.

    `data[i]` is float32 little-endian, as in the log at `seqs[i]`, and damaged if `sound[i]` is false.
    """

    ids: tuple[int, ...]
    fingerprints: tuple[str, ...]
    data: tuple[bytes, ...]
    seqs: tuple[int, ...]
    sound: tuple[bool, ...]

    @property
    def damaged(self) -> set[int]:
        """The ids whose vectors do not match their checksums."""
        return {item_id for item_id, sound in zip(self.ids, self.sound, strict=True) if not sound}

    def by_id(self) -> Iterator[tuple[int, str, bytes]]:
        """Id, fingerprint and data of the sound vectors."""
        for place in np.flatnonzero(self.sound).tolist():
            yield self.ids[place], self.fingerprints[place], self.data[place]

    def of(self, fingerprint: str, dimension: int) -> tuple[IdArray, FloatArray]:
        """Ids (n,) and vectors (n, dimension) of the sound vectors made under `fingerprint`."""
        rows = [
            i
            for i, made_by in enumerate(self.fingerprints)
            if self.sound[i] and made_by == fingerprint and len(self.data[i]) == 4 * dimension
        ]
        vectors = from_bytes(b"".join(self.data[i] for i in rows)).reshape(len(rows), dimension)
        return np.array([self.ids[i] for i in rows], np.int64), vectors


def lock(session: Session, collection_id: int) -> int:
    """Take the collection's row lock until the commit, and return its `last_seq`; 0 if it is deleted."""
    of_collection = CollectionRow.id == collection_id
    return session.scalar(select(CollectionRow.last_seq).where(of_collection).with_for_update()) or 0


def append(session: Session, collection_id: int, last_seq: int, entries: Sequence[NewEntry]) -> None:
    """Store `entries`, numbered from `last_seq` + 1; the caller holds the collection's lock."""
    if not entries:
        return
    rows = [
        {
            "seq": seq,
            "kind": entry.kind,
            "item_id": entry.item_id,
            "space_id": entry.space_id,
            "fingerprint": entry.fingerprint,
            "vector": None if entry.vector is None else to_bytes(entry.vector),
            "revision": entry.revision,
        }
        for seq, entry in enumerate(entries, last_seq + 1)
    ]
    sums = checksums.of_entries(collection_id, [list(row.values()) for row in rows])
    complete = [row | {"collection_id": collection_id, "checksum": new} for row, new in zip(rows, sums, strict=True)]
    session.execute(insert(LogRow), complete)
    session.execute(
        update(CollectionRow).where(CollectionRow.id == collection_id).values(last_seq=last_seq + len(entries))
    )


def entries_after(
    session: Session, collection_id: int, seq: int, limit: int = PAGE, space_id: int | None = None
) -> list[LogEntry]:
    """The next `limit` entries after `seq`, in order; with `space_id`, the vectors of other spaces are left out."""
    of_space = () if space_id is None else (or_(LogRow.space_id.is_(None), LogRow.space_id == space_id),)
    rows = session.execute(
        select(*_ENTRY)
        .where(LogRow.collection_id == collection_id, LogRow.seq > seq, *of_space)
        .order_by(LogRow.seq)
        .limit(limit)
    ).all()
    return [LogEntry(*row[:-1], sound) for row, sound in zip(rows, _are_sound(collection_id, rows), strict=True)]


def damaged_entries(session: Session, collection_id: int) -> set[int]:
    """The numbers of all entries that do not match their checksums."""
    seqs: set[int] = set()
    after = -1
    while page := entries_after(session, collection_id, after):
        seqs.update(entry.seq for entry in page if not entry.sound)
        after = page[-1].seq
    return seqs


def fill_checksums(session: Session, collection_id: int) -> None:
    """Compute the checksums of entries written by older versions, which have none."""
    query = select(*_ENTRY).where(LogRow.collection_id == collection_id, LogRow.checksum.is_(None))
    after = -1
    while rows := session.execute(query.where(LogRow.seq > after).order_by(LogRow.seq).limit(PAGE)).all():
        sums = checksums.of_entries(collection_id, [row[:-1] for row in rows])
        of_collection = {"collection_id": collection_id}
        filled = [{**of_collection, "seq": row.seq, "checksum": new or 0} for row, new in zip(rows, sums, strict=True)]
        session.execute(update(LogRow), filled)
        after = rows[-1].seq


def items_after(session: Session, collection_id: int, seq: int) -> set[int]:
    """Ids of the items of entries after `seq`."""
    return set(session.scalars(select(LogRow.item_id).where(LogRow.collection_id == collection_id, LogRow.seq > seq)))


def latest_vectors(
    session: Session, collection_id: int, space_id: int, ids: Sequence[int] | None = None, page: int = PAGE
) -> Iterator[VectorPage]:
    """The newest vector of every existing item in a space (only of `ids`, if given), in pages by item id.

    Items without a vector in the space are left out.
    """
    if ids is not None:
        for batch in chunks(sorted(ids)):
            newest = _newest(collection_id, space_id).where(LogRow.item_id.in_(batch))
            yield _vector_page(session, collection_id, newest)
        return
    # In the order of the index; otherwise SQLite sorts all remaining rows each time.
    in_order = (LogRow.collection_id, LogRow.item_id)
    after = 0
    while True:
        newest = _newest(collection_id, space_id).where(LogRow.item_id > after).order_by(*in_order).limit(page)
        vectors = _vector_page(session, collection_id, newest)
        if not vectors.ids:
            return
        yield vectors
        after = vectors.ids[-1]


def compact(session: Session, collection_id: int, below_seq: int, whole: bool = False) -> int:
    """Drop deletions and superseded entries up to `below_seq`; return how many.

    The newest vector of every existing item in every space stays, whatever its number, so the log remains complete.
    Readers whose cursor is older than `compacted_seq` must rebuild the index, since they would miss deletions.

    Writers wait in the meantime, so only items that have changed since the last compaction are examined. `whole`
    examines all items, to repair a log with impossible entries.
    """
    of_collection = CollectionRow.id == collection_id
    since = session.scalar(select(CollectionRow.compacted_seq).where(of_collection).with_for_update()) or 0
    if whole or since == 0:
        removed = _drop(session, collection_id, LogRow.seq <= below_seq, LogRow.seq.not_in(_live_seqs(collection_id)))
    else:
        changed = chunks(sorted(items_after(session, collection_id, since)))
        removed = sum(_drop_superseded(session, collection_id, below_seq, batch) for batch in changed)
    session.execute(
        update(CollectionRow)
        .where(of_collection, CollectionRow.compacted_seq < below_seq)
        .values(compacted_seq=below_seq)
    )
    return removed


def _drop_superseded(session: Session, collection_id: int, below_seq: int, ids: Sequence[int]) -> int:
    """Drop superseded entries of some items, in batches; otherwise SQLite would scan the log up to `below_seq`."""
    of_items = LogRow.item_id.in_(ids)
    seqs = session.scalars(select(LogRow.seq).where(LogRow.collection_id == collection_id, of_items))
    superseded = {seq for seq in seqs if seq <= below_seq} - set(
        session.scalars(_live_seqs(collection_id).where(of_items))
    )
    return sum(_drop(session, collection_id, LogRow.seq.in_(batch)) for batch in chunks(sorted(superseded)))


def _drop(session: Session, collection_id: int, *where: ColumnElement[bool]) -> int:
    return count_changed(session, delete_rows(LogRow).where(LogRow.collection_id == collection_id, *where))


def _live_seqs(collection_id: int) -> Select[int]:
    """Select the sequence numbers of the newest vectors of existing items in existing spaces."""
    return (
        select(func.max(LogRow.seq))
        .join(ItemRow, ItemRow.id == LogRow.item_id)
        .join(SpaceRow, SpaceRow.id == LogRow.space_id)
        .where(LogRow.collection_id == collection_id, LogRow.kind == UPSERT)
        .group_by(LogRow.item_id, LogRow.space_id)
    )


def _newest(collection_id: int, space_id: int) -> Select[int, int, int]:
    """Select the sequence number of each item's newest vector in a space."""
    return (
        select(LogRow.collection_id, LogRow.item_id, func.max(LogRow.seq).label("seq"))
        .join(ItemRow, ItemRow.id == LogRow.item_id)
        .where(LogRow.collection_id == collection_id, LogRow.space_id == space_id, LogRow.kind == UPSERT)
        .group_by(LogRow.collection_id, LogRow.item_id)
    )


def _vector_page(session: Session, collection_id: int, newest: Select[int, int, int]) -> VectorPage:
    newest_seqs = newest.subquery()
    rows = session.execute(
        select(*_ENTRY)
        .join(newest_seqs, and_(newest_seqs.c.collection_id == LogRow.collection_id, newest_seqs.c.seq == LogRow.seq))
        .order_by(LogRow.item_id)
    ).all()
    return VectorPage(
        tuple(row.item_id for row in rows),
        tuple(row.fingerprint or "" for row in rows),
        tuple(row.vector or b"" for row in rows),
        tuple(row.seq for row in rows),
        tuple(_are_sound(collection_id, rows)),
    )


def _are_sound(collection_id: int, entries: Sequence[Row[*tuple[Any, ...]]]) -> list[bool]:
    """Flags of the rows of `_ENTRY` whose values match their checksum."""
    sums = checksums.of_entries(collection_id, [entry[:-1] for entry in entries])
    return [entry[-1] in (None, checksum) for entry, checksum in zip(entries, sums, strict=True)]
