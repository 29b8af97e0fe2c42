"""The live space of an external backend: a store that all processes share and that follows the catalogue.

An applier reads the log's tail and copies the current vector and attributes of each item in it from the catalogue to
the store, which is idempotent. Its cursor and its lease are in the catalogue (`anyseek.search.catalogue.leases`). A
space on a new centre is a new store, filled while the old one serves.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Protocol

import numpy as np
from sqlalchemy.orm import Session

from anyseek.model.seam import FloatArray
from anyseek.search.catalogue import collections, items, leases, log
from anyseek.search.catalogue.collections import Head, SpaceHead
from anyseek.search.catalogue.leases import Cursor, CursorLease
from anyseek.search.catalogue.session import Database
from anyseek.search.errors import IndexUnavailable, LeaseLost
from anyseek.search.filters.tree import Filter
from anyseek.search.spaces.base import Neighbours, ResolvedFilters, StoredState, View, centre
from anyseek.search.types import IdArray, Item

# The most items copied to a store at once.
PAGE = 256
# A query waits this long for another process to apply new entries, then uses what is there.
PATIENCE_SECONDS = 2.0
POLL_SECONDS = 0.05


class IndexBehind(IndexUnavailable):
    """A shared store is being filled for the first time by another process."""

    code = "index-behind"


class IndexUnreachable(IndexUnavailable):
    """The database of a shared store does not answer, or refuses access."""

    code = "index-unreachable"


class SharedStore(Protocol):
    """The vectors and filterable attributes of one space on one centre, in a database that processes share.

    When a call returns, its effect is visible to everybody. Each call raises an `IndexUnavailable` while the database
    does not answer, and takes no longer than the applier's lease (`leases.LEASE`). Safe for many threads.
    """

    def create(self) -> None:
        """Create what the store needs, if absent; safe for many processes at once. Call it before anything else."""
        ...

    def upsert(self, ids: IdArray, vectors: FloatArray, items: Sequence[Item]) -> None:
        """Insert or replace: `ids` (n,) positive and distinct, `vectors` float32 (n, d), and the item of each."""
        ...

    def delete(self, ids: IdArray) -> None:
        """Delete `ids`; unknown ones are ignored."""
        ...

    def clear(self) -> None:
        """Remove everything; harmless if there is nothing."""
        ...

    def ids(self) -> Iterator[IdArray]:
        """All ids in the store, in pages."""
        ...

    def search(self, vectors: FloatArray, k: int, where: Filter | None = None) -> Neighbours:
        """The `k` nearest of each unit row of `vectors` (q, d), among the items that pass a filter."""
        ...

    def count(self) -> int: ...

    def vectors(self, ids: IdArray) -> tuple[IdArray, FloatArray]:
        """Those of `ids` that are in the store, ascending, and their vectors (n, d)."""
        ...


class SharedSpace:
    """One space of a collection in shared stores: `store_of(version)` is the store for a version of its centre.

    Safe for many threads.
    """

    def __init__(
        self, database: Database, collection_id: int, space: SpaceHead, store_of: Callable[[int], SharedStore]
    ) -> None:
        self._database = database
        self._collection_id = collection_id
        self._space = space
        self._store_of = store_of
        self._serving_cursor: Cursor | None = None
        self._missing_ids: set[int] = set()  # items that this process left out because they are damaged

    @property
    def cursor(self) -> int:
        """The last log entry that the store certainly contains."""
        return self._require_cursor().seq

    def refresh(self, head: Head) -> None:
        """Return once the store holds everything that the log had when `head` was read, by this process or another.

        If another process applies it and takes long, the store is used as it is. Raises `IndexBehind` if it was never
        filled, `CollectionNotFound` if the collection has been deleted in the meantime.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._is_current(head):
            cursor = self._serving_cursor
            version = head.centre_version(self._space.id) if cursor is None else cursor.centre_version
            if not self._try_apply(version) and time.monotonic() > deadline:
                break
            time.sleep(0 if self._is_current(head) else POLL_SECONDS)
        self._require_cursor()

    def resolve(self, session: Session, head: Head, filters: Iterable[Filter]) -> ResolvedFilters:
        """Return the filters unchanged; the store evaluates them."""
        return {}

    @contextmanager
    def open_view(self, resolved: ResolvedFilters = MappingProxyType({})) -> Iterator[View]:
        """A view of the serving store."""
        cursor = self._require_cursor()
        store = self._store_of(cursor.centre_version)
        yield View(cursor.centre, len(self._missing_ids), store.search, store.count, store.vectors)

    def maintain(self, head: Head, minimum_tail: int) -> int:
        """Update the store on the space's current centre, and remove stores on older centres."""
        self._reload_cursor()
        if self._serving_cursor is not None:
            with self._database.read() as session:
                cursors = leases.cursors_of(session, self._space.id)
            for cursor in cursors:
                if cursor.centre_version < self._serving_cursor.centre_version:
                    self._store_of(cursor.centre_version).clear()
                    with self._database.write() as session:
                        leases.delete_cursor(session, self._space.id, cursor.centre_version)
        version = head.centre_version(self._space.id)
        if self._serving_cursor is None or self._serving_cursor.centre_version != version:
            self._try_apply(version)
        self.refresh(head)
        return self.cursor

    def adopt(self) -> None:
        """Do nothing: the next refresh finds what another process has built."""

    def stored_state(self) -> StoredState:
        """The state of the store that serves."""
        self._reload_cursor()
        return StoredState(0 if self._serving_cursor is None else self._serving_cursor.seq)

    def faults(self) -> Iterator[str]:
        """No faults: `View.vectors` shows everything that is stored."""
        return iter(())

    def clear(self) -> None:
        """Do nothing: the caller has compacted the log beyond every cursor, so everything is copied again."""

    def _is_current(self, head: Head) -> bool:
        self._reload_cursor()
        return self._serving_cursor is not None and self._serving_cursor.seq >= max(head.last_seq, head.compacted_seq)

    def _reload_cursor(self) -> None:
        with self._database.read() as session:
            ready = [cursor for cursor in leases.cursors_of(session, self._space.id) if cursor.ready]
        self._serving_cursor = ready[-1] if ready else None

    def _require_cursor(self) -> Cursor:
        if self._serving_cursor is None:
            raise IndexBehind(
                f"the index of space {self._space.name!r} is being filled by another process; try again later"
            )
        return self._serving_cursor

    def _try_apply(self, version: int) -> bool:
        """Apply new log entries, unless another process has the lease; then return False."""
        with self._database.write() as session:
            collections.head_by_id(session, self._collection_id)
            leases.create_cursor(session, self._space.id, version)
            lease = leases.lease_cursor(session, self._space.id, version)
        if lease is None:
            return False
        try:
            self._store_of(version).create()
            self._apply(lease)
        finally:
            with self._database.write() as session:
                leases.release_cursor(session, lease)
        return True

    def _apply(self, lease: CursorLease) -> None:
        """Apply the log after the cursor, or copy everything if the log there is gone."""
        while True:
            with self._database.read() as session:
                head = collections.head_by_id(session, self._collection_id)
                cursor = self._cursor_of(session, lease)
                page = log.entries_after(session, self._collection_id, cursor.seq, PAGE, self._space.id)
            if not cursor.ready or cursor.seq < head.compacted_seq:
                self._copy_all_items(lease, cursor, head)
            elif not page:
                self._advance(lease, cursor, head.last_seq)
                return
            else:
                self._sync_items(cursor, sorted({entry.item_id for entry in page}))
                self._advance(lease, cursor, page[-1].seq)

    def _copy_all_items(self, lease: CursorLease, cursor: Cursor, head: Head) -> None:
        """Copy every item to the store, then remove ids that belong to no item."""
        after = 0
        while True:
            with self._database.read() as session:
                ids = items.ids_after(session, self._collection_id, after, PAGE)
            if not ids:
                break
            self._sync_items(cursor, ids)
            self._advance(lease, cursor, cursor.seq, ready=cursor.ready)
            after = ids[-1]
        for page in self._store_of(cursor.centre_version).ids():
            self._sync_items(cursor, page.tolist(), removing_only=True)
        self._advance(lease, cursor, head.last_seq)

    def _sync_items(self, cursor: Cursor, ids: Sequence[int], removing_only: bool = False) -> None:
        """Update or delete items in the store, so that they match the catalogue."""
        with self._database.read() as session:
            items_by_id = items.by_ids(session, ids)
            pages = list(log.latest_vectors(session, self._collection_id, self._space.id, list(items_by_id)))
        store = self._store_of(cursor.centre_version)
        synced_ids: set[int] = set()
        for page in pages:
            page_ids, vectors = page.of(self._space.fingerprint, self._space.dimension)
            synced_ids.update(page_ids.tolist())
            self._missing_ids = (self._missing_ids - synced_ids) | page.damaged
            if len(page_ids) and not removing_only:
                centred = centre(vectors, cursor.centre, self._space.blocks)
                store.upsert(page_ids, centred, [items_by_id[item_id] for item_id in page_ids.tolist()])
        deleted_ids = [item_id for item_id in ids if item_id not in synced_ids]
        if deleted_ids:
            store.delete(np.array(deleted_ids, np.int64))

    def _advance(self, lease: CursorLease, cursor: Cursor, seq: int, ready: bool = True) -> None:
        try:
            with self._database.write() as session:
                leases.advance_cursor(session, lease, cursor.seq, seq, ready)
        except LeaseLost:
            with self._database.write() as session:
                leases.rewind_cursor(session, lease, cursor.seq)
            raise

    def _cursor_of(self, session: Session, lease: CursorLease) -> Cursor:
        for cursor in leases.cursors_of(session, self._space.id):
            if cursor.centre_version == lease.centre_version:
                return cursor
        raise LeaseLost("the space is no longer in the index on this centre")
