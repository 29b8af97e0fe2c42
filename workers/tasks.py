"""What one process of a worker does: the steps of a job, each as a task that any process may get, again, or too late.

The ledger decides what is left to do, so a task looks there first, and one that was cut short is simply sent back.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from celery.exceptions import Reject
from kombu.exceptions import OperationalError as BrokerError

from indexer.errors import JobCancelled, JobStopped
from indexer.indexing import TRANSIENT, IndexRun, Tools, end, fitting_collection
from indexer.owner import Owner
from indexer.paths import from_uri, one_line
from indexer.progress import Silence
from indexer.reembed import ReembedRun
from indexer.scanning import scan
from indexer.sources.base import Source
from indexer.sources.opening import open_source
from model.embedder import Sample
from search.catalogue import collections, jobs
from search.catalogue.jobs import Job, JobState
from search.catalogue.ledger import Span
from search.errors import CollectionNotFound, JobNotFound
from search.settings import Settings
from workers.app import SNAPSHOT_TASK
from workers.celery_queue import CeleryQueue
from workers.runtime import Runtime
from workers.troubles import record_trouble

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 2.0  # before what could not be done now is sent back


class Tasks:
    """The tasks of one process, which does one at a time. Arguments are those of the messages (`workers.app`)."""

    def __init__(self, settings: Settings, told_to_stop: Callable[[], bool]) -> None:
        self._settings = settings
        self._told_to_stop = told_to_stop
        self._runtime = Runtime.open(settings, None)
        self._queue = CeleryQueue(self._runtime.database, settings)
        self._source: tuple[int, Source] | None = None

    def load_model(self) -> None:
        """Load the model and have it embed something. Raises `ModelError`."""
        embedder = self._runtime.embedder
        embedder.embed([Sample({"caption": "a picture"})], list(embedder.spaces))

    def scan(self, job_id: int) -> None:
        with self._troubles_sent_back(job_id), self._owner() as owner:
            job = self._job(job_id)
            self._source = None  # what is said of the inputs may have changed since
            if job.state != JobState.SCANNING or not self._scan(job, owner):
                return
            with self._runtime.database.write() as session:
                jobs.release(session, job_id, owner.name)
            logger.info("scanned", extra={"fields": {"job": job_id}})
            self._queue.submit(job_id)

    def embed(self, job_id: int, first: int, last: int) -> None:
        with self._troubles_sent_back(job_id), self._owner(self._settings.work.task_seconds / 2) as owner:
            job = self._job(job_id)
            if job.state != JobState.RUNNING:
                return
            self._work(job, Span(first, last), owner)
            logger.info("embedded", extra={"fields": {"job": job_id, "first": first, "last": last}})
            self._queue.submit_end(job_id)

    def end(self, job_id: int) -> None:
        with self._troubles_sent_back(job_id):
            job = self._job(job_id)
            if job.state != JobState.RUNNING:
                return
            with self._runtime.database.read() as session:
                collection = collections.get(session, job.collection)
            if end(self._runtime.database, job, self._source_of(job), collection):
                logger.info("ended", extra={"fields": {"job": job_id}})
                self._queue.send([(SNAPSHOT_TASK, (job.collection,))])

    def switch(self, job_id: int) -> None:
        with self._troubles_sent_back(job_id), self._owner() as owner:
            job = self._job(job_id)
            if job.state != JobState.RUNNING:
                return
            self._reembedding(owner).finish(job)
            if self._job(job_id).active:
                self._queue.submit(job_id)  # items that came meanwhile are listed
            else:
                logger.info("ended", extra={"fields": {"job": job_id}})
                self._queue.send([(SNAPSHOT_TASK, (job.collection,))])

    def snapshot(self, collection: str) -> None:
        try:
            self._runtime.write_snapshots(collection)
        except CollectionNotFound as error:
            logger.info("no snapshot: %s", error)
        except TRANSIENT as error:
            logger.warning("no snapshot of %s yet: %s", collection, error)
            time.sleep(PAUSE_SECONDS)
            raise Reject(str(error), requeue=True) from error

    def resubmit(self) -> None:
        try:
            self._queue.resume()
        except (JobNotFound, *TRANSIENT) as error:  # one was deleted meanwhile, or what may pass: the next look sees
            logger.warning("lost tasks could not be looked for: %s", error)

    def _work(self, job: Job, span: Span, owner: Owner) -> None:
        if job.kind in jobs.REEMBEDDING:
            self._reembedding(owner).work(job, span)
            return
        with self._runtime.database.read() as session:
            model = collections.get(session, job.collection).model
        tools = self._with_model(model)
        collection = fitting_collection(tools, job.collection)
        IndexRun(tools, collection, self._source_of(job), owner, Silence()).work(job, span)

    def _scan(self, job: Job, owner: Owner) -> bool:
        if job.kind in jobs.REEMBEDDING:
            return self._reembedding(owner).scan(job)
        return scan(self._runtime.database, job, self._source_of(job), owner, Silence())

    def _reembedding(self, owner: Owner) -> ReembedRun:
        return ReembedRun(replace(self._runtime.reembedding(), load=self._with_model), owner, Silence())

    def _job(self, job_id: int) -> Job:
        with self._runtime.database.read() as session:
            return jobs.get(session, job_id)

    def _owner(self, seconds: float = float("inf")) -> Owner:
        """An owner that stops when this process is told to, or after `seconds`: the rest of its task is sent back."""
        ends = time.monotonic() + seconds
        return Owner(self._runtime.database, self._settings, lambda: self._told_to_stop() or time.monotonic() > ends)

    def _source_of(self, job: Job) -> Source:
        """Kept from task to task: opening one reads its whole manifest."""
        if self._source is None or self._source[0] != job.id:
            assert job.root is not None
            self._source = job.id, open_source(self._settings, from_uri(job.root))
        return self._source[1]

    def _with_model(self, model: str) -> Tools:
        """One model at a time is held."""
        if model != self._runtime.model:
            logger.info("the model %s is needed", model)
            self._runtime.use_model(model)
        return self._runtime.tools()

    @contextmanager
    def _troubles_sent_back(self, job_id: int) -> Iterator[None]:
        """What may pass sends the task back to its queue, what is the job's own fault fails the job."""
        try:
            yield
        except (JobCancelled, JobNotFound, CollectionNotFound) as error:
            logger.info("job %d: %s", job_id, error)
        except JobStopped as error:
            raise Reject(str(error), requeue=True) from error
        except (BrokerError, *TRANSIENT) as error:
            record_trouble(self._runtime.database, job_id, error)
            time.sleep(PAUSE_SECONDS)
            raise Reject(str(error), requeue=True) from error
        except Exception as error:
            logger.exception("job %d failed", job_id)
            with self._runtime.database.write() as session:
                jobs.give_up(session, job_id, JobState.FAILED, one_line(str(error)))
