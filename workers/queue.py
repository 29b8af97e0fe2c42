"""The `TaskQueue` interface, to which jobs are submitted, and its in-process implementation.

The distributed implementation is `anyseek.workers.celery_queue`.
"""

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from anyseek.indexer.errors import JobCancelled, JobStopped
from anyseek.indexer.indexing import IndexRun
from anyseek.indexer.paths import from_uri
from anyseek.indexer.reembed import ReembedContext, ReembedRun
from anyseek.indexer.runs import TRANSIENT, IndexerContext, NoProgress, Owner, fail_job
from anyseek.indexer.sources.opening import open_source
from anyseek.search.actor import acting_as, current_actor
from anyseek.search.catalogue import jobs
from anyseek.search.errors import AnyseekError, JobNotFound
from anyseek.search.telemetry import spans
from anyseek.workers.catalogue_jobs import CatalogueJobs, record_wait

logger = logging.getLogger(__name__)


class BrokerUnavailable(AnyseekError):
    code = "broker-unavailable"


FIRST_PAUSE, MAX_PAUSE = 1.0, 60.0


class TaskQueue(CatalogueJobs, ABC):
    """Runs jobs of the catalogue. A crash loses no work, because the ledger records the open inputs."""

    @abstractmethod
    def submit(self, job_id: int) -> None:
        """Submit a job; a no-op if it is running or has ended. Raises `JobNotFound`."""

    @abstractmethod
    def resume(self) -> list[int]:
        """Resubmit active jobs without a live owner, for example after a crash; return their ids."""

    @abstractmethod
    def waiting_messages(self) -> dict[str, int] | None:
        """Number of waiting messages by queue; None without a broker. Raises `BrokerUnavailable`."""

    @abstractmethod
    def close(self) -> None:
        """Close the queue. Jobs running in this process stop at their next step, stay active and can be resumed."""


class InProcessQueue(TaskQueue):
    """Runs jobs one after the other in a background thread."""

    def __init__(self, load_context: Callable[[], IndexerContext], reembed_context: ReembedContext) -> None:
        super().__init__(reembed_context.database)
        self._load_context = load_context
        self._reembed_context = reembed_context
        self._settings = reembed_context.settings
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="jobs")
        self._closing = threading.Event()

    def submit(self, job_id: int) -> None:
        with self._database.read() as session:
            jobs.get(session, job_id)
        self._pool.submit(self._run, job_id, spans.trace_headers())

    def resume(self) -> list[int]:
        owner = Owner(self._database, self._settings)
        with self._database.read() as session:
            job_ids = jobs.list_unowned(session, owner.liveness_check(session))
        for job_id in job_ids:
            self.submit(job_id)
        return job_ids

    def waiting_messages(self) -> None:
        return None

    def close(self) -> None:
        self._closing.set()
        self._pool.shutdown(cancel_futures=True)

    def _run(self, job_id: int, headers: spans.TraceHeaders) -> None:
        """Run a job to its end, retrying after transient errors; the result is in the catalogue."""
        with spans.task_span("job", headers):
            spans.set_attribute("anyseek.job", job_id)
            self._run_with_retries(job_id)

    def _run_with_retries(self, job_id: int) -> None:
        pause = FIRST_PAUSE
        while not self._closing.is_set():
            try:
                actor = acting_as(replace(current_actor(), job=job_id))
                with actor, Owner(self._database, self._settings, self._closing.is_set) as owner:
                    self._run_as(owner, job_id)
            except (JobCancelled, JobStopped, JobNotFound) as error:
                logger.info("job %d: %s", job_id, error)
            except TRANSIENT as error:
                record_wait(self._database, job_id, error)
                self._closing.wait(pause)
                pause = min(2 * pause, MAX_PAUSE)
                continue
            except Exception as error:
                logger.exception("job %d failed", job_id)
                fail_job(self._database, job_id, error)
            return

    def _run_as(self, owner: Owner, job_id: int) -> None:
        with self._database.read() as session:
            job = jobs.get(session, job_id)
        if job.kind in jobs.REEMBEDDING:
            ReembedRun(self._reembed_context, owner, NoProgress()).run(job)
        else:
            assert job.root is not None
            source = open_source(self._settings, from_uri(job.root))
            IndexRun(self._load_context, source, owner, NoProgress()).run(job)
