"""The live space of an external backend: a store that all processes share and that follows the catalogue.

An applier reads the log's tail and copies the current vector and attributes of each item in it from the catalogue to
the store, which may be repeated at any time. Its cursor and its lease are in the catalogue
(`anyseek.search.catalogue.leases`). A space on a new centre is a new store, filled beside the one that serves.
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
from anyseek.search.spaces.base import Neighbours, Resolved, Stored, View, centre
from anyseek.search.types import IdArray, Item

# The most items copied to a store at once.
PAGE = 256
# A query waits this long for another process to apply new entries, then uses what is there.
PATIENCE_SECONDS = 2.0
LOOK_EVERY_SECONDS = 0.05


class IndexBehind(IndexUnavailable):
    """A shared store is being filled for the first time by another process."""

    code = "index-behind"


class SharedStore(Protocol):
    """The vectors and filterable attributes of one space on one centre, in a database that processes share.

    When a call returns, its effect is visible to everybody. Each call raises an `IndexUnavailable` while the database
    does not answer, and takes no longer than the applier's lease (`leases.LEASE`). Safe for many threads.
    """

    def make(self) -> None:
        """Create what the store needs, if absent; safe for many processes at once. Call it before anything else."""
        ...

    def upsert(self, ids: IdArray, vectors: FloatArray, items: Sequence[Item]) -> None:
        """Insert or replace: `ids` (n,) positive and distinct, `vectors` float32 (n, d), and the item of each."""
        ...

    def delete(self, ids: IdArray) -> None:
        """Forget `ids`; unknown ones are ignored."""
        ...

    def clear(self) -> None:
        """Remove everything; harmless if there is nothing."""
        ...

    def ids(self) -> Iterator[IdArray]:
        """All ids in the store, in pages."""
        ...

    def search(self, vectors: FloatArray, k: int, where: Filter | None = None) -> Neighbours:
        """The `k` nearest of each unit row of `vectors` (q, d), of the items for which a filter holds."""
        ...

    def count(self) -> int: ...

    def vectors(self, ids: IdArray) -> tuple[IdArray, FloatArray]:
        """The `ids` that are held, ascending, and their vectors (n, d)."""
        ...


class SharedSpace:
    """One space of a collection in shared stores: `store_of(version)` is the one for a version of its centre.

    Safe for many threads.
    """

    def __init__(
        self, database: Database, collection_id: int, space: SpaceHead, store_of: Callable[[int], SharedStore]
    ) -> None:
        self._database = database
        self._collection_id = collection_id
        self._space = space
        self._store_of = store_of
        self._serving: Cursor | None = None
        self._lacking: set[int] = set()  # items that this process left out because they are damaged

    @property
    def cursor(self) -> int:
        """The number up to which the store certainly has the log."""
        return self._opened().seq

    def refresh(self, head: Head) -> None:
        """Return once the store holds everything that the log had when `head` was read, by this process or another.

        Where another process applies it and takes long, what is there is used. Raises `IndexBehind` if that is nothing,
        `CollectionNotFound` if the collection has been deleted in the meantime.
        """
        until = time.monotonic() + PATIENCE_SECONDS
        while not self._is_current(head):
            serving = self._serving
            version = head.centre_version(self._space.id) if serving is None else serving.centre_version
            if not self._drive(version) and time.monotonic() > until:
                break
            time.sleep(0 if self._is_current(head) else LOOK_EVERY_SECONDS)
        self._opened()

    def resolve(self, session: Session, head: Head, filters: Iterable[Filter]) -> Resolved:
        """Return the filters unchanged; the store evaluates them."""
        return {}

    @contextmanager
    def reading(self, resolved: Resolved = MappingProxyType({})) -> Iterator[View]:
        """The serving store."""
        serving = self._opened()
        store = self._store_of(serving.centre_version)
        yield View(serving.centre, len(self._lacking), store.search, store.count, store.vectors)

    def keep(self, head: Head, minimum_tail: int) -> int:
        """Update the store on the space's current centre, and remove stores on older centres."""
        self._look()
        if self._serving is not None:
            with self._database.read() as session:
                held = leases.cursors_of(session, self._space.id)
            for cursor in held:
                if cursor.centre_version < self._serving.centre_version:
                    self._store_of(cursor.centre_version).clear()
                    with self._database.write() as session:
                        leases.delete_cursor(session, self._space.id, cursor.centre_version)
        version = head.centre_version(self._space.id)
        if self._serving is None or self._serving.centre_version != version:
            self._drive(version)
        self.refresh(head)
        return self.cursor

    def adopt(self) -> None:
        """Do nothing: the next refresh finds what another process has built."""

    def stored(self) -> Stored:
        """The state of the store that serves."""
        self._look()
        return Stored(0 if self._serving is None else self._serving.seq)

    def faults(self) -> Iterator[str]:
        """No faults: nothing is stored besides what `View.vectors` shows."""
        return iter(())

    def clear(self) -> None:
        """Do nothing: the caller has compacted the log beyond every cursor, so everything is copied again."""

    def _is_current(self, head: Head) -> bool:
        self._look()
        return self._serving is not None and self._serving.seq >= max(head.last_seq, head.compacted_seq)

    def _look(self) -> None:
        with self._database.read() as session:
            held = [cursor for cursor in leases.cursors_of(session, self._space.id) if cursor.ready]
        self._serving = held[-1] if held else None

    def _opened(self) -> Cursor:
        if self._serving is None:
            raise IndexBehind(
                f"the index of space {self._space.name!r} is being filled by another process; try again later"
            )
        return self._serving

    def _drive(self, version: int) -> bool:
        """Apply new log entries; False if another process does."""
        with self._database.write() as session:
            collections.head_by_id(session, self._collection_id)
            leases.begin_cursor(session, self._space.id, version)
            lease = leases.take_cursor(session, self._space.id, version)
        if lease is None:
            return False
        try:
            self._store_of(version).make()
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
                at = self._at(session, lease)
                page = log.entries_after(session, self._collection_id, at.seq, PAGE, self._space.id)
            if not at.ready or at.seq < head.compacted_seq:
                self._fill(lease, at, head)
            elif not page:
                self._advance(lease, at, head.last_seq)
                return
            else:
                self._bring(at, sorted({entry.item_id for entry in page}))
                self._advance(lease, at, page[-1].seq)

    def _fill(self, lease: CursorLease, at: Cursor, head: Head) -> None:
        """Copy every item to the store, then remove ids that belong to no item."""
        after = 0
        while True:
            with self._database.read() as session:
                ids = items.ids_after(session, self._collection_id, after, PAGE)
            if not ids:
                break
            self._bring(at, ids)
            self._advance(lease, at, at.seq, ready=at.ready)
            after = ids[-1]
        for held in self._store_of(at.centre_version).ids():
            self._bring(at, held.tolist(), removing_only=True)
        self._advance(lease, at, head.last_seq)

    def _bring(self, at: Cursor, ids: Sequence[int], removing_only: bool = False) -> None:
        """Update items in the store to their current state in the catalogue."""
        with self._database.read() as session:
            held = items.by_ids(session, ids)
            pages = list(log.latest_vectors(session, self._collection_id, self._space.id, list(held)))
        store = self._store_of(at.centre_version)
        known: set[int] = set()
        for page in pages:
            some, vectors = page.of(self._space.fingerprint, self._space.dimension)
            known.update(some.tolist())
            self._lacking = (self._lacking - known) | page.damaged
            if len(some) and not removing_only:
                centred = centre(vectors, at.centre, self._space.blocks)
                store.upsert(some, centred, [held[item_id] for item_id in some.tolist()])
        gone = [item_id for item_id in ids if item_id not in known]
        if gone:
            store.delete(np.array(gone, np.int64))

    def _advance(self, lease: CursorLease, at: Cursor, seq: int, ready: bool = True) -> None:
        try:
            with self._database.write() as session:
                leases.advance_cursor(session, lease, at.seq, seq, ready)
        except LeaseLost:
            with self._database.write() as session:
                leases.set_cursor_back(session, lease, at.seq)
            raise

    def _at(self, session: Session, lease: CursorLease) -> Cursor:
        for cursor in leases.cursors_of(session, self._space.id):
            if cursor.centre_version == lease.centre_version:
                return cursor
        raise LeaseLost("the space is no longer in the index on this centre")
