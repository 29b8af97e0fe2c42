"""The `LiveSpace` of Qdrant: one Qdrant collection for each space of a model, in which a collection is a tenant.

What is in Qdrant follows the catalogue: an applier reads the log's tail and brings each item that it names to what the
catalogue says of it now, vector and attributes, which may be done again at any time. Its cursor and its lease are in
the catalogue (`search.catalogue.cursors`).

A collection on a new centre is a new tenant, filled beside the one that serves.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import MappingProxyType

import numpy as np
from qdrant_client import QdrantClient
from sqlalchemy.orm import Session

from search.catalogue import collections, cursors, items, log
from search.catalogue.collections import Head, SpaceHead
from search.catalogue.cursors import Cursor, Lease
from search.catalogue.session import Database
from search.errors import IndexUnavailable, LeaseLost
from search.filters.to_qdrant import payload_of
from search.filters.tree import Filter
from search.fusion import centre
from search.index.qdrant import PAGE, QdrantIndex, Tenant, calling, make_collection, remove_tenant
from search.live_space import Resolved, View

logger = logging.getLogger(__name__)

PREFIX = "anyseek-"
# A query waits so long for another process to apply what is new, then takes what is there.
PATIENCE_SECONDS = 2.0
LOOK_EVERY_SECONDS = 0.05
# Ids of one tenant in so many of a space's versions are told apart by bits above those of the catalogue's.
VERSIONS, ID_BITS = 4, 60


class IndexBehind(IndexUnavailable):
    """Qdrant is being filled for the first time by another process."""

    code = "index-behind"


class QdrantSpace:
    """One space of a collection in Qdrant. Safe for many threads."""

    def __init__(self, database: Database, client: QdrantClient, collection_id: int, space: SpaceHead) -> None:
        self._database = database
        self._client = client
        self._collection_id = collection_id
        self._space = space
        self._serving: Cursor | None = None

    @property
    def cursor(self) -> int:
        """The number up to which the log is certainly in Qdrant."""
        return self._opened().seq

    def refresh(self, head: Head) -> None:
        """Return once Qdrant holds everything that the log had when `head` was read, by this process or another.

        Where another process applies it and takes long, what is there is used. Raises `IndexBehind` if that is nothing,
        `CollectionNotFound` if the collection was deleted meanwhile.
        """
        until = time.monotonic() + PATIENCE_SECONDS
        while not self._is_current(head):
            serving = self._serving
            version = head.centre_version(self._space.id) if serving is None else serving.centre_version
            if not self._drive(version) and time.monotonic() > until:
                break
            time.sleep(0 if self._is_current(head) else LOOK_EVERY_SECONDS)
        self._opened()

    def resolve(self, session: Session, head: Head, filters: Iterable[Filter | None]) -> Resolved:
        """Filters are left to Qdrant as they are."""
        return {where: where for where in filters if where is not None}

    @contextmanager
    def reading(self, resolved: Resolved = MappingProxyType({})) -> Iterator[View]:
        """What serves now; Qdrant sees to it that a search sees each point whole."""
        serving = self._opened()
        yield View(self._index(serving.centre_version), serving.centre, resolved)

    def keep(self, head: Head, minimum_tail: int) -> int:
        """Bring Qdrant up to date, on the space's present centre; what served on older ones before is removed."""
        self._look()
        if self._serving is not None:
            self._drop_before(self._serving.centre_version)
        version = head.centre_version(self._space.id)
        if self._serving is None or self._serving.centre_version != version:
            self._drive(version)
        self.refresh(head)
        return self.cursor

    def adopt(self) -> None:
        """What another process has built is found at the next refresh."""

    def _is_current(self, head: Head) -> bool:
        self._look()
        return self._serving is not None and self._serving.seq >= max(head.last_seq, head.compacted_seq)

    def _look(self) -> None:
        with self._database.read() as session:
            held = [cursor for cursor in cursors.all_of(session, self._space.id) if cursor.ready]
        self._serving = held[-1] if held else None

    def _opened(self) -> Cursor:
        if self._serving is None:
            raise IndexBehind(
                f"the index of space {self._space.name!r} is being filled by another process; try again in a while"
            )
        return self._serving

    def _drive(self, version: int) -> bool:
        """Apply what is new in the log; False if another process does."""
        with self._database.write() as session:
            collections.head_by_id(session, self._collection_id)
            cursors.begin(session, self._space.id, version)
            lease = cursors.take(session, self._space.id, version)
        if lease is None:
            return False
        try:
            with calling():
                make_collection(self._client, name_of(self._space), self._space.dimension)
            self._apply(lease)
        finally:
            with self._database.write() as session:
                cursors.give_up(session, lease)
        return True

    def _apply(self, lease: Lease) -> None:
        """From the cursor to the end of the log, or everything where the cursor's part of the log is gone."""
        while True:
            with self._database.read() as session:
                head = collections.head_by_id(session, self._collection_id)
                at = self._at(session, lease)
                page = log.entries_after(session, self._collection_id, at.seq, PAGE, self._space.id)
            if not at.ready or at.seq < head.compacted_seq:
                self._fill(lease, at, head)
            elif not page:
                self._advance(lease, at, head.last_seq)
                return
            else:
                self._bring(lease, at, sorted({entry.item_id for entry in page}))
                self._advance(lease, at, page[-1].seq)

    def _fill(self, lease: Lease, at: Cursor, head: Head) -> None:
        """Bring every item, then remove what is of none."""
        after = 0
        while ids := self._ids_after(after):
            self._bring(lease, at, ids)
            self._advance(lease, at, at.seq, ready=at.ready)
            after = ids[-1]
        for ids_there, _ in self._index(at.centre_version).pages(with_vectors=False):
            self._bring(lease, at, ids_there.tolist(), removing_only=True)
        self._advance(lease, at, head.last_seq)

    def _ids_after(self, item_id: int) -> Sequence[int]:
        with self._database.read() as session:
            return items.ids_after(session, self._collection_id, item_id, PAGE)

    def _bring(self, lease: Lease, at: Cursor, ids: Sequence[int], removing_only: bool = False) -> None:
        """Make Qdrant say of items what the catalogue says of them now."""
        with self._database.read() as session:
            held = items.by_ids(session, ids)
            pages = list(log.latest_vectors(session, self._collection_id, self._space.id, list(held)))
        index = self._index(at.centre_version)
        known: set[int] = set()
        for page in pages:
            some, vectors = page.of(self._space.fingerprint, self._space.dimension)
            known.update(some.tolist())
            if len(some) and not removing_only:
                payloads = [payload_of(held[item_id]) for item_id in some.tolist()]
                index.upsert(some, centre(vectors, at.centre), payloads)
        gone = [item_id for item_id in ids if item_id not in known]
        if gone:
            index.delete(np.array(gone, np.int64))

    def _advance(self, lease: Lease, at: Cursor, seq: int, ready: bool = True) -> None:
        try:
            with self._database.write() as session:
                cursors.advance(session, lease, at.seq, seq, ready)
        except LeaseLost:
            with self._database.write() as session:
                cursors.set_back(session, lease, at.seq)
            raise

    def _at(self, session: Session, lease: Lease) -> Cursor:
        for cursor in cursors.all_of(session, self._space.id):
            if cursor.centre_version == lease.centre_version:
                return cursor
        raise LeaseLost("the space is no longer in Qdrant on this centre")

    def _drop_before(self, version: int) -> None:
        with self._database.read() as session:
            older = [one for one in cursors.all_of(session, self._space.id) if one.centre_version < version]
        for cursor in older:
            self._index(cursor.centre_version).clear()
            with self._database.write() as session:
                cursors.drop(session, self._space.id, cursor.centre_version)

    def _index(self, version: int) -> QdrantIndex:
        tenant = _tenant(self._collection_id, self._space.id, version)
        return QdrantIndex(self._space.dimension, self._client, name_of(self._space), tenant)


def name_of(space: SpaceHead) -> str:
    """The Qdrant collection of a space: the same for all collections whose vectors the same weights have made."""
    return PREFIX + hashlib.sha256(f"{space.name}/{space.fingerprint}".encode()).hexdigest()[:24]


def forget_unknown(client: QdrantClient, known: Callable[[], set[int]]) -> None:
    """Remove the points of spaces whose ids are not among those `known`.

    That is asked after what is in Qdrant: a space is in the catalogue before its points are there.
    """
    with calling():
        names = [held.name for held in client.get_collections().collections if held.name.startswith(PREFIX)]
        tenants = [(name, str(hit.value)) for name in names for hit in client.facet(name, "tenant", limit=10_000).hits]
    known_now = known()
    for name, tenant in tenants:
        if _space_of(tenant) not in known_now:
            remove_tenant(client, name, Tenant(tenant))


def _tenant(collection_id: int, space_id: int, version: int) -> Tenant:
    return Tenant(f"{collection_id}-{space_id}-{version}", version % VERSIONS << ID_BITS)


def _space_of(tenant: str) -> int:
    return int(tenant.split("-")[1])
