"""Job runs: the work of one process on a job, under an owner whose liveness others can check."""

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
from anyseek.model.files import FileLock, is_locked
from anyseek.model.seam import Embedder
from anyseek.search.assets.base import AssetStore
from anyseek.search.catalogue import jobs, leases
from anyseek.search.catalogue.failures import error_message
from anyseek.search.catalogue.jobs import Job, JobState
from anyseek.search.catalogue.leases import place
from anyseek.search.catalogue.ledger import Span
from anyseek.search.catalogue.session import Database
from anyseek.search.engine import SearchEngine
from anyseek.search.settings import Settings

logger = logging.getLogger(__name__)

RENEWALS = 4  # per lease; an owner that stops renewing counts as dead when it expires
POLL_SECONDS = 0.2
# Transient errors that are not the job's fault: the database restarts, the disk is full, this process hung. An error of
# a source's file is an `InputError` instead.
TRANSIENT = (OperationalError, InterfaceError, InternalError, OSError)


@dataclass(frozen=True)
class Stores:
    """The settings and stores of items, which are available before a model is loaded."""

    settings: Settings
    database: Database
    assets: AssetStore


@dataclass(frozen=True)
class IndexerContext(Stores):
    """The dependencies for making an item: stores, model and engine."""

    embedder: Embedder
    engine: SearchEngine


class Progress(Protocol):
    """Receives the progress of a job, in the thread that runs it."""

    def scanned(self, inputs: int) -> None:
        """More inputs were listed."""

    def started(self, inputs: int) -> None:
        """The scan is complete; `inputs` are pending."""

    def settled(self, inputs: int) -> None:
        """More inputs are done or quarantined."""


class NoProgress:
    """A `Progress` that ignores all calls; the catalogue has the job's counts."""

    def scanned(self, inputs: int) -> None: ...
    def started(self, inputs: int) -> None: ...
    def settled(self, inputs: int) -> None: ...


class Owner:
    """The identity of a run, under which it leases inputs; a file lock and a lease in the catalogue prove its liveness.

    The kernel releases the lock when the process ends, which other processes on this host see at once. Processes on
    other hosts see that the lease expires, as it also does if the process hangs.
    `should_stop` is polled at each step, in addition to `stop`. The run writes to the same `database`.
    """

    def __init__(self, database: Database, settings: Settings, should_stop: Callable[[], bool] = lambda: False) -> None:
        self.database = database
        self.settings = settings
        self._locks = settings.locks
        self._host = place(settings.locks)
        self.name = f"{self._host}.{uuid.uuid4().hex}"
        self._lock = FileLock(self._path(self.name))
        self._valid_for = timedelta(seconds=settings.work.lease_seconds)
        self._should_stop = should_stop
        self._stopped = threading.Event()
        self._closed = threading.Event()
        self._renewal = threading.Thread(target=self._renew_until_closed, name="owner", daemon=True)

    def __enter__(self) -> "Owner":
        self._lock.acquire()
        try:
            self._renew()
        except BaseException:
            self._lock.release()
            raise
        self._renewal.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closed.set()
        self._renewal.join()
        try:
            with self.database.write() as session:
                leases.unregister(session, self.name)
        except SQLAlchemyError as failure:  # its lease then expires
            logger.warning("the end of owner %s could not be recorded: %s", self.name, error_message(failure))
        finally:
            self._path(self.name).unlink(missing_ok=True)
            self._lock.release()

    def liveness_check(self, session: Session) -> Callable[[str], bool]:
        """A predicate for whether the owner with a name is alive, as seen by `session`."""

        def is_alive(name: str) -> bool:
            is_local = name.partition(".")[0] == self._host
            if is_local and not is_locked(self._path(name)):
                self._path(name).unlink(missing_ok=True)  # a stale lock file
                return False
            return leases.is_registered(session, name)

        return is_alive

    def stop(self) -> None:
        """End the run at its next step; its job stays active. Thread-safe."""
        self._stopped.set()

    def check(self) -> None:
        """Raises `JobStopped` if the run should stop."""
        if self._stopped.is_set() or self._should_stop():
            raise JobStopped("this process is stopping; the job goes on when another process that can run it starts")

    def _renew(self) -> None:
        with self.database.write() as session:
            leases.renew(session, self.name, self._valid_for)

    def _renew_until_closed(self) -> None:
        while not self._closed.wait(self._valid_for.total_seconds() / RENEWALS):
            try:
                self._renew()
            except SQLAlchemyError as error:
                logger.warning("owner %s could not be renewed, trying again: %s", self.name, error_message(error))

    def _path(self, name: str) -> Path:
        return self._locks / f"owner-{name}"


class JobRun(ABC):
    """The work of one process on a job: `run` executes its steps in a loop, workers execute each as a task.

    Any number of processes may run the same job: one scans, all lease inputs from the ledger, the last one ends it.
    """

    def __init__(self, owner: Owner, progress: Progress) -> None:
        self._database = owner.database
        self._owner = owner
        self._progress = progress

    def run(self, job: Job) -> Job:
        """Run the job until it has ended, and return it.

        Raises `JobCancelled` if it is cancelled, `JobDeleted` if its collection is deleted, `JobStopped` if its owner
        should stop, and the errors in `TRANSIENT`: then another run can continue. Any other error fails the job.
        """
        try:
            while job.active:
                self._owner.check()
                if not self._step(job):
                    time.sleep(POLL_SECONDS)
                job = self._reread(job)
            check_not_cancelled(job)
        except (JobCancelled, JobStopped, *TRANSIENT):
            raise
        except Exception as error:
            self._reread(job)  # raises `JobDeleted` if that is the cause
            fail_job(self._database, job.id, error)
            raise
        return job

    def scan(self, job: Job) -> bool:
        """List the job's inputs in its ledger and start the job, so that they can be leased.

        False if another live process is scanning. Raises `JobStopped`, `JobNotFound`, and what listing raises.
        """
        if job.owner != self._owner.name:
            with self._database.write() as session:
                jobs.reload(session, job)
                if not jobs.adopt(session, job.id, self._owner.name, self._owner.liveness_check(session)):
                    return False
        self._list_inputs(job)
        return True

    @abstractmethod
    def work(self, job: Job, span: Span | None = None) -> None:
        """Settle the job's inputs, or those of `span`, until none can be leased.

        Raises as `Pipeline.work` does.
        """

    @abstractmethod
    def end(self, job: Job) -> bool:
        """Close the job if all its inputs are settled; false while other processes have leases."""

    @abstractmethod
    def _list_inputs(self, job: Job) -> None:
        """List the inputs of a job that this run owns, and start it."""

    def _step(self, job: Job) -> bool:
        """Execute the next step of the job; false if it has to wait for another process."""
        if job.state == JobState.SCANNING:
            return self.scan(job)
        self.work(job)
        return self.end(job)

    def _reread(self, job: Job) -> Job:
        with self._database.read() as session:
            return jobs.reload(session, job)


def fail_job(database: Database, job_id: int, error: Exception) -> None:
    """Mark a job as failed because of `error`, unless it has ended."""
    with database.write() as session:
        jobs.end_unfinished(session, job_id, JobState.FAILED, one_line(error_message(error)))


def check_not_cancelled(job: Job) -> None:
    """Raises `JobCancelled`."""
    if job.state == JobState.CANCELLED:
        is_reembedding = job.kind in jobs.REEMBEDDING
        hint = f"the collection {job.collection} is unchanged" if is_reembedding else "index the folder again to go on"
        raise JobCancelled(f"job {job.id} was cancelled; {hint}")
