"""The live space of the local backend: an index in this process, loaded from a snapshot and the tail of the log."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
from sqlalchemy.orm import Session

from anyseek.model.seam import FloatArray
from anyseek.search.catalogue import collections, log
from anyseek.search.catalogue.collections import Head, SpaceHead
from anyseek.search.catalogue.log import LogEntry
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.values import chunks
from anyseek.search.errors import StoreCorrupt
from anyseek.search.filters.tree import Filter
from anyseek.search.spaces.base import Neighbours, ResolvedFilters, StoredState, View, centre
from anyseek.search.spaces.local import snapshots
from anyseek.search.spaces.local.mirror import SnapshotMirror
from anyseek.search.spaces.local.snapshots import Renewal, VectorIndex


class ReadWriteLock:
    """A readers-writer lock that prefers writers. Not reentrant.

    Readers that come while a writer waits queue behind it, so that steady reading cannot starve it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers = 0
        self._writers_waiting = 0
        self._writing = False

    @contextmanager
    def read_lock(self) -> Iterator[None]:
        with self._changed:
            while self._writing or self._writers_waiting:
                self._changed.wait()
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                if self._writers_waiting:  # nobody else waits for a reader to leave
                    self._changed.notify_all()

    @contextmanager
    def write_lock(self) -> Iterator[None]:
        with self._changed:
            self._writers_waiting += 1
            try:
                self._changed.wait_for(lambda: not self._writing and not self._readers)
            except BaseException:
                self._writers_waiting -= 1
                self._changed.notify_all()  # the readers behind this writer need wait no longer
                raise
            self._writers_waiting -= 1
            self._writing = True
        try:
            yield
        finally:
            with self._changed:
                self._writing = False
                self._changed.notify_all()


logger = logging.getLogger(__name__)

IndexFactory = Callable[[int], VectorIndex]  # dimension -> empty index
FilterResolver = Callable[[Session, Head, Iterable[Filter]], ResolvedFilters]

# An index of more vectors keeps its centre until a renewal has built another.
MAX_REOPENED = 20_000
# Searches wait while this many changes are applied.
APPLY_BATCH = 128
# A snapshot is the whole index, so it is written only after one new log entry per this many vectors; a million vectors
# would otherwise write gigabytes a minute while items are put. The rest is read from the log.
SNAPSHOT_SHARE = 100


@dataclass
class _LiveIndex:
    """The index that is searched now. `cursor` is the last log entry in it.

    `missing_ids` are items that it lacks because their vectors in the log are damaged or lost.
    """

    index: VectorIndex
    centre: FloatArray
    centre_version: int
    cursor: int
    missing_ids: set[int] = field(default_factory=set)
    lock: ReadWriteLock = field(default_factory=ReadWriteLock)


class LocalSpace:
    """Opened at the first `refresh`. Safe for many threads: searches run side by side, changes wait for them."""

    def __init__(
        self,
        database: Database,
        folder: Path,
        collection_id: int,
        space: SpaceHead,
        make_index: IndexFactory,
        resolve: FilterResolver,
        mirror: SnapshotMirror | None = None,
    ) -> None:
        self.folder = folder
        self._database = database
        self._collection_id = collection_id
        self._space = space
        self._make_index = make_index
        self._resolve = resolve
        self._mirror = mirror  # of the snapshots, if they are in a bucket
        self._refreshing = threading.Lock()
        self._renewing = threading.Lock()
        self._live: _LiveIndex | None = None
        self._adopted_path: Path | None = None

    def refresh(self, head: Head) -> None:
        """Return once the index holds everything that the log had when `head` was read.

        Raises `CollectionNotFound` if the collection has been deleted in the meantime.
        """
        if self._is_current(head):
            return
        with self._refreshing:
            if self._is_current(head):
                return
            if self._live is None or not self._apply_tail(self._live):
                self._live = self._open()
        self._renew_in_background()

    def resolve(self, session: Session, head: Head, filters: Iterable[Filter]) -> ResolvedFilters:
        """The ids for which each filter holds."""
        return self._resolve(session, head, filters)

    @contextmanager
    def open_view(self, resolved: ResolvedFilters = MappingProxyType({})) -> Iterator[View]:
        """A view of the index, which does not change within the block; call `refresh` first."""
        live = self._require_live()

        def find(vectors: FloatArray, k: int, where: Filter | None) -> Neighbours:
            return live.index.search(vectors, k, None if where is None else resolved[where])

        with live.lock.read_lock():
            yield View(live.centre, len(live.missing_ids), find, live.index.count, live.index.vectors)

    @property
    def cursor(self) -> int:
        """The last log entry that the index certainly contains."""
        return self._require_live().cursor

    def save(self) -> int:
        """Write a snapshot of the current index, and return its last sequence number; the caller has the lease."""
        live = self._require_live()
        with live.lock.read_lock():
            seq, frozen = live.cursor, live.index.freeze()
        snapshots.save(self.folder, frozen, seq, live.centre_version, self._space.fingerprint)
        return seq

    def maintain(self, head: Head, minimum_tail: int) -> int:
        """Write a snapshot if one is due; return the last log entry in the oldest snapshot.

        A snapshot is due when at least `minimum_tail` entries, and one per `SNAPSHOT_SHARE` vectors, came since the
        last one, or the centre moved, or the index needs renewal.
        """
        self._fetch()
        paths = snapshots.list_snapshots(self.folder)
        current = head.centre_version(self._space.id)
        seq, saved_version = snapshots.position_of(paths[-1]) if paths else (0, current)
        tail, has_moved = head.last_seq - seq, saved_version != current
        if tail >= minimum_tail or has_moved or self.needs_renewal:
            self.refresh(head)
            if tail * SNAPSHOT_SHARE >= self._require_live().index.count() or has_moved or self.needs_renewal:
                self.renew()
                self.save()
        snapshots.prune(self.folder)
        if self._mirror is not None:
            self._mirror.publish()
        paths = snapshots.list_snapshots(self.folder)
        return snapshots.position_of(paths[0])[0] if paths else 0

    @property
    def needs_renewal(self) -> bool:
        """True if the space is open and `renew` would build something."""
        return self._live is not None and self._renewal(self._live, thorough=True) is not None

    def renew(self) -> None:
        """Build a better index and replace the live one: on the current centre, of the kind that suits the number of
        vectors, without deleted rows. Searches go on meanwhile; the caller has the lease.
        """
        with self._renewing:
            if self._has_old_centre():
                self._reopen(renew=True)
            else:
                self._renew(self._require_live(), thorough=True)

    def adopt(self) -> None:
        """Load the newest snapshot of another process, if this index has an old centre or needs renewal."""
        if self._live is None or not (self.needs_renewal or self._has_old_centre()):
            return
        self._fetch()
        paths = snapshots.list_snapshots(self.folder)[-1:]
        if paths not in ([], [self._adopted_path]):
            with self._renewing:
                self._adopted_path = paths[0]
                self._reopen(renew=False)

    def stored_state(self) -> StoredState:
        """The newest snapshot, damaged or not."""
        if self._mirror is not None:
            return self._mirror.state()
        paths = snapshots.list_snapshots(self.folder)
        last = paths[-1] if paths else None
        return StoredState(snapshots.position_of(last)[0], snapshots.written_at(last)) if last else StoredState(0)

    def faults(self) -> Iterator[str]:
        """The faults of the snapshots, one sentence each; of those in a bucket, of this machine's copies."""
        self._fetch()
        for path in snapshots.list_snapshots(self.folder):
            try:
                header = snapshots.read_header(path)
                snapshots.check_file(path, header)
            except FileNotFoundError:
                if path.exists():  # else it was pruned meanwhile
                    yield f"the snapshot {path} is incomplete"
                continue
            except StoreCorrupt as error:
                yield str(error)
                continue
            with self._database.read() as session:  # after the header: another process may write one meanwhile
                last_seq = collections.head_by_id(session, self._collection_id).last_seq
            if header.fingerprint != self._space.fingerprint:
                yield f"the snapshot {path} holds vectors made by other weights"
            if header.seq > last_seq:
                yield f"the snapshot {path} ends at entry {header.seq}, beyond the log's last, {last_seq}"

    def clear(self) -> None:
        """Remove the snapshots; the caller has the lease."""
        if self._mirror is not None:
            self._mirror.clear()
        for path in snapshots.list_snapshots(self.folder):
            snapshots.remove(path)

    def _fetch(self) -> None:
        """Copy the newest snapshot from the bucket, if there is one; without it the index is read from the log."""
        if self._mirror is not None:
            self._mirror.fetch()

    def _reopen(self, renew: bool) -> None:
        fresh = self._open()
        if renew:
            self._renew(fresh, thorough=True)
        with self._refreshing:
            self._live = fresh if self._apply_tail(fresh) else self._open()

    def _renew_in_background(self) -> None:
        """Start a renewal of a few seconds in a thread, unless one is running."""
        live = self._require_live()

        def renew() -> None:
            try:
                self._renew(live, thorough=False)
            finally:
                self._renewing.release()

        if self._renewal(live, thorough=False) is not None and self._renewing.acquire(blocking=False):
            threading.Thread(target=renew, name="tidy-index").start()

    def _renew(self, live: _LiveIndex, thorough: bool) -> None:
        renewal = self._renewal(live, thorough)
        if renewal is not None:
            install = renewal()
            with live.lock.write_lock():
                install()

    def _renewal(self, live: _LiveIndex, thorough: bool) -> Renewal | None:
        """The renewal that would improve the index now; None if none would."""
        with live.lock.read_lock():
            return live.index.renewal(thorough)

    def _has_old_centre(self) -> bool:
        """True if the space has a newer centre than the index."""
        with self._database.read() as session:
            head = collections.head_by_id(session, self._collection_id)
        return self._require_live().centre_version != head.centre_version(self._space.id)

    def _require_live(self) -> _LiveIndex:
        if self._live is None:
            raise RuntimeError("this index was not opened; call refresh first")
        return self._live

    def _is_current(self, head: Head) -> bool:
        live = self._live
        version = head.centre_version(self._space.id)
        return live is not None and live.cursor >= head.last_seq and self._may_serve(live, version)

    def _may_serve(self, live: _LiveIndex, version: int) -> bool:
        """True if the index may serve while the space's centre has that version."""
        return live.centre_version == version or live.index.count() > MAX_REOPENED

    def _open(self) -> _LiveIndex:
        """Open the index in the current state of the log, from the newest usable snapshot if there is one."""
        self._fetch()
        with self._database.read() as session:
            head = collections.head_by_id(session, self._collection_id)
            version = head.centre_version(self._space.id)
            index = self._make_index(self._space.dimension)
            live = _LiveIndex(index, collections.centre_of(session, self._space.id), version, head.last_seq)
            required = snapshots.Requirements(version, self._space.fingerprint, head.compacted_seq, head.last_seq)
            header = snapshots.load(self.folder, live.index, required)
            if header is None:
                live.index = self._make_index(self._space.dimension)  # a refused snapshot may have been partly restored
                self._fill_from_log(session, live)
            else:
                live.cursor = header.seq
        if header is not None and not self._apply_tail(live):
            return self._open()
        self._find_missing(live)
        return live

    def _find_missing(self, live: _LiveIndex) -> None:
        """Record the items that the index lacks although the log has them up to its cursor."""
        with self._database.read() as session:
            if live.index.count() >= collections.count(session, self._collection_id):
                return
            newer = log.items_after(session, self._collection_id, live.cursor)
            ids = np.array(sorted(collections.item_ids(session, self._collection_id) - newer), np.int64)
        live.missing_ids.update(np.setdiff1d(ids, live.index.vectors(ids)[0]).tolist())

    def _fill_from_log(self, session: Session, live: _LiveIndex) -> None:
        """Add the newest vector of every item, from the log."""
        for page in log.latest_vectors(session, self._collection_id, self._space.id):
            ids, vectors = page.of(self._space.fingerprint, self._space.dimension)
            if len(ids) < len(page.ids):
                self._warn_foreign(len(page.ids) - len(ids))
            live.index.upsert(ids, centre(vectors, live.centre, self._space.blocks))

    def _apply_tail(self, live: _LiveIndex) -> bool:
        """Apply the entries after the cursor; False if the index must be opened again instead.

        That is so if the log was compacted beyond the cursor, or a small index has an old centre.
        """
        while True:
            with self._database.read() as session:
                head = collections.head_by_id(session, self._collection_id)
                version = head.centre_version(self._space.id)
                if live.cursor < head.compacted_seq or not self._may_serve(live, version):
                    return False
                page = log.entries_after(session, self._collection_id, live.cursor, log.PAGE, self._space.id)
            self._apply(live, page)
            if len(page) < log.PAGE:
                live.cursor = head.last_seq
                return True
            live.cursor = page[-1].seq

    def _apply(self, live: _LiveIndex, entries: list[LogEntry]) -> None:
        newest: dict[int, FloatArray | None] = {}
        for entry in entries:
            if entry.kind != log.PAYLOAD or not entry.sound:
                newest[entry.item_id] = self._vector_of(entry)
            if entry.sound:
                live.missing_ids.discard(entry.item_id)
            else:
                live.missing_ids.add(entry.item_id)
        for batch in chunks(list(newest), APPLY_BATCH):
            upserted = {item_id: vector for item_id in batch if (vector := newest[item_id]) is not None}
            deleted_ids = [item_id for item_id in batch if item_id not in upserted]
            with live.lock.write_lock():
                if deleted_ids:
                    live.index.delete(np.array(deleted_ids, np.int64))
                if upserted:
                    vectors = centre(np.stack(list(upserted.values())), live.centre, self._space.blocks)
                    live.index.upsert(np.array(list(upserted), np.int64), vectors)

    def _vector_of(self, entry: LogEntry) -> FloatArray | None:
        if entry.kind == log.DELETE:
            return None
        vector = entry.vector(self._space.fingerprint, self._space.dimension)
        if vector is None:
            self._warn_foreign(1)
        return vector

    def _warn_foreign(self, count: int) -> None:
        logger.warning(
            "space %s of collection %d: left out %d vectors that are damaged or made by other weights; "
            "anyseek verify names them",
            self._space.name,
            self._collection_id,
            count,
        )
