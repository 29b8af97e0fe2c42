"""The live space of the local backend: an index in this process, made from a snapshot or the log, and its tail."""

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
from anyseek.search.spaces.base import Neighbours, Resolved, Stored, View, centre
from anyseek.search.spaces.local import snapshots
from anyseek.search.spaces.local.snapshots import Renewal, VectorIndex


class ReadersLock:
    """A lock within a process: many threads read at once; a writer waits for them and then holds it alone.

    Readers that come while a writer waits queue behind it, so that steady reading cannot starve it. Not reentrant.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers = 0
        self._writers_waiting = 0
        self._writing = False

    @contextmanager
    def reading(self) -> Iterator[None]:
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
    def writing(self) -> Iterator[None]:
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

MakeIndex = Callable[[int], VectorIndex]  # dimension -> empty index
Resolve = Callable[[Session, Head, Iterable[Filter]], Resolved]

# An index of more vectors keeps its centre until another index is built beside it.
REOPENED_UP_TO = 20_000
# Searches wait while this many changes are applied.
APPLIED_AT_ONCE = 128
# A snapshot is the whole index, so it is written only after one new log entry per this many vectors; for a million
# vectors it would otherwise be gigabytes a minute while items are put. The rest is read from the log.
SNAPSHOT_SHARE = 100


@dataclass
class _Live:
    """The index that is searched now. `cursor` is the number of the last log entry in it.

    `lacking` are the items that it does not have because their vectors in the log are damaged or lost.
    """

    index: VectorIndex
    centre: FloatArray
    centre_version: int
    cursor: int
    lacking: set[int] = field(default_factory=set)
    lock: ReadersLock = field(default_factory=ReadersLock)


class LocalSpace:
    """Opened at the first `refresh`. Safe for many threads: searches run side by side, changes wait for them."""

    def __init__(
        self,
        database: Database,
        folder: Path,
        collection_id: int,
        space: SpaceHead,
        make_index: MakeIndex,
        resolve: Resolve,
    ) -> None:
        self.folder = folder
        self._database = database
        self._collection_id = collection_id
        self._space = space
        self._make_index = make_index
        self._resolve = resolve
        self._refreshing = threading.Lock()
        self._renewing = threading.Lock()
        self._live: _Live | None = None
        self._adopted: Path | None = None

    def refresh(self, head: Head) -> None:
        """Return once the index holds everything that the log had when `head` was read.

        Raises `CollectionNotFound` if the collection has been deleted in the meantime.
        """
        if self._is_current(head):
            return
        with self._refreshing:
            if self._is_current(head):
                return
            if self._live is None or not self._tail(self._live):
                self._live = self._open()
        self._tidy()

    def resolve(self, session: Session, head: Head, filters: Iterable[Filter]) -> Resolved:
        """The ids for which each filter holds."""
        return self._resolve(session, head, filters)

    @contextmanager
    def reading(self, resolved: Resolved = MappingProxyType({})) -> Iterator[View]:
        """The index, unchanged for the length of the block; `refresh` comes first."""
        live = self._opened()

        def find(vectors: FloatArray, k: int, where: Filter | None) -> Neighbours:
            return live.index.search(vectors, k, None if where is None else resolved[where])

        with live.lock.reading():
            yield View(live.centre, len(live.lacking), find, live.index.count, live.index.vectors)

    @property
    def cursor(self) -> int:
        """The number up to which the index certainly has the log."""
        return self._opened().cursor

    def save(self) -> int:
        """Write a snapshot of the current index, and return its last sequence number; the caller has the lease."""
        live = self._opened()
        with live.lock.reading():
            seq, held = live.cursor, live.index.frozen()
        snapshots.save(self.folder, held, seq, live.centre_version, self._space.fingerprint)
        return seq

    def keep(self, head: Head, minimum_tail: int) -> int:
        """Write a snapshot if one is due; return the number up to which the oldest kept snapshot has the log.

        A snapshot is due when at least `minimum_tail` entries, and one per `SNAPSHOT_SHARE` vectors, came since the
        last one, or the centre moved, or the index is worn.
        """
        held = snapshots.listed(self.folder)
        centred = head.centre_version(self._space.id)
        seq, version = snapshots.stands_at(held[-1]) if held else (0, centred)
        tail = head.last_seq - seq
        if tail >= minimum_tail or version != centred or self.is_worn:
            self.refresh(head)
            if tail * SNAPSHOT_SHARE >= self._opened().index.count() or version != centred or self.is_worn:
                self.renew()
                self.save()
        snapshots.prune(self.folder)
        kept = snapshots.listed(self.folder)
        return snapshots.stands_at(kept[0])[0] if kept else 0

    @property
    def is_worn(self) -> bool:
        """True if the space is open and `renew` would build something."""
        return self._live is not None and self._better(self._live, thorough=True) is not None

    def renew(self) -> None:
        """Build what serves better beside what serves, and put it in place: on the present centre, of the kind that
        suits the number of vectors, without what is deleted. Searches go on meanwhile; the caller has the lease.
        """
        with self._renewing:
            if self._lags():
                self._reopen(renewed=True)
            else:
                self._renew(self._opened(), thorough=True)

    def adopt(self) -> None:
        """Load what another process has built and saved, if this index lags behind or is worn."""
        live, saved = self._live, snapshots.listed(self.folder)[-1:]
        if live is None or not saved or saved[0] == self._adopted or not (self.is_worn or self._lags()):
            return
        with self._renewing:
            self._adopted = saved[0]
            self._reopen(renewed=False)

    def stored(self) -> Stored:
        """The newest snapshot, sound or not."""
        held = snapshots.listed(self.folder)
        if not held:
            return Stored(0)
        return Stored(snapshots.stands_at(held[-1])[0], snapshots.written_at(held[-1]))

    def faults(self) -> Iterator[str]:
        """The faults of the snapshots, one sentence each."""
        for path in snapshots.listed(self.folder):
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
        for path in snapshots.listed(self.folder):
            snapshots.remove(path)

    def _reopen(self, renewed: bool) -> None:
        fresh = self._open()
        if renewed:
            self._renew(fresh, thorough=True)
        with self._refreshing:
            self._live = fresh if self._tail(fresh) else self._open()

    def _tidy(self) -> None:
        """Start a background renewal of a few seconds that makes searches quicker, unless one is running."""
        live = self._opened()

        def tidy_up() -> None:
            try:
                self._renew(live, thorough=False)
            finally:
                self._renewing.release()

        if self._better(live, thorough=False) is not None and self._renewing.acquire(blocking=False):
            threading.Thread(target=tidy_up, name="tidy-index").start()

    def _renew(self, live: _Live, thorough: bool) -> None:
        build = self._better(live, thorough)
        if build is not None:
            put_in_place = build()
            with live.lock.writing():
                put_in_place()

    def _better(self, live: _Live, thorough: bool) -> Renewal | None:
        with live.lock.reading():
            return live.index.renewal(thorough)

    def _lags(self) -> bool:
        """True if the space has a newer centre than the index."""
        with self._database.read() as session:
            head = collections.head_by_id(session, self._collection_id)
        return self._opened().centre_version != head.centre_version(self._space.id)

    def _opened(self) -> _Live:
        if self._live is None:
            raise RuntimeError("this index was not opened; call refresh first")
        return self._live

    def _is_current(self, head: Head) -> bool:
        live = self._live
        version = head.centre_version(self._space.id)
        return live is not None and live.cursor >= head.last_seq and self._may_serve(live, version)

    def _may_serve(self, live: _Live, version: int) -> bool:
        """True if the index may keep serving although the space's centre has that version."""
        return live.centre_version == version or live.index.count() > REOPENED_UP_TO

    def _open(self) -> _Live:
        """Open the index in the current state of the log, from the newest good snapshot if there is one."""
        with self._database.read() as session:
            head = collections.head_by_id(session, self._collection_id)
            version = head.centre_version(self._space.id)
            index = self._make_index(self._space.dimension)
            live = _Live(index, collections.centre_of(session, self._space.id), version, head.last_seq)
            wanted = snapshots.Requirements(version, self._space.fingerprint, head.compacted_seq, head.last_seq)
            header = snapshots.load(self.folder, live.index, wanted)
            if header is None:
                live.index = self._make_index(self._space.dimension)  # a refused snapshot may have been read by half
                self._fill(session, live)
            else:
                live.cursor = header.seq
        if header is not None and not self._tail(live):
            return self._open()
        self._find_lacking(live)
        return live

    def _find_lacking(self, live: _Live) -> None:
        """Note the items that have been in the log for longer than the index goes, and are not in the index."""
        with self._database.read() as session:
            if live.index.count() >= collections.count(session, self._collection_id):
                return
            newer = log.items_after(session, self._collection_id, live.cursor)
            ids = np.array(sorted(collections.item_ids(session, self._collection_id) - newer), np.int64)
        live.lacking.update(np.setdiff1d(ids, live.index.vectors(ids)[0]).tolist())

    def _fill(self, session: Session, live: _Live) -> None:
        """Add the newest vector of every item, from the log."""
        for page in log.latest_vectors(session, self._collection_id, self._space.id):
            ids, vectors = page.of(self._space.fingerprint, self._space.dimension)
            if len(ids) < len(page.ids):
                self._warn_foreign(len(page.ids) - len(ids))
            live.index.upsert(ids, centre(vectors, live.centre, self._space.blocks))

    def _tail(self, live: _Live) -> bool:
        """Apply the entries after the cursor; False if the index must be opened anew instead.

        That is so when the log was compacted beyond the cursor, or a small index has an older centre.
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

    def _apply(self, live: _Live, entries: list[LogEntry]) -> None:
        newest: dict[int, FloatArray | None] = {}
        for entry in entries:
            if entry.kind != log.PAYLOAD or not entry.sound:
                newest[entry.item_id] = self._vector(entry)
            if entry.sound:
                live.lacking.discard(entry.item_id)
            else:
                live.lacking.add(entry.item_id)
        for some in chunks(list(newest), APPLIED_AT_ONCE):
            kept = {item_id: vector for item_id in some if (vector := newest[item_id]) is not None}
            gone = [item_id for item_id in some if item_id not in kept]
            with live.lock.writing():
                if gone:
                    live.index.delete(np.array(gone, np.int64))
                if kept:
                    vectors = centre(np.stack(list(kept.values())), live.centre, self._space.blocks)
                    live.index.upsert(np.array(list(kept), np.int64), vectors)

    def _vector(self, entry: LogEntry) -> FloatArray | None:
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
