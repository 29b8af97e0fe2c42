"""The TaskQueue seam: jobs handed to whatever runs them. Here: a thread of this process."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from indexer.errors import JobCancelled, JobStopped
from indexer.indexing import IndexRun, Tools, open_collection, open_source
from indexer.owner import Owner
from indexer.paths import from_uri
from search.catalogue import jobs
from search.catalogue.jobs import Job, JobState
from search.catalogue.session import Database
from search.settings import Settings

logger = logging.getLogger(__name__)


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
        """Stop at the next step; jobs stay active and are resumed later."""
        ...


class InProcessQueue:
    """Implements `TaskQueue` with one thread: jobs run one after the other."""

    def __init__(self, tools: Callable[[], Tools], database: Database, settings: Settings) -> None:
        self._tools = tools
        self._database = database
        self._settings = settings
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="jobs")
        self._lock = threading.Lock()
        self._closed = False
        self._owner: Owner | None = None

    def submit(self, job_id: int) -> None:
        with self._database.read() as session:
            jobs.get(session, job_id)
        self._pool.submit(self._run, job_id)

    def status(self, job_id: int) -> Job:
        with self._database.read() as session:
            return jobs.get_with_counts(session, job_id)

    def cancel(self, job_id: int) -> Job:
        with self._database.write() as session:
            jobs.get(session, job_id)
            jobs.give_up(session, job_id, JobState.CANCELLED, "cancelled")
            return jobs.get(session, job_id)

    def resume(self) -> list[int]:
        with self._database.read() as session:
            waiting = jobs.waiting(session, Owner(self._settings.locks).is_alive)
        for job_id in waiting:
            self.submit(job_id)
        return waiting

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._owner:
                self._owner.stop()
        self._pool.shutdown(cancel_futures=True)

    def _run(self, job_id: int) -> None:
        """Run a job to its end; how it ended is in the catalogue."""
        try:
            with Owner(self._settings.locks) as owner:
                with self._lock:
                    self._owner = owner
                    if self._closed:
                        return
                run_index_job(self._tools(), job_id, owner)
        except (JobCancelled, JobStopped) as error:
            logger.info("job %d: %s", job_id, error)
        except Exception as error:
            logger.exception("job %d failed", job_id)
            with self._database.write() as session:
                jobs.give_up(session, job_id, JobState.FAILED, str(error))


class Silence:
    """Implements `indexer.indexing.Progress` for jobs that nobody watches: the catalogue has their counts."""

    def scanned(self, inputs: int) -> None: ...

    def started(self, inputs: int) -> None: ...

    def settled(self, inputs: int) -> None: ...


def run_index_job(tools: Tools, job_id: int, owner: Owner) -> Job:
    """Run the part of one process in an index job. Raises as `IndexRun.run` does."""
    with tools.database.read() as session:
        job = jobs.get(session, job_id)
    assert job.root is not None
    source = open_source(tools.settings, Path(from_uri(job.root)))
    return IndexRun(tools, open_collection(tools, job.collection), source, owner, Silence()).run(job)
