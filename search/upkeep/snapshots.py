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
from anyseek.search.catalogue.failures import error_message
from anyseek.search.catalogue.leases import clock, place
from anyseek.search.catalogue.session import Database, count_changed
from anyseek.search.catalogue.tables import CollectionRow, SnapshotLeaseRow
from anyseek.search.catalogue.values import utc
from anyseek.search.errors import CollectionNotFound, LeaseLost
from anyseek.search.settings import Settings
from anyseek.search.spaces.base import Backend, OpenSpace, StoredState

logger = logging.getLogger(__name__)

RENEWALS = 4  # in the time after which a silent holder counts as dead
POLL_SECONDS = 0.5


class SnapshotLease:
    """Lease held by one process at a time, and released when it dies. As a context manager it waits for the lease.

    Processes of one place (`anyseek.search.catalogue.leases`) exclude each other by a file lock, which the kernel drops
    when one ends. Between machines a row in the catalogue does, which the holder renews; it expires when the holder is
    silent for `work.lease_seconds`. One object is one holder. All methods may raise SQLAlchemy's errors.
    """

    def __init__(self, database: Database, settings: Settings, collection_id: int) -> None:
        self._database = database
        self._collection_id = collection_id
        self._lock = FileLock(settings.locks / f"snapshots-{collection_id}")
        self._place = place(settings.locks)
        self._holder = uuid.uuid4().hex
        self._valid_for = timedelta(seconds=settings.work.lease_seconds)
        self._released = threading.Event()
        self._renewal: threading.Thread | None = None

    def acquire(self) -> None:
        """Wait for the lease. Raises `CollectionNotFound`."""
        while not self.try_acquire(wait=True):
            time.sleep(POLL_SECONDS)

    def try_acquire(self, wait: bool = False) -> bool:
        """Take the lease if it is free; with `wait`, wait for holders of this place. Raises `CollectionNotFound`."""
        if wait:
            self._lock.acquire()
        elif not self._lock.try_acquire():
            return False
        try:
            is_acquired = self._acquire_row()
        except BaseException:
            self._lock.release()
            raise
        if not is_acquired:
            self._lock.release()
            return False
        self._released.clear()
        self._renewal = threading.Thread(target=self._renew_until_released, name="snapshot-lease", daemon=True)
        self._renewal.start()
        return True

    def check(self, session: Session) -> None:
        """Raise `LeaseLost`, which rolls back `session`, if the lease is lost; else it is valid until `session` ends.

        Call it last in a transaction: acquiring the lease takes the collection's row lock first.
        """
        expires = clock(session) + self._valid_for
        if not count_changed(session, update(SnapshotLeaseRow).where(*self._is_own()).values(expires_at=expires)):
            raise LeaseLost("another process has the right to write the collection's snapshots now")

    def release(self) -> None:
        """Release the lease. If the catalogue cannot be reached, the lease expires by itself."""
        assert self._renewal is not None
        self._released.set()
        self._renewal.join()
        try:
            with self._database.write() as session:
                session.execute(delete_rows(SnapshotLeaseRow).where(*self._is_own()))
        except SQLAlchemyError as failure:
            logger.warning("the end of a snapshot lease could not be recorded: %s", error_message(failure))
        finally:
            self._lock.release()

    def _acquire_row(self) -> bool:
        """Write the row. Another holder of this place must be dead, because this object has the file lock."""
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

    def _is_own(self) -> tuple[ColumnElement[bool], ...]:
        return SnapshotLeaseRow.collection_id == self._collection_id, SnapshotLeaseRow.holder == self._holder

    def _renew_until_released(self) -> None:
        while not self._released.wait(self._valid_for.total_seconds() / RENEWALS):
            try:
                with self._database.write() as session:
                    self.check(session)
            except LeaseLost:
                return  # the holder learns it from its next `check`
            except SQLAlchemyError as error:
                logger.warning("a snapshot lease could not be renewed, trying again: %s", error_message(error))

    def __enter__(self) -> "SnapshotLease":
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


# The least vectors of a mean of the collection's own; it is recomputed whenever their number has doubled.
MIN_CENTRE_VECTORS = 64


def write_snapshots(
    database: Database, settings: Settings, name: str, open_space: OpenSpace, minimum_tail: int = 1
) -> bool:
    """Freeze centres that are due, rebuild indexes, write snapshots, prune old ones and compact the log below them.

    A space gets a snapshot when at least `minimum_tail` entries came since its last one (more for large spaces, see
    `LocalSpace.maintain`), its centre moved, or its index needs renewal. Returns False if another process holds the
    lease, or took it over because this one was silent for too long; its snapshots are then loaded. Raises
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
        with _tolerate_lease_loss(name):
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

    Waits for a process that is writing snapshots. If this process loses its lease, they are written later.
    """
    building = [space for space in head.beside if space.state != SpaceState.KEPT]
    with SnapshotLease(database, settings, head.id) as lease, _tolerate_lease_loss(head.name):
        for space in building:
            _freeze_if_due(database, lease, head, space)
        with database.read() as session:
            head = collections.head_by_id(session, head.id)
        ids = {space.id for space in building}
        for space in head.beside:
            if space.id in ids:
                open_space(head, space).maintain(head, log.PAGE)


def remove_unknown(database: Database, settings: Settings, collection_id: int, backend: Backend) -> None:
    """Remove the backend's data of spaces that the collection no longer has.

    Waits for a process that is writing snapshots, since it may be writing one of a removed space.
    """
    with SnapshotLease(database, settings, collection_id):
        backend.remove_unknown()


@contextmanager
def _tolerate_lease_loss(name: str) -> Iterator[None]:
    """Log a lost lease, whose new holder does the remaining work."""
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
    """Freeze the centre of a space that has no mean of its own yet, or has doubled since its last one.

    A zero prior means that centring does not help, so such a space is never centred.
    """
    needed = max(MIN_CENTRE_VECTORS, 2 * space.centre_count)
    with database.read() as session:
        if collections.count(session, head.id) < needed or not collections.centre_of(session, space.id).any():
            return
    freeze_centre(database, lease, head, space, needed)


@dataclass(frozen=True)
class IndexLag:
    """How far stored indexes are behind the log, in the worst of `collections` collections.

    `entries`: log entries that no snapshot contains (with Qdrant: not applied yet). `seconds`: the age of the latest
    snapshot of a collection with such entries, 0 without one.
    """

    collections: int
    entries: int
    seconds: float


def index_lag(database: Database, open_space: OpenSpace) -> IndexLag:
    """The lag of the worst collection. Reads a few rows of the catalogue for each collection, and lists its folder."""
    lags: list[tuple[int, StoredState]] = []
    with database.read() as session:
        heads = [collections.head_by_id(session, collection_id) for collection_id in sorted(collections.ids(session))]
    for head in heads:
        snapshots = [open_space(head, space).stored_state() for space in head.spaces]
        if snapshots:
            oldest = min(snapshots, key=lambda snapshot: snapshot.seq)
            lags.append((max(0, head.last_seq - oldest.seq), oldest))
    behind = [(entries, snapshot) for entries, snapshot in lags if entries]
    now = datetime.now(UTC)
    ages = [(now - snapshot.written_at).total_seconds() for _, snapshot in behind if snapshot.written_at is not None]
    entries = max((entries for entries, _ in behind), default=0)
    return IndexLag(len(heads), entries, max(ages, default=0.0))
