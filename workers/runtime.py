"""The composition root: everything that a command or the service works with, made from settings in one place."""

import threading
from pathlib import Path
from types import TracebackType

from indexer.indexing import Tools, check_model, fitting_collection, open_job
from indexer.owner import Owner
from indexer.reembed_batches import Means
from indexer.sources.opening import open_source
from model.embedder import Embedder, load_embedder
from search.assets import AssetStore
from search.catalogue import beside, collections, jobs, reembedding
from search.catalogue.session import Database
from search.catalogue.upgrade import upgrade
from search.engine import SearchEngine
from search.errors import CollectionNotFound
from search.opening import SpaceOpener
from search.settings import Settings
from search.snapshot_writer import prepare_beside, remove_unknown, write_snapshots
from search.types import OnDuplicate
from workers.queue import InProcessQueue, TaskQueue


class Runtime:
    """An open installation. The model is loaded when it is first asked for, once; use as a context manager."""

    def __init__(self, settings: Settings, database: Database, model: str) -> None:
        self.settings = settings
        self.database = database
        self._open_space = SpaceOpener(database, settings)
        self.model = model
        self.assets = AssetStore(settings.assets)
        self.queue = self._make_queue()
        self._loading = threading.Lock()
        self._tools: Tools | None = None
        self._others: dict[str, Tools] = {}

    @classmethod
    def open(cls, settings: Settings, model: str | None) -> "Runtime":
        """Open the data directory, made and brought up to date as needed, with `model` or that of the settings."""
        settings.home.mkdir(parents=True, exist_ok=True)
        database = Database(settings.database_url)
        upgrade(database)
        return cls(settings, database, model or settings.model)

    @classmethod
    def open_for(cls, settings: Settings, collection: str, model: str | None) -> "Runtime":
        """As `open`, with the model that `collection` was made with; `model` counts where there is none yet.

        Raises `ModelMismatch` if both are given and differ.
        """
        runtime = cls.open(settings, model)
        try:
            with runtime.database.read() as session:
                held = collections.get(session, collection)
            if model is not None:
                check_model(held, model)
            runtime.model = held.model
        except CollectionNotFound:
            pass
        except BaseException:
            runtime.close()
            raise
        return runtime

    @property
    def embedder(self) -> Embedder:
        """The model. Raises `UnknownModel`, `WeightsMissing`, `WeightsCorrupt`."""
        return self.tools().embedder

    @property
    def engine(self) -> SearchEngine:
        """Queries with the model. Raises as `embedder` does."""
        return self.tools().engine

    def tools(self) -> Tools:
        """What the indexer works with. Raises as `embedder` does."""
        with self._loading:
            if self._tools is None:
                self._tools = self._load(self.model)
            return self._tools

    def use_model(self, model: str) -> None:
        """Let go of the model, and load `model` when it is next asked for."""
        with self._loading:
            self.model, self._tools = model, None

    def tools_of(self, model: str) -> Tools:
        """What the indexer works with, with another model beside the one of `tools`. Raises as `embedder` does."""
        if model == self.model:
            return self.tools()
        with self._loading:
            if model not in self._others:
                self._others[model] = self._load(model)
            return self._others[model]

    def tools_for(self, collection: str) -> Tools:
        """Tools with the collection's model if a re-embedding has loaded it here, else those of `tools`.

        So a service goes on answering when a collection is switched. Raises `CollectionNotFound`.
        """
        if not self._others:
            return self.tools()
        with self.database.read() as session:
            model = collections.head(session, collection).model
        return self.tools() if model == self.model else self._others.get(model, self.tools())

    def forget(self, collection: str) -> None:
        """Let go of the indexes of a collection that is gone."""
        for tools in (self.tools(), *self._others.values()):
            tools.engine.forget(collection)

    def reembedding(self) -> Means:
        """What a job that moves a collection to another model works with."""
        return Means(self.settings, self.database, self.assets, self.tools_of, self._prepare)

    def submit_reembed(self, collection: str, model: str) -> int:
        """Have the queue move a collection to another model; return the job's id. See `reembedding.open_job`."""
        spaces = self.tools_of(model).embedder.spaces.values()
        owner = Owner(self.database, self.settings)
        with self.database.write() as session:
            held = collections.get(session, collection)
            job = reembedding.open_job(session, held, model, spaces, None, owner.living(session))
        self.queue.submit(job.id)
        return job.id

    def submit_rollback(self, collection: str) -> int:
        """Have the queue move a collection back; return the job's id. See `reembedding.open_rollback`."""
        owner = Owner(self.database, self.settings)
        with self.database.write() as session:
            held = collections.get(session, collection)
            job = reembedding.open_rollback(session, held, None, owner.living(session))
        self.queue.submit(job.id)
        return job.id

    def switch(self, collection: str) -> int:
        """Switch to what was built, and return how many items are left out; see `reembedding.leave_out`."""
        with self.database.write() as session:
            return reembedding.leave_out(session, collections.get(session, collection))

    def forget_old(self, collection: str) -> None:
        """Drop kept vectors, and what indexes hold of them. Raises `NothingKept`, `ReembedUnderWay`."""
        with self.database.write() as session:
            held = collections.get(session, collection)
            reembedding.check_idle(session, held)
            beside.forget(session, held)
        remove_unknown(self.database, self.settings, held.id)
        self._open_space.forget_unknown()

    def submit_index(
        self, collection: str, name: str | Path, prune: bool, on_duplicate: OnDuplicate = OnDuplicate.LINK
    ) -> int:
        """Have the queue bring an existing collection in line with a source; return the job's id.

        A job that does this already is joined. Raises `CollectionNotFound`, `SourceGone`, `ModelMismatch`,
        `FingerprintMismatch`.
        """
        with self.database.read() as session:
            collections.get(session, collection)
        source = open_source(self.settings, name)
        into, owner = fitting_collection(self.tools(), collection), Owner(self.database, self.settings)
        job = open_job(self.database, into, source, owner, prune, adopt=False, on_duplicate=on_duplicate)
        self.queue.submit(job.id)
        return job.id

    def retry(self, job_id: int) -> int:
        """Have the queue try a job's quarantined inputs again, and return how many; see `jobs.reopen`."""
        with self.database.write() as session:
            reopened = jobs.reopen(session, job_id)
        if reopened:
            self.queue.submit(job_id)
        return reopened

    def write_snapshots(self, collection: str) -> bool:
        """As `SearchEngine.write_snapshots`, without a model. Raises `CollectionNotFound`."""
        return write_snapshots(self.database, self.settings, collection, self._open_space)

    def _prepare(self, collection: str) -> None:
        with self.database.read() as session:
            head = collections.head(session, collection)
        prepare_beside(self.database, self.settings, head, self._open_space)

    def _load(self, model: str) -> Tools:
        embedder = load_embedder(model, self.settings.home)
        engine = SearchEngine(self.database, self.settings, embedder, self._open_space)
        return Tools(self.settings, self.database, self.assets, embedder, engine)

    def _make_queue(self) -> TaskQueue:
        """Celery's if there is a broker; only then is it imported."""
        if not self.settings.broker_url:
            return InProcessQueue(self.tools, self.database, self.settings, self.reembedding)
        from workers.celery_queue import CeleryQueue

        return CeleryQueue(self.database, self.settings)

    def close(self) -> None:
        """Stop running jobs at their next step (they go on at the next start) and let go of the database."""
        self.queue.close()
        self._open_space.close()
        self.database.close()

    def __enter__(self) -> "Runtime":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
