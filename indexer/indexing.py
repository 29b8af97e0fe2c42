"""A job that brings a collection in line with a folder, from its scan to its snapshot.

Any number of processes may run the same job: one scans, all lease inputs from its ledger, the last one ends it.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

from indexer.errors import JobCancelled, JobStopped, ModelMismatch
from indexer.owner import Owner
from indexer.paths import one_line, to_uri
from indexer.pipeline import Pipeline
from indexer.prepare import Preparer
from indexer.pruning import prune
from indexer.sources import FolderSource, Found
from model.embedder import Embedder
from search.assets import AssetStore
from search.catalogue import collections, jobs, ledger, listing
from search.catalogue.jobs import Job, JobState
from search.catalogue.session import Database
from search.engine import SearchEngine
from search.errors import CollectionNotFound, FingerprintMismatch
from search.settings import Settings
from search.types import Collection

POLL_SECONDS = 0.2
SCAN_PAGE = 500


class Progress(Protocol):
    """Told how far a job is, from the thread that runs it."""

    def scanned(self, inputs: int) -> None:
        """So many more inputs were found."""
        ...

    def started(self, inputs: int) -> None:
        """The scan is complete: so many inputs wait."""
        ...

    def settled(self, inputs: int) -> None:
        """So many more inputs are done or quarantined."""
        ...


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

    Raises `ModelMismatch` if it was made with another model, `FingerprintMismatch` if with other weights of it,
    `BadInput` for a name that cannot be.
    """
    embedder = tools.embedder
    with tools.database.write() as session:
        try:
            collection = collections.get(session, name)
        except CollectionNotFound:
            return collections.create(session, name, embedder.name, embedder.spaces.values())
    check_model(collection, embedder.name)
    held = {space.name: space.fingerprint for space in collection.spaces.values()}
    if held != {space.name: space.fingerprint for space in embedder.spaces.values()}:
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


def open_source(settings: Settings, root: Path) -> FolderSource:
    """The folder `root`, without the data directory should that lie in it. Raises `SourceGone`."""
    return FolderSource(root, settings.limits, skip=settings.home)


def open_job(tools: Tools, collection: Collection, source: FolderSource, owner: Owner | None, prune: bool) -> Job:
    """The job that indexes a folder.

    It is a new one, an interrupted one that `owner` adopts, or one that another process runs. Without an owner it
    waits for a process that takes it up.
    """
    with tools.database.write() as session:
        source_id = collections.source(session, collection, Path(to_uri(str(source.root))))
        name, is_alive = owner.name if owner else None, Owner(tools.settings.locks).is_alive
        return jobs.open_index_job(session, collection, source_id, name, prune, is_alive)


class IndexRun:
    """One process's part in indexing a folder."""

    def __init__(
        self, tools: Tools, collection: Collection, source: FolderSource, owner: Owner, progress: Progress
    ) -> None:
        self._tools = tools
        self._database = tools.database
        self._collection = collection
        self._owner = owner
        self._progress = progress
        self._source = source

    def run(self, job: Job) -> Job:
        """Work until the job has ended, and return it as it ended.

        Raises `JobCancelled` if somebody cancels it, `SourceGone` if the folder goes away (the job has failed then),
        `JobStopped` if its owner is told to stop; another run of the same folder goes on from there.
        """
        try:
            return self._run(job)
        except (JobCancelled, JobStopped):
            raise
        except Exception as error:
            self._give_up(job, JobState.FAILED, one_line(str(error)))
            raise

    def _run(self, job: Job) -> Job:
        pipeline = self._pipeline(job)
        while job.active:
            self._owner.check()
            if job.state == JobState.RUNNING:
                pipeline.work(job)
                waits = not self._complete(job)
            else:
                waits = not self._scan(job)
            if waits:
                time.sleep(POLL_SECONDS)
            with self._database.read() as session:
                job = jobs.get(session, job.id)
        if job.state == JobState.CANCELLED:
            raise JobCancelled(f"job {job.id} was cancelled; index the folder again to go on")
        return job

    def _pipeline(self, job: Job) -> Pipeline:
        assert job.source_id is not None
        tools, limits = self._tools, self._tools.settings.limits
        preparer = Preparer(self._source, job.source_id, tools.assets, tools.embedder.modalities, limits)
        told = self._progress.settled
        return Pipeline(tools.database, tools.embedder, self._collection, preparer, self._owner, told)

    def _scan(self, job: Job) -> bool:
        """List the folder's inputs in the ledger; false if another process, which lives, is at it."""
        if job.owner != self._owner.name:
            with self._database.write() as session:
                return jobs.adopt(session, job.id, self._owner.name, self._owner.is_alive)
        for page in _pages(self._source.scan()):
            self._owner.check()
            with self._database.write() as session:
                if jobs.get(session, job.id).state != JobState.SCANNING:
                    return True
                listing.add(session, job.id, page)
            self._progress.scanned(len(page))
        with self._database.write() as session:
            jobs.start(session, job.id, self._owner.name, self._source.ignored)
            waiting = ledger.counts(session, job.id).open
        self._progress.started(waiting)
        return True

    def _complete(self, job: Job) -> bool:
        """Prune, end the job and write a snapshot, once every input is settled; false while some are not."""
        with self._database.read() as session:
            if ledger.has_open(session, job.id):
                return False
        self._source.check()
        if job.prune:
            prune(self._database, job, self._source, self._collection)
        with self._database.write() as session:
            if not jobs.complete(session, job.id):
                return False
        self._tools.engine.write_snapshots(self._collection.name)
        return True

    def _give_up(self, job: Job, state: JobState, reason: str) -> None:
        with self._database.write() as session:
            jobs.give_up(session, job.id, state, reason)


def _pages(found: Iterator[Found]) -> Iterator[list[listing.NewInput]]:
    while page := list(islice(found, SCAN_PAGE)):
        yield [listing.NewInput(one.uri, one.key, one.reason, one.reason_code) for one in page]
