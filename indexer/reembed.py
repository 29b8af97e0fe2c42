"""A job that gives every item of a collection the vectors of another model, and then has these serve.

Any number of processes may run the same job. All the while the collection is queried, and items are put and deleted,
with the model that it has. `ReembedRun.run` does all of it in one process; workers do each step as a task.
"""

import time
from collections.abc import Sequence

from sqlalchemy.orm import Session

from indexer.errors import JobCancelled, JobStopped
from indexer.indexing import POLL_SECONDS, TRANSIENT
from indexer.owner import Owner
from indexer.paths import one_line
from indexer.progress import Progress
from indexer.reembed_batches import Batches, Means
from search.catalogue import beside, collections, items, jobs, ledger, reembedding
from search.catalogue.beside import Lacking, NothingBuilt, Target
from search.catalogue.jobs import Job, JobState
from search.catalogue.ledger import Span
from search.catalogue.reembedding import Made
from search.errors import FingerprintMismatch


class ReembedRun:
    """One process's part in moving a collection to another model, or back to one. The model is loaded when needed."""

    def __init__(self, means: Means, owner: Owner, progress: Progress) -> None:
        self._means = means
        self._database = means.database
        self._owner = owner
        self._progress = progress
        self._listed_seq = 0  # whatever lacked vectors when the log stood there was listed

    def run(self, job: Job) -> Job:
        """Work until the job has ended, and return it as it ended: switched, or failed with items that could not be.

        Raises `JobCancelled` if somebody cancels it, `JobStopped` if its owner is told to stop, what `TRANSIENT` has
        (another run goes on from there), `FingerprintMismatch` if the weights were replaced since it began.
        """
        try:
            return self._run(job)
        except (JobCancelled, JobStopped, *TRANSIENT):
            raise
        except Exception as error:
            with self._database.write() as session:
                jobs.give_up(session, job.id, JobState.FAILED, one_line(str(error)))
            raise

    def scan(self, job: Job) -> bool:
        """List the items that lack vectors; false if another process, which lives, is at it."""
        if job.owner != self._owner.name:
            with self._database.write() as session:
                if not jobs.adopt(session, job.id, self._owner.name, self._owner.living(session)):
                    return False
        listed = self._list(job, self._target(job))
        with self._database.write() as session:
            if jobs.start(session, job.id, self._owner.name, 0):
                self._progress.started(listed)
        return True

    def work(self, job: Job, span: Span | None = None) -> None:
        """Settle the job's items, or those of `span` of its ledger, until none can be leased."""
        Batches(self._means, job, self._target(job), self._owner, self._progress).work(span)

    def finish(self, job: Job) -> bool:
        """List what came to lack vectors; if that is little or nothing, switch: see `reembedding.finish`.

        False while other processes hold inputs.
        """
        target = self._target(job)
        with self._database.read() as session:
            if ledger.has_open(session, job.id):
                return False
            more = reembedding.untried(session, job.id, target, self._listed_seq)
        if (not self._listed_seq or len(more) > reembedding.LAST) and self._list(job, target):
            return True
        self._means.prepare(job.collection)
        batches = Batches(self._means, job, target, self._owner, self._progress)

        def make_last(session: Session, last: Sequence[Lacking]) -> Sequence[Made]:
            return batches.make(list(items.by_ids(session, [one.item_id for one in last]).values()))

        with self._database.write() as session:
            if reembedding.finish(session, job.id, target, self._listed_seq, make_last):
                return True
        return bool(self._list(job, target))

    def _run(self, job: Job) -> Job:
        while job.active:
            self._owner.check()
            try:
                waits = not self._step(job)
            except (FingerprintMismatch, NothingBuilt):
                with self._database.read() as session:
                    if jobs.get(session, job.id).active:
                        raise
                waits = False  # it was cancelled, and its spaces are gone
            if waits:
                time.sleep(POLL_SECONDS)
            with self._database.read() as session:
                job = jobs.get(session, job.id)
        if job.state == JobState.CANCELLED:
            raise JobCancelled(f"job {job.id} was cancelled; the collection {job.collection} is as it was")
        return job

    def _step(self, job: Job) -> bool:
        """False if another process has to do something first."""
        if job.state == JobState.SCANNING:
            return self.scan(job)
        self.work(job)
        return self.finish(job)

    def _target(self, job: Job) -> Target:
        with self._database.read() as session:
            found = beside.target(session, collections.head(session, job.collection).id)
        if found is None:
            raise NothingBuilt(f"nothing is built for the collection {job.collection!r} any more; start again")
        return found

    def _list(self, job: Job, target: Target) -> int:
        """List items in the ledger for as long as the job is in its state; return how many lacked vectors."""
        listed = after = 0
        since = self._listed_seq
        with self._database.read() as session:
            seq = collections.head_by_id(session, target.collection_id).last_seq
        while True:
            self._owner.check()
            with self._database.write() as session:
                if jobs.get_locked(session, job.id).state != job.state:
                    return listed
                page = reembedding.list_page(session, job.id, target, after, since)
            if not page:
                self._listed_seq = seq
                return listed
            listed, after = listed + len(page), page[-1].item_id
            self._progress.scanned(len(page))
