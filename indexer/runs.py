"""A run: one process's part in a job, while the process lives and reports that it does."""

import logging
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from sqlalchemy.exc import InterfaceError, InternalError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from anyseek.indexer.errors import JobCancelled, JobStopped
from anyseek.indexer.paths import one_line
from anyseek.model.files import FileLock, alive
from anyseek.model.seam import Embedder
from anyseek.search.assets import AssetStore
from anyseek.search.catalogue import jobs, leases
from anyseek.search.catalogue.failures import error_message
from anyseek.search.catalogue.jobs import Job, JobState
from anyseek.search.catalogue.leases import place
from anyseek.search.catalogue.ledger import Span
from anyseek.search.catalogue.session import Database
from anyseek.search.engine import SearchEngine
from anyseek.search.settings import Settings

logger = logging.getLogger(__name__)

RENEWALS = 4  # in the time after which a silent owner counts as dead
POLL_SECONDS = 0.2
# Errors that are not the job's fault and may pass: the database restarts, the disk is full, this process was silent for
# too long. An error of a file of the source is an `InputError`.
TRANSIENT = (OperationalError, InterfaceError, InternalError, OSError)


@dataclass(frozen=True)
class Stores:
    """Where items are kept, and how they are made: what is there before a model is loaded."""

    settings: Settings
    database: Database
    assets: AssetStore


@dataclass(frozen=True)
class Tools(Stores):
    """Everything needed to make an item."""

    embedder: Embedder
    engine: SearchEngine


class Progress(Protocol):
    """Receives the progress of a job, in the thread that runs it."""

    def scanned(self, inputs: int) -> None:
        """Called when more inputs were found, with their number."""

    def started(self, inputs: int) -> None:
        """Called when the scan is complete, with the number of waiting inputs."""

    def settled(self, inputs: int) -> None:
        """Called when more inputs are done or quarantined, with their number."""


class SilentProgress:
    """Implements `Progress` for jobs that nobody watches from here: the catalogue has their counts."""

    def scanned(self, inputs: int) -> None: ...
    def started(self, inputs: int) -> None: ...
    def settled(self, inputs: int) -> None: ...


class Owner:
    """A name that others can check: it is dead as soon as its process is gone, or once it was silent for too long.

    The kernel drops its lock when the process ends, however it ends, which others on this machine see at once. Those
    on other machines see that it no longer renews its life in the catalogue, and so does everybody if it hangs.
    `told_to_stop` is asked at each step, beside `stop`. What the run does is written to the same `database`.
    """

    def __init__(
        self, database: Database, settings: Settings, told_to_stop: Callable[[], bool] = lambda: False
    ) -> None:
        self.database = database
        self.settings = settings
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

    def __exit__(self, *error: object) -> None:
        self._left.set()
        self._renewing.join()
        try:
            with self.database.write() as session:
                leases.leave(session, self.name)
        except SQLAlchemyError as failure:  # it then expires by itself
            logger.warning("the end of owner %s could not be recorded: %s", self.name, error_message(failure))
        finally:
            self._path(self.name).unlink(missing_ok=True)
            self._lock.release()

    def living(self, session: Session) -> Callable[[str], bool]:
        """Tells whether the owner of a name lives, as `session` sees it."""

        def lives(name: str) -> bool:
            is_of_here = name.partition(".")[0] == self._place
            if is_of_here and not alive(self._path(name)):
                self._path(name).unlink(missing_ok=True)  # the lock file of a dead one
                return False
            return leases.is_heard_of(session, name)

        return lives

    def stop(self) -> None:
        """Have the run end at its next step, from any thread; its job stays as it is."""
        self._stopped.set()

    def check(self) -> None:
        """Raises `JobStopped` once `stop` was called."""
        if self._stopped.is_set() or self._told_to_stop():
            raise JobStopped("this process is stopping; the job goes on when another process that can run it starts")

    def _renew(self) -> None:
        with self.database.write() as session:
            leases.renew(session, self.name, self._valid_for)

    def _renew_until_left(self) -> None:
        while not self._left.wait(self._valid_for.total_seconds() / RENEWALS):
            try:
                self._renew()
            except SQLAlchemyError as error:
                logger.warning("owner %s could not be renewed, trying again: %s", self.name, error_message(error))

    def _path(self, name: str) -> Path:
        return self._locks / f"owner-{name}"


class JobRun(ABC):
    """One process's part in a job: `run` takes its steps in a loop, workers take each as a task (`workers.tasks`).

    Any number of processes may run the same job: one scans, all lease inputs from its ledger, the last one ends it.
    """

    def __init__(self, owner: Owner, progress: Progress) -> None:
        self._database = owner.database
        self._owner = owner
        self._progress = progress

    def run(self, job: Job) -> Job:
        """Work until the job has ended, and return the ended job.

        Raises `JobCancelled` if somebody cancels it, `JobDeleted` if somebody deletes its collection, `JobStopped` if
        its owner is told to stop, and the errors in `TRANSIENT`: another run can continue from there. After any other
        error the job has failed.
        """
        try:
            while job.active:
                self._owner.check()
                if not self._step(job):
                    time.sleep(POLL_SECONDS)
                job = self._now(job)
            check_not_cancelled(job)
        except (JobCancelled, JobStopped, *TRANSIENT):
            raise
        except Exception as error:
            self._now(job)  # where it has been deleted, that is why
            fail_job(self._database, job.id, error)
            raise
        return job

    def scan(self, job: Job) -> bool:
        """List the job's inputs in its ledger, after which they may be leased.

        False if another living process is scanning. Raises `JobStopped`, `JobNotFound`, and what listing raises.
        """
        if job.owner != self._owner.name:
            with self._database.write() as session:
                jobs.reread(session, job)
                if not jobs.adopt(session, job.id, self._owner.name, self._owner.living(session)):
                    return False
        self._list(job)
        return True

    @abstractmethod
    def work(self, job: Job, span: Span | None = None) -> None:
        """Settle the job's inputs, or those of `span` of its ledger, until none can be leased.

        Raises as `Pipeline.work` does.
        """

    @abstractmethod
    def end(self, job: Job) -> bool:
        """Close the job once all its inputs are settled; false while other processes hold some."""

    @abstractmethod
    def _list(self, job: Job) -> None:
        """List the inputs of a job that this run owns, and start it."""

    def _step(self, job: Job) -> bool:
        """Take the next step of the job; false if another process has to do something first."""
        if job.state == JobState.SCANNING:
            return self.scan(job)
        self.work(job)
        return self.end(job)

    def _now(self, job: Job) -> Job:
        with self._database.read() as session:
            return jobs.reread(session, job)


def fail_job(database: Database, job_id: int, error: Exception) -> None:
    """Mark a job as failed after an error of its own, unless it has ended."""
    with database.write() as session:
        jobs.give_up(session, job_id, JobState.FAILED, one_line(error_message(error)))


def check_not_cancelled(job: Job) -> None:
    """Raises `JobCancelled`."""
    if job.state == JobState.CANCELLED:
        is_of_items = job.kind in jobs.REEMBEDDING
        then = f"the collection {job.collection} is unchanged" if is_of_items else "index the folder again to go on"
        raise JobCancelled(f"job {job.id} was cancelled; {then}")
