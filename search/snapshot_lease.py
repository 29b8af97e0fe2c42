"""The right to write a collection's snapshots, to compact its log and to remove its index files."""

import logging
import threading
import time
import uuid
from datetime import timedelta

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from search.catalogue import snapshot_leases
from search.catalogue.session import Database
from search.errors import LeaseLost
from search.locks import FileLock
from search.place import place
from search.settings import Settings

logger = logging.getLogger(__name__)

RENEWALS = 4  # in the time after which a silent holder counts as dead
LOOK_EVERY_SECONDS = 0.5


class SnapshotLease:
    """Held by one process at a time, and given up by its death: as a context manager it waits until it may be taken.

    Processes of one place (`search.place`) exclude each other by a lock that the kernel drops when one ends. Those of
    different machines do by a row in the catalogue that the holder renews, and which counts no longer once it was
    silent for `work.lease_seconds`. One object is one holder. Everything may raise SQLAlchemy's errors.
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
        """Take the lease if nobody has it; with `wait`, once nobody of this place has. Raises `CollectionNotFound`."""
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
        """Raises `LeaseLost`, which undoes what was written in `session`; else nobody has the lease before its end.

        To be called last: who takes the lease takes the collection's row lock before it.
        """
        snapshot_leases.renew(session, self._collection_id, self._holder, self._valid_for)

    def release(self) -> None:
        """Give the lease up. If the catalogue cannot be told, its silence will tell the same."""
        assert self._renewing is not None
        self._left.set()
        self._renewing.join()
        try:
            with self._database.write() as session:
                snapshot_leases.give_up(session, self._collection_id, self._holder)
        except SQLAlchemyError as failure:
            logger.warning("the end of a snapshot lease is not recorded: %s", failure)
        finally:
            self._lock.release()

    def _take(self) -> bool:
        with self._database.write() as session:
            return snapshot_leases.take(session, self._collection_id, self._place, self._holder, self._valid_for)

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
