"""Jobs as the catalogue knows them: needs neither a queue nor what works on jobs, which are slow to import."""

from anyseek.search.catalogue import audit, jobs
from anyseek.search.catalogue.jobs import Job, JobState
from anyseek.search.catalogue.session import Database


class CatalogueJobs:
    """What all queues have in common, and all that a command needs which only looks at jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def status(self, job_id: int) -> Job:
        """See `anyseek.workers.queue.TaskQueue`."""
        with self._database.read() as session:
            return jobs.get_with_counts(session, job_id)

    def cancel(self, job_id: int) -> Job:
        """See `anyseek.workers.queue.TaskQueue`."""
        with self._database.write() as session:
            jobs.get(session, job_id)
            if jobs.give_up(session, job_id, JobState.CANCELLED, "cancelled"):
                audit.record(session, "job.cancel", jobs.get(session, job_id).collection, job_id)
            return jobs.get(session, job_id)
