"""The tasks of a worker process: the steps of a job. Tasks may be delivered to any process, repeatedly or late.

The ledger decides what is left to do, so each task checks it first, and an interrupted task is simply requeued.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from celery.exceptions import Reject
from kombu.exceptions import OperationalError as BrokerError

from anyseek.indexer.errors import JobCancelled, JobStopped
from anyseek.indexer.indexing import IndexRun
from anyseek.indexer.paths import from_uri
from anyseek.indexer.reembed import ReembedRun
from anyseek.indexer.runs import TRANSIENT, IndexerContext, JobRun, NoProgress, Owner, fail_job
from anyseek.indexer.sources.base import Source
from anyseek.indexer.sources.opening import open_source
from anyseek.model.seam import Sample
from anyseek.search.actor import acting_as, current_actor
from anyseek.search.catalogue import collections, jobs
from anyseek.search.catalogue.failures import error_message
from anyseek.search.catalogue.jobs import Job, JobState
from anyseek.search.catalogue.ledger import Span
from anyseek.search.errors import CollectionNotFound, JobNotFound
from anyseek.search.settings import Settings
from anyseek.search.telemetry import spans
from anyseek.workers.app import SNAPSHOT_TASK
from anyseek.workers.catalogue_jobs import record_wait
from anyseek.workers.celery_queue import CeleryQueue
from anyseek.workers.metrics import measure_task
from anyseek.workers.runtime import Runtime

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 2.0  # before a task is requeued after a transient error


class Tasks:
    """The tasks of one process, run one at a time. Their arguments are described in `workers.app`."""

    def __init__(self, settings: Settings, should_stop: Callable[[], bool]) -> None:
        self._settings = settings
        self._should_stop = should_stop
        self._runtime = Runtime.open(settings, None)
        self._queue = CeleryQueue(self._runtime.database, settings)
        self._source: tuple[int, Source] | None = None

    def load_model(self) -> None:
        """Load the model and warm it up with one sample. Raises `ModelError`."""
        embedder = self._runtime.embedder
        embedder.embed([Sample({"caption": "a picture"})], list(embedder.spaces))

    @measure_task("scan")
    def scan(self, job_id: int) -> None:
        with self._handle_errors(job_id), self._owner() as owner:
            job = self._job(job_id)
            self._source = None  # descriptions of the inputs may have changed since
            if job.state != JobState.SCANNING or not self._run(job, owner).scan(job):
                return
            with self._runtime.database.write() as session:
                jobs.release(session, job_id, owner.name)
            logger.info("scanned", extra={"fields": {"job": job_id}})
            self._queue.submit(job_id)

    @measure_task("embed")
    def embed(self, job_id: int, first: int, last: int) -> None:
        with self._handle_errors(job_id), self._owner(self._settings.work.task_seconds / 2) as owner:
            job = self._job(job_id)
            if job.state != JobState.RUNNING:
                return
            self._run(job, owner).work(job, Span(first, last))
            logger.info("embedded", extra={"fields": {"job": job_id, "first": first, "last": last}})
            self._queue.submit_end(job_id)

    @measure_task("end")
    def end(self, job_id: int) -> None:
        with self._handle_errors(job_id), self._owner() as owner:
            job = self._job(job_id)
            if job.state != JobState.RUNNING:
                return
            self._run(job, owner).end(job)
            ended = self._job(job_id)
            if not ended.active:
                logger.info("ended", extra={"fields": {"job": job_id}})
                self._queue.send([(SNAPSHOT_TASK, (job.collection,))])
            elif job.kind in jobs.REEMBEDDING:
                self._queue.submit(job_id)  # lists items that were added in the meantime

    @measure_task("snapshot")
    def snapshot(self, collection: str, *_: int) -> None:  # messages of older versions may name a job, too
        try:
            self._runtime.write_snapshots(collection)
        except CollectionNotFound as error:
            logger.info("no snapshot: %s", error)
        except TRANSIENT as error:
            logger.warning("no snapshot of %s yet: %s", collection, error_message(error))
            time.sleep(PAUSE_SECONDS)
            raise Reject(error_message(error), requeue=True) from error

    @measure_task("resubmit")
    def resubmit(self) -> None:
        try:
            self._queue.resume()
        except (JobNotFound, *TRANSIENT) as error:  # a deleted job or a transient error; the next run retries
            logger.warning("lost tasks could not be resubmitted: %s", error_message(error))

    def _run(self, job: Job, owner: Owner) -> JobRun:
        if job.kind in jobs.REEMBEDDING:
            return ReembedRun(replace(self._runtime.reembed_context, load=self._with_model), owner, NoProgress())
        if self._source is None or self._source[0] != job.id:  # cached: opening a source reads its whole manifest
            assert job.root is not None
            self._source = job.id, open_source(self._settings, from_uri(job.root))
        return IndexRun(lambda: self._with_model_of(job), self._source[1], owner, NoProgress())

    def _job(self, job_id: int) -> Job:
        with self._runtime.database.read() as session:
            return jobs.get(session, job_id)

    def _owner(self, seconds: float = float("inf")) -> Owner:
        """An owner that stops after `seconds` or with this process; the rest of its task is then requeued."""
        ends = time.monotonic() + seconds
        return Owner(self._runtime.database, self._settings, lambda: self._should_stop() or time.monotonic() > ends)

    def _with_model(self, model: str) -> IndexerContext:
        """The context with `model`; only one model is loaded at a time."""
        if model != self._runtime.model:
            logger.info("this task needs the model %s", model)
            self._runtime.use_model(model)
        return self._runtime.context()

    def _with_model_of(self, job: Job) -> IndexerContext:
        with self._runtime.database.read() as session:
            model = collections.get(session, job.collection).model
        return self._with_model(model)

    @contextmanager
    def _handle_errors(self, job_id: int) -> Iterator[None]:
        """Requeue the task after a transient error, and fail the job after any other."""
        spans.set_attribute("anyseek.job", job_id)
        try:
            with acting_as(replace(current_actor(), job=job_id)):
                yield
        except (JobCancelled, JobNotFound, CollectionNotFound) as error:
            logger.info("job %d: %s", job_id, error)
        except JobStopped as error:
            raise Reject(error_message(error), requeue=True) from error
        except (BrokerError, *TRANSIENT) as error:
            record_wait(self._runtime.database, job_id, error)
            time.sleep(PAUSE_SECONDS)
            raise Reject(error_message(error), requeue=True) from error
        except Exception as error:
            logger.exception("job %d failed", job_id)
            fail_job(self._runtime.database, job_id, error)
