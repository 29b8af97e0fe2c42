"""The right to write a collection's snapshots, to compact its log and to remove its index files."""

import logging
import threading
import time
import uuid
from datetime import timedelta

from sqlalchemy import ColumnElement, select, update
from sqlalchemy import delete as delete_rows
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from anyseek.model.files import FileLock
from anyseek.search.catalogue.owners import clock, place
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import CollectionRow, SnapshotLeaseRow
from anyseek.search.catalogue.values import utc
from anyseek.search.errors import CollectionNotFound, LeaseLost
from anyseek.search.settings import Settings

logger = logging.getLogger(__name__)

RENEWALS = 4  # in the time after which a silent holder counts as dead
LOOK_EVERY_SECONDS = 0.5
_PLAIN = {"synchronize_session": False}


class SnapshotLease:
    """Held by one process at a time and released when it dies. As a context manager it waits for the lease.

    Processes of one place (`anyseek.search.catalogue.owners`) exclude each other by a lock that the kernel drops when
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
        statement = update(SnapshotLeaseRow).where(*self._held()).values(expires_at=expires)
        if not session.execute(statement.execution_options(**_PLAIN)).rowcount:  # type: ignore[attr-defined]
            raise LeaseLost("another process has the right to write the collection's snapshots now")

    def release(self) -> None:
        """Release the lease. If the catalogue cannot be reached, the lease expires by itself."""
        assert self._renewing is not None
        self._left.set()
        self._renewing.join()
        try:
            with self._database.write() as session:
                session.execute(delete_rows(SnapshotLeaseRow).where(*self._held()).execution_options(**_PLAIN))
        except SQLAlchemyError as failure:
            logger.warning("the end of a snapshot lease could not be recorded: %s", failure)
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
                logger.warning("a snapshot lease could not be renewed, trying again: %s", error)

    def __enter__(self) -> "SnapshotLease":
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
