"""Consistency checks of the catalogue and its database, and repairs."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, ForeignKey, and_, delete, func, select, text, update
from sqlalchemy.orm import Session, aliased

from anyseek.search.catalogue import collections, item_rows, log
from anyseek.search.catalogue.collections import Head, SpaceHead
from anyseek.search.catalogue.derived_tables import FACETS, WORDS, DerivedTable
from anyseek.search.catalogue.tables import CollectionRow, ItemRow, LogRow, SpaceRow, Table
from anyseek.search.catalogue.values import rows_in
from anyseek.search.types import Item

NO_VECTOR = "has no vector in the log"
DAMAGED = "has a damaged vector"


def orphans(session: Session) -> Iterator[str]:
    """A message for each foreign key with rows that refer to missing rows."""
    for key in _foreign_keys():
        table = key.parent.table
        count = session.scalar(select(func.count()).select_from(table).where(_is_dangling(key)))
        if count:
            yield f"{count} rows of table {table.name!r} refer to rows that are not there"


def remove_orphans(session: Session) -> None:
    """Remove the rows that `orphans` counts, and the rows that refer to them."""
    for key in _foreign_keys():
        session.execute(delete(key.parent.table).where(_is_dangling(key)))


def missing_seqs(session: Session, head: Head) -> list[int]:
    """The sequence numbers above the compacted part of the log that have no entry."""
    query = select(LogRow.seq).where(LogRow.collection_id == head.id, LogRow.seq > head.compacted_seq)
    existing = set(session.scalars(query))
    return [seq for seq in range(head.compacted_seq + 1, head.last_seq + 1) if seq not in existing]


def entries_beyond_end(session: Session, head: Head) -> int:
    """The number of entries above the collection's `last_seq`."""
    query = select(func.count()).where(LogRow.collection_id == head.id, LogRow.seq > head.last_seq)
    return session.scalar(query) or 0


def vanished_items(session: Session, head: Head, ids: Sequence[int] | None = None) -> list[int]:
    """Ids of items (only of `ids`, if given) with vectors in the log, but neither a row nor a deletion entry."""
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
    return list(session.scalars(query if ids is None else query.where(LogRow.item_id.in_(ids))))


def faulty_vectors(session: Session, head: Head, space: SpaceHead) -> Iterator[tuple[str, str]]:
    """The key of each item without a usable vector in the space, and the fault."""
    for key in session.scalars(_select_without_vector(head.id, space.id)):
        yield key, NO_VECTOR
    for page in log.latest_vectors(session, head.id, space.id):
        faults = dict.fromkeys(page.damaged, DAMAGED)
        for item_id, fingerprint, data in page.by_id():
            if fingerprint != space.fingerprint:
                faults[item_id] = "has a vector made by other weights"
            elif len(data) != 4 * space.dimension:
                faults[item_id] = f"has a vector of {len(data)} bytes instead of {4 * space.dimension}"
        for row in rows_in(session, select(ItemRow.key, ItemRow.id), ItemRow.id, list(faults)):
            yield row.key, faults[row.id]


def lacks_vector(session: Session, head: Head, space: SpaceHead, key: str) -> bool:
    """True if the item `key` exists and has no vector in the space."""
    return session.scalar(_select_without_vector(head.id, space.id).where(ItemRow.key == key)) is not None


def stale_keys(session: Session, head: Head, table: DerivedTable) -> Iterator[str]:
    """Keys of sound items whose facets or words are stale."""
    for page in item_rows.iter_pages(session, item_rows.in_collection(head.id)):
        sound = [item for item in page if not item.damaged]  # the key of a damaged one may not be a text
        yield from (item.key for item in table.stale(session, head.id, sound))


def damaged_items(session: Session, head: Head) -> Iterator[Item]:
    """The items that do not match their checksums."""
    for page in item_rows.iter_pages(session, item_rows.in_collection(head.id)):
        yield from (item for item in page if item.damaged)


def damaged_entries(session: Session, head: Head) -> list[int]:
    """The numbers of log entries that do not match their checksums, except those that `faulty_vectors` reports."""
    damaged = log.damaged_entries(session, head.id)
    for space in (*head.spaces, *head.beside) if damaged else ():
        for page in log.latest_vectors(session, head.id, space.id):
            damaged.difference_update(page.seqs)
    return sorted(damaged)


def damaged_vectors(session: Session, head: Head, space: SpaceHead, ids: Sequence[int] | None = None) -> list[int]:
    """The items (only of `ids`, if given) whose newest vector in the space does not match its checksum."""
    pages = log.latest_vectors(session, head.id, space.id, ids)
    return [item_id for page in pages for item_id in sorted(page.damaged)]


def count_without_checksum(session: Session, head: Head) -> int:
    """The number of the collection's rows without a checksum, written by an older version."""
    count = 0
    for table in (ItemRow, LogRow, SpaceRow):
        query = select(func.count()).select_from(table).where(table.collection_id == head.id, table.checksum.is_(None))
        count += session.scalar(query) or 0
    return count


def repair(session: Session, head: Head, lost_keys: Sequence[str]) -> None:
    """Repair log, facets and words: close gaps, drop rows of deleted items, and make every reader reopen its index.

    Rows without checksums get them; mismatching checksums stay. The items `lost_keys` lose their content hash, so that
    the next run over their source embeds them again.
    """
    rebuild_indexes(session)
    remove_orphans(session)
    last = session.scalar(select(CollectionRow.last_seq).where(CollectionRow.id == head.id).with_for_update()) or 0
    highest = session.scalar(select(func.max(LogRow.seq)).where(LogRow.collection_id == head.id)) or 0
    end = max(last, highest, head.compacted_seq) + 1  # above every reader's cursor
    session.execute(update(CollectionRow).where(CollectionRow.id == head.id).values(last_seq=end))
    log.compact(session, head.id, end, whole=True)
    for table in (FACETS, WORDS):
        table.rebuild_index(session)  # first, because writes fail on a damaged index
        table.rebuild(session, head.id)
    for module in (collections, log, item_rows):
        module.fill_checksums(session, head.id)
    item_rows.clear_content_hash(session, head.id, lost_keys)


def _foreign_keys() -> list[ForeignKey]:
    """The foreign keys of all tables; a table comes after those that it refers to."""
    return [key for table in Table.metadata.sorted_tables for key in sorted(table.foreign_keys, key=str)]


def _is_dangling(key: ForeignKey) -> ColumnElement[bool]:
    column: ColumnElement[Any] = key.parent
    return and_(column.is_not(None), column.not_in(select(key.column)))


def _select_without_vector(collection_id: int, space_id: int) -> Any:
    """Select the keys of items without an upsert in the space."""
    with_vector = select(LogRow.item_id).where(
        LogRow.collection_id == collection_id, LogRow.space_id == space_id, LogRow.kind == log.UPSERT
    )
    return select(ItemRow.key).where(ItemRow.collection_id == collection_id, ItemRow.id.not_in(with_vector))


_MAX_FAULTS = 20


def database_faults(session: Session) -> Iterator[str]:
    """A message for each fault that SQLite's integrity check reports; PostgreSQL's pages have checksums."""
    if session.get_bind().dialect.name == "sqlite":
        messages = session.scalars(text(f"PRAGMA integrity_check({_MAX_FAULTS})")).all()
        yield from (f"the database is damaged: {message}" for message in messages if message != "ok")


def rebuild_indexes(session: Session) -> None:
    """Rebuild the indexes of a SQLite database if they disagree with its tables."""
    if any(database_faults(session)):
        session.execute(text("REINDEX"))
