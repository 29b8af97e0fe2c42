"""Checks that the catalogue is consistent, and repairs of what is not."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, ForeignKey, and_, delete, func, select, update
from sqlalchemy.orm import Session, aliased

from search.catalogue import facets, log
from search.catalogue.collections import Head, SpaceHead
from search.catalogue.tables import CHUNK, CollectionRow, ItemRow, LogRow, Table, chunks
from search.filters.facets import facets_of

NO_VECTOR = "has no vector in the log"


def orphans(session: Session) -> list[tuple[str, int]]:
    """The number of rows of each table that refer to a missing row; only tables that have any."""
    counted = []
    for key in _foreign_keys():
        count = session.scalar(select(func.count()).select_from(key.parent.table).where(_dangles(key))) or 0
        if count:
            counted.append((key.parent.table.name, count))
    return counted


def remove_orphans(session: Session) -> None:
    """Remove the rows that `orphans` counts, and then those that referred to them."""
    for key in _foreign_keys():
        session.execute(delete(key.parent.table).where(_dangles(key)))


def missing_numbers(session: Session, head: Head) -> list[int]:
    """Numbers above the compacted part of the log that have no entry."""
    query = select(LogRow.seq).where(LogRow.collection_id == head.id, LogRow.seq > head.compacted_seq)
    there = set(session.scalars(query))
    return [seq for seq in range(head.compacted_seq + 1, head.last_seq + 1) if seq not in there]


def entries_beyond_end(session: Session, head: Head) -> int:
    """How many entries have a number above the collection's last one."""
    query = select(func.count()).where(LogRow.collection_id == head.id, LogRow.seq > head.last_seq)
    return session.scalar(query) or 0


def vanished_items(session: Session, head: Head) -> list[int]:
    """Ids of items whose vectors are in the log, but that have neither a row nor a deletion entry."""
    deletion = aliased(LogRow)
    deleted = (
        select(deletion.seq)
        .where(
            deletion.collection_id == LogRow.collection_id,
            deletion.item_id == LogRow.item_id,
            deletion.kind == log.DELETE,
        )
        .exists()
    )
    query = (
        select(LogRow.item_id)
        .outerjoin(ItemRow, ItemRow.id == LogRow.item_id)
        .where(LogRow.collection_id == head.id, LogRow.kind == log.UPSERT, ItemRow.id.is_(None), ~deleted)
        .distinct()
    )
    return list(session.scalars(query))


def faulty_vectors(session: Session, head: Head, space: SpaceHead) -> Iterator[tuple[str, str]]:
    """The key of each item without a usable vector in the space, and what is wrong."""
    for key in session.scalars(_without_vector(head.id, space.id)):
        yield key, NO_VECTOR
    for page in log.latest_vectors(session, head.id, space.id):
        faults = {}
        for item_id, fingerprint, data in zip(page.ids, page.fingerprints, page.data, strict=True):
            if fingerprint != space.fingerprint:
                faults[item_id] = "has a vector made by other weights"
            elif len(data) != 4 * space.dimension:
                faults[item_id] = f"has a vector of {len(data)} bytes instead of {4 * space.dimension}"
        for key, item_id in _keys(session, list(faults)):
            yield key, faults[item_id]


def lacks_vector(session: Session, head: Head, space: SpaceHead, key: str) -> bool:
    """Whether the item `key` exists and has no vector in the space."""
    return session.scalar(_without_vector(head.id, space.id).where(ItemRow.key == key)) is not None


def stale_facets(session: Session, head: Head) -> Iterator[str]:
    """Keys of items whose facets do not match their attributes."""
    query = select(ItemRow.id, ItemRow.key, ItemRow.attributes).where(ItemRow.collection_id == head.id)
    for some in session.execute(query.order_by(ItemRow.id)).partitions(CHUNK):
        held = facets.held_by(session, [row.id for row in some])
        yield from (row.key for row in some if held.get(row.id, set()) != set(facets_of(row.attributes)))


def settle(session: Session, head: Head, to_make_again: Sequence[str]) -> None:
    """Repair log and facets: close gaps, drop what deleted items left, and have every reader reopen its index.

    Items in `to_make_again` lose their content hash, so that the next run over their source embeds them again.
    """
    remove_orphans(session)
    last = session.scalar(select(CollectionRow.last_seq).where(CollectionRow.id == head.id).with_for_update()) or 0
    highest = session.scalar(select(func.max(LogRow.seq)).where(LogRow.collection_id == head.id)) or 0
    end = max(last, highest, head.compacted_seq) + 1  # above every reader's cursor
    session.execute(update(CollectionRow).where(CollectionRow.id == head.id).values(last_seq=end))
    log.compact(session, head.id, end, whole=True)
    facets.make_again(session, head.id)
    for keys in chunks(to_make_again):
        of_items = and_(ItemRow.collection_id == head.id, ItemRow.key.in_(keys))
        session.execute(update(ItemRow).where(of_items).values(content_hash="", stamp=None))


def _foreign_keys() -> list[ForeignKey]:
    """The foreign keys of all tables; a table comes after those that it refers to."""
    return [key for table in Table.metadata.sorted_tables for key in sorted(table.foreign_keys, key=str)]


def _dangles(key: ForeignKey) -> ColumnElement[bool]:
    column: ColumnElement[Any] = key.parent
    return and_(column.is_not(None), column.not_in(select(key.column)))


def _without_vector(collection_id: int, space_id: int) -> Any:
    """Keys of items that no upsert in the space belongs to."""
    having = select(LogRow.item_id).where(
        LogRow.collection_id == collection_id, LogRow.space_id == space_id, LogRow.kind == log.UPSERT
    )
    return select(ItemRow.key).where(ItemRow.collection_id == collection_id, ItemRow.id.not_in(having))


def _keys(session: Session, ids: Sequence[int]) -> Iterator[tuple[str, int]]:
    for some in chunks(ids):
        yield from session.execute(select(ItemRow.key, ItemRow.id).where(ItemRow.id.in_(some)))
