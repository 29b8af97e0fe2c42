"""When the tasks of a job were last handed to workers, so that one process at a time does it."""

from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from search.catalogue.owners import clock
from search.catalogue.rows import utc
from search.catalogue.tables import JobRow, SubmissionRow
from search.errors import JobNotFound


def claim(session: Session, job_id: int, not_since: timedelta) -> bool:
    """Record that a job's tasks are handed to workers now; false if somebody did within `not_since`.

    Raises `JobNotFound`.
    """
    if session.scalar(select(JobRow.id).where(JobRow.id == job_id).with_for_update()) is None:
        raise JobNotFound(f"there is no job {job_id}")
    moment, row = clock(session), session.get(SubmissionRow, job_id, populate_existing=True)
    if row is not None and utc(row.submitted_at) > moment - not_since:
        return False
    session.merge(SubmissionRow(job_id=job_id, submitted_at=moment))
    session.flush()
    return True
