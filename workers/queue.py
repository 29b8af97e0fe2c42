"""The TaskQueue seam: jobs handed to whatever runs them. Here: a thread of this process.

The other implementation is `workers.celery_queue`.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from indexer.errors import JobCancelled, JobStopped
from indexer.indexing import TRANSIENT, IndexRun, Tools, fitting_collection
from indexer.owner import Owner
from indexer.paths import from_uri, one_line
from indexer.progress import Silence
from indexer.reembed import ReembedRun
from indexer.reembed_batches import Means
from indexer.sources.opening import open_source
from search.catalogue import jobs
from search.catalogue.jobs import Job, JobState
from search.catalogue.session import Database
from search.errors import JobNotFound
from search.settings import Settings
from workers.troubles import record_trouble

logger = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0


class TaskQueue(Protocol):
    """Runs jobs that are in the catalogue. What it loses, by being killed, is still in the ledger."""

    def submit(self, job_id: int) -> None:
        """Have a job run soon. Raises `JobNotFound`. Harmless for one that runs or has ended."""
        ...

    def status(self, job_id: int) -> Job:
        """The job with its counts of now. Raises `JobNotFound`."""
        ...

    def cancel(self, job_id: int) -> Job:
        """Have an active job end soon, wherever it runs; what is done stays done. Raises `JobNotFound`."""
        ...

    def resume(self) -> list[int]:
        """Submit active jobs that nobody runs, such as those of a killed service; return their ids."""
        ...

    def close(self) -> None:
        """Let go; what this process runs ends at its next step, its jobs stay active and are resumed later."""
        ...


class CatalogueJobs:
    """What every queue answers from the catalogue alone."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def status(self, job_id: int) -> Job:
        """See `TaskQueue.status`."""
        with self._database.read() as session:
            return jobs.get_with_counts(session, job_id)

    def cancel(self, job_id: int) -> Job:
        """See `TaskQueue.cancel`."""
        with self._database.write() as session:
            jobs.get(session, job_id)
            jobs.give_up(session, job_id, JobState.CANCELLED, "cancelled")
            return jobs.get(session, job_id)


class InProcessQueue(CatalogueJobs):
    """Implements `TaskQueue` with one thread: jobs run one after the other."""

    def __init__(
        self, tools: Callable[[], Tools], database: Database, settings: Settings, means: Callable[[], Means]
    ) -> None:
        super().__init__(database)
        self._tools = tools
        self._means = means
        self._settings = settings
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="jobs")
        self._closing = threading.Event()

    def submit(self, job_id: int) -> None:
        with self._database.read() as session:
            jobs.get(session, job_id)
        self._pool.submit(self._run, job_id)

    def resume(self) -> list[int]:
        owner = Owner(self._database, self._settings)
        with self._database.read() as session:
            waiting = jobs.waiting(session, owner.living(session))
        for job_id in waiting:
            self.submit(job_id)
        return waiting

    def close(self) -> None:
        self._closing.set()
        self._pool.shutdown(cancel_futures=True)

    def _run(self, job_id: int) -> None:
        """Run a job to its end, however often the database restarts meanwhile; how it ended is in the catalogue."""
        pause = FIRST_PAUSE
        while not self._closing.is_set():
            try:
                with Owner(self._database, self._settings, self._closing.is_set) as owner:
                    self._run_as(owner, job_id)
            except (JobCancelled, JobStopped, JobNotFound) as error:
                logger.info("job %d: %s", job_id, error)
            except TRANSIENT as error:
                record_trouble(self._database, job_id, error)
                self._closing.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            except Exception as error:
                logger.exception("job %d failed", job_id)
                with self._database.write() as session:
                    jobs.give_up(session, job_id, JobState.FAILED, one_line(str(error)))
            return

    def _run_as(self, owner: Owner, job_id: int) -> None:
        with self._database.read() as session:
            job = jobs.get(session, job_id)
        if job.kind in jobs.REEMBEDDING:
            ReembedRun(self._means(), owner, Silence()).run(job)
        else:
            run_index_job(self._tools(), job_id, owner)


def run_index_job(tools: Tools, job_id: int, owner: Owner) -> Job:
    """Run the part of one process in an index job. Raises as `IndexRun.run` does."""
    with tools.database.read() as session:
        job = jobs.get(session, job_id)
    assert job.root is not None
    source = open_source(tools.settings, from_uri(job.root))
    return IndexRun(tools, fitting_collection(tools, job.collection), source, owner, Silence()).run(job)
