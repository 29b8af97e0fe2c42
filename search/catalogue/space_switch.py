"""Spaces of another model in a collection, and the switch between them and the serving ones.

(none) ──> building ──switch──> serving ──switch──> kept ──> (forgotten)
              └─ discard: dropped               kept <── discard ── returning ──switch──> serving

At most one model's spaces are building or returning, and at most one model's are kept. Every function that writes
holds the collection's row lock until the commit, so a switch is atomic for readers.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, select, update
from sqlalchemy import delete as delete_rows
from sqlalchemy.orm import Session

from anyseek.model.seam import EmbeddingSpace
from anyseek.search.catalogue import audit, collections, log
from anyseek.search.catalogue.collections import SpaceHead, SpaceState
from anyseek.search.catalogue.item_rows import in_collection
from anyseek.search.catalogue.tables import CollectionRow, ItemRow, LogRow, SpaceRow
from anyseek.search.errors import Conflict, FingerprintMismatch
from anyseek.search.types import Collection

GROWING = (SpaceState.BUILDING, SpaceState.RETURNING)


class OldVectorsKept(Conflict):
    code = "old-vectors-kept"


class NothingKept(Conflict):
    code = "nothing-kept"


class NothingBuilt(Conflict):
    code = "nothing-built"


@dataclass(frozen=True)
class Target:
    """The spaces of one model that are being filled, to serve later."""

    collection_id: int
    model: str
    state: SpaceState
    spaces: Mapping[str, SpaceHead]

    @property
    def fingerprints(self) -> dict[str, str]:
        return {name: space.fingerprint for name, space in self.spaces.items()}


@dataclass(frozen=True)
class IncompleteItem:
    """An item without a vector of its current revision in some space of the target."""

    item_id: int
    key: str
    revision: int


def target(session: Session, collection_id: int) -> Target | None:
    """The spaces of the collection that are building or returning; None if there are none."""
    rows = session.scalars(
        select(SpaceRow)
        .where(SpaceRow.collection_id == collection_id, SpaceRow.state.in_(GROWING))
        .order_by(SpaceRow.id)
        .execution_options(populate_existing=True)
    ).all()
    if not rows:
        return None
    spaces = {row.name: collections.space_head(row) for row in rows}
    return Target(collection_id, rows[0].model, SpaceState(rows[0].state), spaces)


def build(session: Session, collection: Collection, model: str, spaces: Iterable[EmbeddingSpace]) -> None:
    """Add a model's spaces in state building; partly built ones of the same model are continued.

    Partly built spaces of another model are dropped. Raises `OldVectorsKept`.
    """
    collections.lock(session, collection)
    by_name = {space.name: space for space in spaces}
    current = target(session, collection.id)
    if current is not None and current.state == SpaceState.BUILDING:
        if current.fingerprints == {name: space.fingerprint for name, space in by_name.items()}:
            return
        _drop(session, collection.id, SpaceState.BUILDING)
    for state in (SpaceState.KEPT, SpaceState.RETURNING):
        if _has(session, collection.id, state):
            raise OldVectorsKept(
                f"the collection {collection.name!r} keeps the vectors of {collection.beside[state]}; go back to them "
                f"(anyseek collections rollback {collection.name}) or drop them (anyseek collections forget-old "
                f"{collection.name}) first"
            )
    collections.add_spaces(session, collection.id, model, by_name.values(), SpaceState.BUILDING)


def start_return(session: Session, collection: Collection) -> None:
    """Start to complete kept spaces, so that they can serve again. Raises `NothingKept`."""
    collections.lock(session, collection)
    if _has(session, collection.id, SpaceState.RETURNING):
        return
    if not _has(session, collection.id, SpaceState.KEPT):
        raise NothingKept(f"the collection {collection.name!r} keeps no older vectors to go back to")
    _drop(session, collection.id, SpaceState.BUILDING)
    _move(session, collection.id, SpaceState.KEPT, SpaceState.RETURNING)


def discard(session: Session, collection_id: int) -> None:
    """Drop building spaces, and set returning ones back to kept. Idempotent."""
    log.lock(session, collection_id)
    _drop(session, collection_id, SpaceState.BUILDING)
    _move(session, collection_id, SpaceState.RETURNING, SpaceState.KEPT)


def forget(session: Session, collection: Collection) -> None:
    """Drop kept and returning spaces with their vectors. Raises `NothingKept`."""
    collections.lock(session, collection)
    if not _drop(session, collection.id, SpaceState.KEPT, SpaceState.RETURNING):
        raise NothingKept(f"the collection {collection.name!r} keeps no older vectors")
    audit.record(session, "collection.forget-old", collection.name)


def switch(session: Session, reached: Target) -> None:
    """Make the target's spaces serving and the serving ones kept. Raises `FingerprintMismatch`."""
    check_target(session, reached)
    _move(session, reached.collection_id, SpaceState.SERVING, SpaceState.KEPT)
    _move(session, reached.collection_id, reached.state, SpaceState.SERVING)
    in_collection = CollectionRow.id == reached.collection_id
    session.execute(update(CollectionRow).where(in_collection).values(model=reached.model))


def check_target(session: Session, expected: Target) -> None:
    """Take the collection's lock. Raises `FingerprintMismatch` if the target has been discarded or replaced."""
    log.lock(session, expected.collection_id)
    current = target(session, expected.collection_id)
    ids = None if current is None else {space.id for space in current.spaces.values()}
    if ids != {space.id for space in expected.spaces.values()}:
        raise FingerprintMismatch("these vectors were made for a re-embedding that has ended; they are dropped")


def incomplete_items(session: Session, of: Target, after_id: int, limit: int, since: int = 0) -> list[IncompleteItem]:
    """The next `limit` items, by id, that lack a vector of their current revision in a space of the target.

    With `since` only items with log entries above it.
    """
    complete = and_(*(_has_vector(space) for space in of.spaces.values()))
    where = [in_collection(of.collection_id), ItemRow.id > after_id, ~complete]
    if since and since >= collections.head_by_id(session, of.collection_id).compacted_seq:  # else some may be missing
        changed = select(LogRow.item_id).where(LogRow.collection_id == of.collection_id, LogRow.seq > since)
        where.append(ItemRow.id.in_(changed))
    query = select(ItemRow.id, ItemRow.key, ItemRow.revision).where(*where).order_by(ItemRow.id).limit(limit)
    return [IncompleteItem(*row) for row in session.execute(query)]


def _has_vector(space: SpaceHead) -> ColumnElement[bool]:
    """True if an item's newest content has a vector in the space. A changed attribute counts as new content."""
    of_item = (LogRow.collection_id == ItemRow.collection_id, LogRow.item_id == ItemRow.id)
    made = (LogRow.space_id == space.id, LogRow.kind == log.UPSERT, LogRow.revision >= ItemRow.revision)
    return select(LogRow.seq).where(*of_item, *made).exists()


def _has(session: Session, collection_id: int, state: SpaceState) -> bool:
    where = (SpaceRow.collection_id == collection_id, SpaceRow.state == state)
    return session.scalar(select(SpaceRow.id).where(*where).limit(1)) is not None


def _move(session: Session, collection_id: int, before: SpaceState, after: SpaceState) -> None:
    where = (SpaceRow.collection_id == collection_id, SpaceRow.state == before)
    session.execute(update(SpaceRow).where(*where).values(state=after))


def _drop(session: Session, collection_id: int, *states: SpaceState) -> Sequence[int]:
    """Remove spaces with their vectors and return their ids.

    The log must have no gaps above its compacted part, so the next compaction removes the vectors there.
    """
    of_states = (SpaceRow.collection_id == collection_id, SpaceRow.state.in_(states))
    ids = session.scalars(select(SpaceRow.id).where(*of_states)).all()
    if ids:
        compacted = select(CollectionRow.compacted_seq).where(CollectionRow.id == collection_id).scalar_subquery()
        dropped = (LogRow.collection_id == collection_id, LogRow.space_id.in_(ids), LogRow.seq <= compacted)
        session.execute(delete_rows(LogRow).where(*dropped))
        session.execute(delete_rows(SpaceRow).where(SpaceRow.id.in_(ids)))
    return ids
