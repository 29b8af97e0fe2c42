"""A job that brings a collection in line with a folder, from its scan to its snapshot.

Any number of processes may run the same job: one scans, all lease inputs from its ledger, the last one ends it.
`IndexRun.run` does all of it in one process; workers do each step as a task (`workers.tasks`).
"""

import time
from dataclasses import dataclass

from sqlalchemy.exc import InterfaceError, InternalError, OperationalError

from indexer.errors import JobCancelled, JobStopped, ModelMismatch
from indexer.owner import Owner
from indexer.paths import one_line
from indexer.pipeline import Pipeline
from indexer.prepare import Preparer
from indexer.progress import Progress
from indexer.pruning import prune
from indexer.scanning import scan
from indexer.sources.base import Source
from model.embedder import Embedder
from search.assets import AssetStore
from search.catalogue import collections, jobs, ledger
from search.catalogue.jobs import Job, JobState
from search.catalogue.ledger import Span
from search.catalogue.session import Database
from search.engine import SearchEngine
from search.errors import CollectionNotFound, FingerprintMismatch
from search.settings import Settings
from search.types import Collection, OnDuplicate

POLL_SECONDS = 0.2
# What has nothing to do with the job at hand and may have passed when it is tried again: the database restarts, the
# disk is full, this process was silent for too long. Were it a file of the source, it would be an `InputError`.
TRANSIENT = (OperationalError, InterfaceError, InternalError, OSError)


@dataclass(frozen=True)
class Tools:
    """What a job works with."""

    settings: Settings
    database: Database
    assets: AssetStore
    embedder: Embedder
    engine: SearchEngine


def open_collection(tools: Tools, name: str) -> Collection:
    """The collection called `name`, made with the loaded model if absent.

    Raises as `fitting_collection` does, and `BadInput` for a name that cannot be.
    """
    embedder = tools.embedder
    with tools.database.write() as session:
        try:
            collections.get(session, name)
        except CollectionNotFound:
            return collections.create(session, name, embedder.name, embedder.spaces.values())
    return fitting_collection(tools, name)


def fitting_collection(tools: Tools, name: str) -> Collection:
    """The collection called `name`, which takes the vectors of the loaded model.

    Raises `CollectionNotFound`, `ModelMismatch` if it was made with another model, `FingerprintMismatch` if with other
    weights of it.
    """
    with tools.database.read() as session:
        collection = collections.get(session, name)
    check_model(collection, tools.embedder.name)
    held = {space.name: space.fingerprint for space in collection.spaces.values()}
    if held != {space.name: space.fingerprint for space in tools.embedder.spaces.values()}:
        raise FingerprintMismatch(
            f"the collection {name!r} was made with other weights of {collection.model} than those loaded; "
            "index into a new collection, or delete this one first"
        )
    return collection


def check_model(collection: Collection, model: str) -> None:
    """Raises `ModelMismatch`."""
    if collection.model != model:
        raise ModelMismatch(
            f"the collection {collection.name!r} was made with the model {collection.model} and takes no vectors of "
            f"{model}; use that model or another collection"
        )


def open_job(
    database: Database,
    collection: Collection,
    source: Source,
    owner: Owner,
    prune: bool,
    adopt: bool = True,
    on_duplicate: OnDuplicate = OnDuplicate.LINK,
) -> Job:
    """The job that indexes a source.

    It is a new one, an interrupted one that `owner` adopts, or one that others run. Not to `adopt` leaves it to
    whoever takes it up.
    """
    with database.write() as session:
        source_id = collections.source(session, collection, source.uri)
        name = owner.name if adopt else None
        return jobs.open_index_job(session, collection, source_id, name, prune, owner.living(session), on_duplicate)


class IndexRun:
    """One process's part in indexing a source."""

    def __init__(self, tools: Tools, collection: Collection, source: Source, owner: Owner, progress: Progress) -> None:
        self._tools = tools
        self._database = tools.database
        self._collection = collection
        self._owner = owner
        self._progress = progress
        self._source = source

    def run(self, job: Job) -> Job:
        """Work until the job has ended, and return it as it ended.

        Raises `JobCancelled` if somebody cancels it, `SourceGone` if the folder goes away (the job has failed then),
        `JobStopped` if its owner is told to stop, and what `TRANSIENT` has; another run of the same
        folder goes on from there.
        """
        try:
            return self._run(job)
        except (JobCancelled, JobStopped, *TRANSIENT):
            raise
        except Exception as error:
            self._fail(job, one_line(str(error)))
            raise

    def work(self, job: Job, span: Span | None = None) -> None:
        """Settle the job's inputs, or those of `span`, until none can be leased. Raises as `Pipeline.work` does."""
        assert job.source_id is not None
        tools, settings = self._tools, self._tools.settings
        preparer = Preparer(
            self._source,
            job.source_id,
            tools.assets,
            tools.embedder.modalities,
            settings.limits,
            settings.work.decoding_threads,
        )
        pipeline = Pipeline(
            tools.database,
            tools.embedder,
            settings.work,
            self._collection,
            preparer,
            self._owner,
            self._progress.settled,
        )
        pipeline.work(job, span)

    def _run(self, job: Job) -> Job:
        while job.active:
            self._owner.check()
            if job.state == JobState.RUNNING:
                self.work(job)
                waits = not self._end(job)
            else:
                waits = not scan(self._database, job, self._source, self._owner, self._progress)
            if waits:
                time.sleep(POLL_SECONDS)
            with self._database.read() as session:
                job = jobs.get(session, job.id)
        if job.state == JobState.CANCELLED:
            raise JobCancelled(f"job {job.id} was cancelled; index the folder again to go on")
        return job

    def _end(self, job: Job) -> bool:
        """End the job and write a snapshot, once every input is settled; false while some are not."""
        ended = end(self._database, job, self._source, self._collection)
        if ended:
            self._tools.engine.write_snapshots(self._collection.name)
        return ended

    def _fail(self, job: Job, reason: str) -> None:
        with self._database.write() as session:
            jobs.give_up(session, job.id, JobState.FAILED, reason)


def end(database: Database, job: Job, source: Source, collection: Collection) -> bool:
    """The last step of a job: prune, and close it; false while inputs are open. Raises `SourceGone`."""
    with database.read() as session:
        if ledger.has_open(session, job.id):
            return False
    source.check()
    if job.prune:
        prune(database, job, source, collection)
    with database.write() as session:
        return jobs.complete(session, job.id)
