"""Upkeep of a collection's snapshots, centres and log, by one process at a time, which holds a lease."""

import logging
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from sqlalchemy import ColumnElement, select, update
from sqlalchemy import delete as delete_rows
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from anyseek.model.files import FileLock
from anyseek.search.catalogue import collections, log
from anyseek.search.catalogue.collections import Head, SpaceHead, SpaceState
from anyseek.search.catalogue.failures import sentence
from anyseek.search.catalogue.leases import clock, place
from anyseek.search.catalogue.session import Database, count_changed
from anyseek.search.catalogue.tables import CollectionRow, SnapshotLeaseRow
from anyseek.search.catalogue.values import utc
from anyseek.search.errors import CollectionNotFound, LeaseLost
from anyseek.search.settings import Settings
from anyseek.search.spaces.base import Backend, OpenSpace, StoredState

logger = logging.getLogger(__name__)

RENEWALS = 4  # in the time after which a silent holder counts as dead
LOOK_EVERY_SECONDS = 0.5


class SnapshotLease:
    """Held by one process at a time and released when it dies. As a context manager it waits for the lease.

    Processes of one place (`anyseek.search.catalogue.leases`) exclude each other by a lock that the kernel drops when
    one ends. Those of different machines do so by a row in the catalogue that the holder renews, and which no longer
    counts once the holder was silent for `work.lease_seconds`. One object is one holder. All methods may raise
    SQLAlchemy's errors.
    """

    def __init__(self, database: Database, settings: Settings, collection_id: int) -> None:
        self._database = database
        self._collection_id = collection_id
        self._lock = FileLock(settings.locks / f"snapshots-{collection_id}")
        self._place = place(settings.locks)
        self._holder = uuid.uuid4().hex
        self._valid_for = timedelta(seconds=settings.work.lease_seconds)
        self._left = threading.Event()
        self._renewing: threading.Thread | None = None

    def acquire(self) -> None:
        """Wait until the lease is this object's. Raises `CollectionNotFound`."""
        while not self.try_acquire(wait=True):
            time.sleep(LOOK_EVERY_SECONDS)

    def try_acquire(self, wait: bool = False) -> bool:
        """Take the lease if it is free; with `wait`, wait for holders of this place. Raises `CollectionNotFound`."""
        if wait:
            self._lock.acquire()
        elif not self._lock.try_acquire():
            return False
        try:
            taken = self._take()
        except BaseException:
            self._lock.release()
            raise
        if not taken:
            self._lock.release()
            return False
        self._left.clear()
        self._renewing = threading.Thread(target=self._renew_until_left, name="snapshot-lease", daemon=True)
        self._renewing.start()
        return True

    def check(self, session: Session) -> None:
        """Raises `LeaseLost`, which rolls back `session`, if the lease is lost; else it is safe until `session` ends.

        Call it last: whoever takes the lease takes the collection's row lock first.
        """
        expires = clock(session) + self._valid_for
        if not count_changed(session, update(SnapshotLeaseRow).where(*self._held()).values(expires_at=expires)):
            raise LeaseLost("another process has the right to write the collection's snapshots now")

    def release(self) -> None:
        """Release the lease. If the catalogue cannot be reached, the lease expires by itself."""
        assert self._renewing is not None
        self._left.set()
        self._renewing.join()
        try:
            with self._database.write() as session:
                session.execute(delete_rows(SnapshotLeaseRow).where(*self._held()))
        except SQLAlchemyError as failure:
            logger.warning("the end of a snapshot lease could not be recorded: %s", sentence(failure))
        finally:
            self._lock.release()

    def _take(self) -> bool:
        """Take the row. Another holder of this place must be dead, since this object has the lock of the place."""
        with self._database.write() as session:
            of_collection = CollectionRow.id == self._collection_id
            if session.scalar(select(CollectionRow.id).where(of_collection).with_for_update()) is None:
                raise CollectionNotFound("the collection has been deleted in the meantime")
            now, row = clock(session), session.get(SnapshotLeaseRow, self._collection_id, populate_existing=True)
            if row is not None and row.place != self._place and utc(row.expires_at) > now:
                return False
            mine = {"place": self._place, "holder": self._holder, "expires_at": now + self._valid_for}
            session.merge(SnapshotLeaseRow(collection_id=self._collection_id, **mine))
            session.flush()
            return True

    def _held(self) -> tuple[ColumnElement[bool], ...]:
        return SnapshotLeaseRow.collection_id == self._collection_id, SnapshotLeaseRow.holder == self._holder

    def _renew_until_left(self) -> None:
        while not self._left.wait(self._valid_for.total_seconds() / RENEWALS):
            try:
                with self._database.write() as session:
                    self.check(session)
            except LeaseLost:
                return  # as its next `check` says
            except SQLAlchemyError as error:
                logger.warning("a snapshot lease could not be renewed, trying again: %s", sentence(error))

    def __enter__(self) -> "SnapshotLease":
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


# A collection has its own mean from this size on, and takes a new one whenever it has doubled.
CENTRE_FROM = 64


def write_snapshots(
    database: Database, settings: Settings, name: str, open_space: OpenSpace, minimum_tail: int = 1
) -> bool:
    """Freeze centres that are due, build better indexes, write snapshots, prune old ones and compact the log below.

    A space gets a snapshot when at least `minimum_tail` entries came since its last one (of large ones more, see
    `LocalSpace.maintain`), its centre moved, or its index needs renewal. Returns False if another process does this, or
    has taken the lease because this one was silent for too long; then what that process built is loaded. Raises
    `CollectionNotFound`.
    """
    with database.read() as session:
        head = collections.head(session, name)
    lease = SnapshotLease(database, settings, head.id)
    if not lease.try_acquire():
        for space in head.spaces:
            open_space(head, space).adopt()
        return False
    try:
        with _overtaken(name):
            refresh_snapshots(database, lease, head, open_space, minimum_tail)
            return True
    finally:
        lease.release()
    return False


def refresh_snapshots(
    database: Database, lease: SnapshotLease, head: Head, open_space: OpenSpace, minimum_tail: int
) -> None:
    """The work of `write_snapshots`, for callers that hold the lease. Raises `LeaseLost`."""
    for space in head.spaces:
        _freeze_if_due(database, lease, head, space)
    with database.read() as session:
        head = collections.head_by_id(session, head.id)
    oldest = [open_space(head, space).maintain(head, minimum_tail) for space in head.spaces]
    if min(oldest) > head.compacted_seq:
        with database.write() as session:
            log.compact(session, head.id, min(oldest))
            lease.check(session)


def prepare_switch(database: Database, settings: Settings, head: Head, open_space: OpenSpace) -> None:
    """Freeze centres and write snapshots of spaces that are being built, so that they serve at once after a switch.

    Waits for a process that is writing snapshots. If this process is silent for too long, they are written later.
    """
    growing = [space for space in head.beside if space.state != SpaceState.KEPT]
    with SnapshotLease(database, settings, head.id) as lease, _overtaken(head.name):
        for space in growing:
            _freeze_if_due(database, lease, head, space)
        with database.read() as session:
            head = collections.head_by_id(session, head.id)
        ids = {space.id for space in growing}
        for space in head.beside:
            if space.id in ids:
                open_space(head, space).maintain(head, log.PAGE)


def remove_unknown(database: Database, settings: Settings, collection_id: int, backend: Backend) -> None:
    """Remove the backend's data of spaces that the collection no longer has.

    Waits for a process that is writing snapshots: it may be writing one of a space that has since been removed.
    """
    with SnapshotLease(database, settings, collection_id):
        backend.remove_unknown()


@contextmanager
def _overtaken(name: str) -> Iterator[None]:
    """Handle a lost lease: its new holder does the rest."""
    try:
        yield
    except LeaseLost as error:
        logger.warning("this process does not write snapshots of %s: %s", name, error)


def freeze_centre(database: Database, lease: SnapshotLease, head: Head, space: SpaceHead, needed: int) -> bool:
    """Centre the space on the mean of its own raw vectors; return False if it has fewer than `needed`."""
    total, count = np.zeros(space.dimension), 0
    with database.read() as session:
        for page in log.latest_vectors(session, head.id, space.id):
            vectors = page.of(space.fingerprint, space.dimension)[1]
            total += vectors.sum(0, dtype=np.float64)
            count += len(vectors)
    if count < needed:
        return False
    with database.write() as session:
        collections.freeze_centre(session, space.id, (total / count).astype(np.float32), count)
        lease.check(session)
    return True


def _freeze_if_due(database: Database, lease: SnapshotLease, head: Head, space: SpaceHead) -> None:
    """Centre the space anew if it has no mean of its own yet, or has doubled since.

    A zero prior means that centring does not help; such a space is left as it is.
    """
    needed = max(CENTRE_FROM, 2 * space.centre_count)
    with database.read() as session:
        if collections.count(session, head.id) < needed or not collections.centre_of(session, space.id).any():
            return
    freeze_centre(database, lease, head, space, needed)


@dataclass(frozen=True)
class Lag:
    """`entries`: the most log entries of a collection that no snapshot has (of Qdrant: that Qdrant lacks).

    `seconds`: the age of the oldest snapshot among the newest ones of collections with such entries; 0 if there is
    none.
    """

    collections: int
    entries: int
    seconds: float


def lag_of(database: Database, open_space: OpenSpace) -> Lag:
    """The lag of the worst collection. Reads a few rows of the catalogue for each collection, and lists its folder."""
    behind: list[tuple[int, StoredState]] = []
    with database.read() as session:
        heads = [collections.head_by_id(session, held) for held in sorted(collections.ids(session))]
    for head in heads:
        stored = [open_space(head, space).stored_state() for space in head.spaces]
        if stored:
            least = min(stored, key=lambda found: found.seq)
            behind.append((max(0, head.last_seq - least.seq), least))
    late = [(entries, stored) for entries, stored in behind if entries]
    now = datetime.now(UTC)
    ages = [(now - stored.written_at).total_seconds() for _, stored in late if stored.written_at is not None]
    entries = max((entries for entries, _ in late), default=0)
    return Lag(len(heads), entries, max(ages, default=0.0))
