"""What holds a job up for now: a database that restarts, a full disk, a broker that is away."""

import logging

from sqlalchemy.exc import SQLAlchemyError

from indexer.paths import one_line
from search.catalogue import jobs
from search.catalogue.session import Database

logger = logging.getLogger(__name__)


def record_trouble(database: Database, job_id: int, error: Exception) -> None:
    """Have `anyseek jobs show` tell what the job waits for; only the log does if the database is the trouble."""
    logger.warning("job %d waits, and is tried again: %s", job_id, error)
    try:
        with database.write() as session:
            jobs.note(session, job_id, f"waits: {one_line(str(error))}"[:500])
    except SQLAlchemyError as failure:
        logger.warning("job %d: its trouble is not recorded: %s", job_id, failure)
