"""The composition root: everything that a command or the service works with, made from settings in one place."""

import threading
from pathlib import Path
from types import TracebackType

from indexer.indexing import Tools, check_model, open_collection, open_job, open_source
from model.embedder import Embedder, load_embedder
from search.assets import AssetStore
from search.catalogue import collections
from search.catalogue.session import Database
from search.catalogue.upgrade import upgrade
from search.engine import SearchEngine
from search.errors import CollectionNotFound
from search.settings import DEFAULT_MODEL, Settings
from workers.queue import InProcessQueue, TaskQueue


class Runtime:
    """An open installation. The model is loaded when it is first asked for, once; use as a context manager."""

    def __init__(self, settings: Settings, database: Database, model: str) -> None:
        self.settings = settings
        self.database = database
        self.model = model
        self.assets = AssetStore(settings.assets)
        self.queue: TaskQueue = InProcessQueue(self.tools, database, settings)
        self._loading = threading.Lock()
        self._tools: Tools | None = None

    @classmethod
    def open(cls, settings: Settings, model: str | None) -> "Runtime":
        """Open the data directory, made and brought up to date as needed, with `model` or the default one."""
        settings.home.mkdir(parents=True, exist_ok=True)
        database = Database(settings.database_url)
        upgrade(database)
        return cls(settings, database, model or DEFAULT_MODEL)

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
                embedder = load_embedder(self.model, self.settings.home)
                engine = SearchEngine(self.database, self.settings, embedder)
                self._tools = Tools(self.settings, self.database, self.assets, embedder, engine)
            return self._tools

    def submit_index(self, collection: str, folder: Path, prune: bool) -> int:
        """Have the queue bring an existing collection in line with a folder; return the job's id.

        A job that does this already is joined. Raises `CollectionNotFound`, `SourceGone`, `ModelMismatch`,
        `FingerprintMismatch`.
        """
        with self.database.read() as session:
            collections.get(session, collection)
        source = open_source(self.settings, folder)
        job = open_job(self.tools(), open_collection(self.tools(), collection), source, None, prune)
        self.queue.submit(job.id)
        return job.id

    def close(self) -> None:
        """Stop running jobs at their next step (they go on at the next start) and let go of the database."""
        self.queue.close()
        self.database.close()

    def __enter__(self) -> "Runtime":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
