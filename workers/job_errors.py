"""Errors that delay a job but may pass: a restarting database, a full disk, an unreachable broker."""

import logging

from sqlalchemy.exc import SQLAlchemyError

from anyseek.indexer.paths import one_line
from anyseek.search.catalogue import jobs
from anyseek.search.catalogue.session import Database

logger = logging.getLogger(__name__)


def record_wait(database: Database, job_id: int, error: Exception) -> None:
    """Record what the job waits for, for `anyseek jobs show`; if it waits for the database, only the log has it."""
    logger.warning("job %d is waiting and will be tried again: %s", job_id, error)
    try:
        with database.write() as session:
            jobs.note(session, job_id, f"waits: {one_line(str(error))}"[:500])
    except SQLAlchemyError as failure:
        logger.warning("job %d: what it waits for is not recorded: %s", job_id, failure)
