"""The Celery `TaskQueue`: jobs are split into tasks that any `anyseek worker` runs.

The ledger, not the broker, records what is left to do: `resume` resubmits tasks that the broker has lost.
"""

import logging
from collections.abc import Sequence
from datetime import timedelta

from kombu.exceptions import OperationalError

from anyseek.indexer.paths import one_line
from anyseek.indexer.runs import Owner
from anyseek.search.catalogue import jobs, ledger
from anyseek.search.catalogue.jobs import Job, JobState
from anyseek.search.catalogue.session import Database
from anyseek.search.settings import Settings
from anyseek.search.telemetry import spans
from anyseek.workers.app import (
    EMBED,
    EMBED_TASK,
    END_TASK,
    INGEST,
    QUEUES,
    SCAN_TASK,
    SWITCH_TASK,
    Task,
    make_app,
    name_at_broker,
    waiting_messages,
)
from anyseek.workers.catalogue_jobs import record_wait
from anyseek.workers.queue import BrokerUnavailable, TaskQueue

logger = logging.getLogger(__name__)

# A task and its arguments.
Message = tuple[Task, tuple[object, ...]]


class CeleryQueue(TaskQueue):
    """Submits jobs to workers through a broker. Safe for threads and processes."""

    def __init__(self, database: Database, settings: Settings) -> None:
        super().__init__(database)
        self._settings = settings
        self._app = make_app(settings)

    def submit(self, job_id: int) -> None:
        """Submit a job; while the broker is unreachable it waits in the catalogue until `resume` submits it."""
        with self._database.write() as session:
            jobs.claim_submission(session, job_id, not_since=timedelta(0))
            job = jobs.get(session, job_id)
        try:
            self.send(self._due(job, queued=set()))
        except OperationalError as error:
            record_wait(self._database, job_id, error)

    def resume(self) -> list[int]:
        """Resubmit lost tasks of active jobs: those that no live owner works on and that are in no queue.

        A duplicate task finds nothing to do. While the broker is unreachable nothing is resubmitted.
        """
        with self._database.read() as session:
            active = jobs.list_active(session)
        try:
            queued = {queue for queue in (INGEST, EMBED) if active and waiting_messages(self._app, queue)}
            return [job.id for job in active if self._resume(job, queued)]
        except OperationalError as error:
            logger.warning("lost tasks could not be resubmitted: %s", error)
            return []

    def submit_end(self, job_id: int) -> None:
        """Submit the closing task of a job if all its inputs are settled; call this after settling inputs."""
        with self._database.read() as session:
            job = jobs.get(session, job_id)
            settled = job.state == JobState.RUNNING and not ledger.has_open(session, job_id)
        if settled:
            self.send([_end_message(job)])

    def send(self, messages: Sequence[Message]) -> None:
        """Send messages with the current span's trace headers. Raises kombu's `OperationalError` if it cannot."""
        headers = dict(spans.trace_headers())
        with self._app.producer_or_acquire() as producer:
            for task, arguments in messages:
                queue = name_at_broker(task.queue)
                self._app.send_task(task.name, arguments, queue=queue, producer=producer, headers=headers)

    def waiting_messages(self) -> dict[str, int]:
        errors = (OperationalError, OSError, *self._app.connection_for_write().connection_errors)
        try:
            return {queue: waiting_messages(self._app, queue) for queue in QUEUES}
        except errors as error:
            raise BrokerUnavailable(f"the broker cannot be reached: {one_line(str(error))}") from error

    def close(self) -> None:
        self._app.close()

    def _resume(self, job: Job, queued: set[str]) -> bool:
        messages = self._due(job, queued)
        if not messages:
            return False
        with self._database.write() as session:
            if not jobs.claim_submission(session, job.id, timedelta(seconds=self._settings.work.resubmit_seconds)):
                return False
        logger.info("job %d: %d tasks were resubmitted", job.id, len(messages))
        self.send(messages)
        return True

    def _due(self, job: Job, queued: set[str]) -> list[Message]:
        """The open tasks of a job without a live owner, except tasks of the non-empty queues `queued`."""
        with self._database.write() as session:
            is_alive = Owner(self._database, self._settings).liveness_check(session)
            if job.state == JobState.SCANNING:
                is_scanned = job.owner is not None and is_alive(job.owner)
                return [] if is_scanned or INGEST in queued else [(SCAN_TASK, (job.id,))]
            if job.state != JobState.RUNNING:
                return []
            if not ledger.has_open(session, job.id):
                return [_end_message(job)]
            if EMBED in queued:
                return []
            ledger.revoke_lost_leases(session, job.id, is_alive)
            spans = ledger.unclaimed_spans(session, job.id, self._settings.work.inputs_per_task)
        return [(EMBED_TASK, (job.id, span.first, span.last)) for span in spans]


def _end_message(job: Job) -> Message:
    return (SWITCH_TASK if job.kind in jobs.REEMBEDDING else END_TASK), (job.id,)
