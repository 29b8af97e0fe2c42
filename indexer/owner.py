"""Who holds leases: one run of a job in one process, for as long as it lives and is heard of."""

import logging
import threading
import uuid
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import TracebackType

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from indexer.errors import JobStopped
from search.catalogue import owners
from search.catalogue.session import Database
from search.locks import FileLock, alive
from search.place import place
from search.settings import Settings

logger = logging.getLogger(__name__)

RENEWALS = 4  # in the time after which a silent owner counts as dead


class Owner:
    """A name that others can ask after: dead as soon as its process is gone, or once it was silent for too long.

    The kernel drops its lock when the process ends, however it ends, which others on this machine see at once. Those
    on other machines see that it no longer renews its life in the catalogue, and so does everybody if it hangs.
    `told_to_stop` is asked at each step, beside `stop`.
    """

    def __init__(
        self, database: Database, settings: Settings, told_to_stop: Callable[[], bool] = lambda: False
    ) -> None:
        self._database = database
        self._locks = settings.locks
        self._place = place(settings.locks)
        self.name = f"{self._place}.{uuid.uuid4().hex}"
        self._lock = FileLock(self._path(self.name))
        self._valid_for = timedelta(seconds=settings.work.lease_seconds)
        self._told_to_stop = told_to_stop
        self._stopped = threading.Event()
        self._left = threading.Event()
        self._renewing = threading.Thread(target=self._renew_until_left, name="owner", daemon=True)

    def __enter__(self) -> "Owner":
        self._lock.acquire()
        try:
            self._renew()
        except BaseException:
            self._lock.release()
            raise
        self._renewing.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()
        self._renewing.join()
        try:
            with self._database.write() as session:
                owners.leave(session, self.name)
        except SQLAlchemyError as failure:  # its silence will tell the same
            logger.warning("the end of owner %s is not recorded: %s", self.name, failure)
        finally:
            self._path(self.name).unlink(missing_ok=True)
            self._lock.release()

    def living(self, session: Session) -> Callable[[str], bool]:
        """Tells whether the owner of a name lives, as `session` sees it."""
        return partial(self._lives, session)

    def stop(self) -> None:
        """Have the run end at its next step, from any thread; its job stays as it is."""
        self._stopped.set()

    def check(self) -> None:
        """Raises `JobStopped` once `stop` was called."""
        if self._stopped.is_set() or self._told_to_stop():
            raise JobStopped("this process stops; the job goes on when one that can run it starts")

    def _lives(self, session: Session, name: str) -> bool:
        """A dead one's lock file is removed."""
        is_of_here = name.partition(".")[0] == self._place
        if is_of_here and not alive(self._path(name)):
            self._path(name).unlink(missing_ok=True)
            return False
        return owners.is_heard_of(session, name)

    def _renew(self) -> None:
        with self._database.write() as session:
            owners.renew(session, self.name, self._valid_for)

    def _renew_until_left(self) -> None:
        while not self._left.wait(self._valid_for.total_seconds() / RENEWALS):
            try:
                self._renew()
            except SQLAlchemyError as error:
                logger.warning("owner %s could not be renewed, trying again: %s", self.name, error)

    def _path(self, name: str) -> Path:
        return self._locks / f"owner-{name}"
