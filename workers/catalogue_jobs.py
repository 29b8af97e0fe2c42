"""Status and cancellation of jobs in the catalogue, without the slow imports of queues and job execution."""

import logging

from sqlalchemy.exc import SQLAlchemyError

from anyseek.indexer.paths import one_line
from anyseek.search.catalogue import audit, jobs
from anyseek.search.catalogue.failures import error_message
from anyseek.search.catalogue.jobs import Job, JobState
from anyseek.search.catalogue.session import Database


class CatalogueJobs:
    """Job operations that only need the catalogue; the base of all task queues."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def status(self, job_id: int) -> Job:
        """The job with its current counts. Raises `JobNotFound`."""
        with self._database.read() as session:
            return jobs.get_with_counts(session, job_id)

    def cancel(self, job_id: int) -> Job:
        """Cancel an active job, wherever it runs; finished inputs are kept. Raises `JobNotFound`."""
        with self._database.write() as session:
            jobs.get(session, job_id)
            if jobs.end_unfinished(session, job_id, JobState.CANCELLED, "cancelled"):
                audit.record(session, "job.cancel", jobs.get(session, job_id).collection, job_id)
            return jobs.get(session, job_id)


logger = logging.getLogger(__name__)


def record_wait(database: Database, job_id: int, error: Exception) -> None:
    """Record why a job waits, for `anyseek jobs show`; if the database is unreachable, only the log has it."""
    logger.warning("job %d is waiting and will be retried: %s", job_id, error_message(error))
    try:
        with database.write() as session:
            jobs.set_note(session, job_id, f"waits: {one_line(error_message(error))}"[:500])
    except SQLAlchemyError as failure:
        logger.warning("job %d: the reason for its wait could not be recorded: %s", job_id, error_message(failure))
