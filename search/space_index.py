"""One live index of one space of a collection in this process: a snapshot, or the log, plus the log's tail."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from sqlalchemy.orm import Session

from model.embedder import FloatArray
from search import snapshots
from search.catalogue import collections, log
from search.catalogue.collections import Head, SpaceHead
from search.catalogue.log import LogEntry
from search.catalogue.session import Database
from search.fusion import centre
from search.index.base import VectorIndex
from search.locks import ReadersLock

logger = logging.getLogger(__name__)

MakeIndex = Callable[[int], VectorIndex]  # dimension -> empty index


@dataclass(frozen=True)
class View:
    """An index and the mean on which the vectors in it are centred."""

    index: VectorIndex
    centre: FloatArray


@dataclass
class _Live:
    """What is searched now. `cursor` is the number of the last log entry in it."""

    view: View
    centre_version: int
    cursor: int
    lock: ReadersLock = field(default_factory=ReadersLock)


class SpaceIndex:
    """Opened at the first `refresh`. Safe for many threads: searches run side by side, changes wait for them."""

    def __init__(
        self, database: Database, folder: Path, collection_id: int, space: SpaceHead, make_index: MakeIndex
    ) -> None:
        self.folder = folder
        self._database = database
        self._collection_id = collection_id
        self._space = space
        self._make_index = make_index
        self._refreshing = threading.Lock()
        self._live: _Live | None = None

    def refresh(self, head: Head) -> None:
        """Return once the index holds everything that the log had when `head` was read.

        Raises `CollectionNotFound` if the collection was deleted meanwhile.
        """
        if self._is_current(head):
            return
        with self._refreshing:
            if self._is_current(head):
                return
            if self._live is None or not self._tail(self._live):
                self._live = self._open()

    @contextmanager
    def reading(self) -> Iterator[View]:
        """The index, unchanged for the length of the block; `refresh` comes first."""
        live = self._opened()
        with live.lock.reading():
            yield live.view

    @property
    def cursor(self) -> int:
        """The number up to which the log is certainly in the index."""
        return self._opened().cursor

    def save(self) -> int:
        """Write a snapshot of what is held now, and return its last sequence number; the caller has the lease."""
        live = self._opened()
        with live.lock.reading():
            seq = live.cursor
            snapshots.save(self.folder, live.view.index, seq, live.centre_version, self._space.fingerprint)
        return seq

    def _opened(self) -> _Live:
        if self._live is None:
            raise RuntimeError("this index was not opened; call refresh first")
        return self._live

    def _is_current(self, head: Head) -> bool:
        live = self._live
        version = head.centre_version(self._space.id)
        return live is not None and live.cursor >= head.last_seq and live.centre_version >= version

    def _open(self) -> _Live:
        """The index as the log has it now, through the newest snapshot where there is a good one."""
        with self._database.read() as session:
            head = collections.head_by_id(session, self._collection_id)
            version = head.centre_version(self._space.id)
            view = View(self._make_index(self._space.dimension), collections.centre_of(session, self._space.id))
            wanted = snapshots.Wanted(
                version, self._space.fingerprint, snapshots.kind_of(view.index), head.compacted_seq, head.last_seq
            )
            header = snapshots.load(self.folder, view.index, wanted)
            if header is None:
                view = View(self._make_index(self._space.dimension), view.centre)
                self._fill(session, view)
                return _Live(view, version, head.last_seq)
        live = _Live(view, version, header.seq)
        return live if self._tail(live) else self._open()

    def _fill(self, session: Session, view: View) -> None:
        """Add the newest vector of every item, from the log."""
        for page in log.latest_vectors(session, self._collection_id, self._space.id):
            ids, vectors = page.of(self._space.fingerprint, self._space.dimension)
            if len(ids) < len(page.ids):
                self._warn_foreign(len(page.ids) - len(ids))
            view.index.upsert(ids, centre(vectors, view.centre))
        view.index.flush()

    def _tail(self, live: _Live) -> bool:
        """Apply the entries after the cursor; False if the index must be opened anew instead.

        That is so when the log was compacted beyond the cursor or the space got another centre.
        """
        while True:
            with self._database.read() as session:
                head = collections.head_by_id(session, self._collection_id)
                version = head.centre_version(self._space.id)
                if live.cursor < head.compacted_seq or live.centre_version != version:
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
            if entry.kind != log.PAYLOAD:
                newest[entry.item_id] = self._vector(entry)
        kept = {item_id: vector for item_id, vector in newest.items() if vector is not None}
        gone = [item_id for item_id in newest if item_id not in kept]
        with live.lock.writing():
            if gone:
                live.view.index.delete(np.array(gone, np.int64))
            if kept:
                vectors = centre(np.stack(list(kept.values())), live.view.centre)
                live.view.index.upsert(np.array(list(kept), np.int64), vectors)
            live.view.index.flush()

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
