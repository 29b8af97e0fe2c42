"""The composition root: creates the objects that commands and the service need from the settings."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from anyseek.indexer.errors import ModelMismatch
from anyseek.indexer.indexing import check_model, get_compatible_collection, open_job
from anyseek.indexer.placing import place_source
from anyseek.indexer.reembed import ReembedContext
from anyseek.indexer.runs import IndexerContext, Owner
from anyseek.indexer.sources.opening import open_source
from anyseek.model.compute.devices import has_device_option, split_device
from anyseek.model.compute.threads import prepare_process
from anyseek.model.errors import DeviceInName
from anyseek.model.registry.loading import load_embedder
from anyseek.model.seam import Embedder
from anyseek.search.assets.opening import open_assets
from anyseek.search.assets.pictures import PictureOf, Pictures
from anyseek.search.catalogue import audit, collections, jobs, reembedding, space_switch
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.upgrade import open_database
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import CollectionNotFound, FingerprintMismatch
from anyseek.search.settings import Settings
from anyseek.search.spaces.base import open_backend
from anyseek.search.taught import teaching
from anyseek.search.types import OnDuplicate
from anyseek.search.upkeep.derived import ConsistencyMonitor
from anyseek.search.upkeep.snapshots import IndexLag, index_lag, prepare_switch, remove_unknown, write_snapshots
from anyseek.workers.queue import InProcessQueue, TaskQueue

T = TypeVar("T")


class Runtime:
    """An open installation, used as a context manager. The model is loaded lazily and once."""

    def __init__(self, settings: Settings, database: Database, model: str, loads_any: bool = False) -> None:
        model, device = split_device(model)
        self.settings = settings if device is None else replace(settings, device=device)
        self.database = database
        self._backend = open_backend(database, settings)
        self.derived = ConsistencyMonitor(database, self._backend.clear_filter_cache)
        self.model = model
        self.assets = open_assets(settings)
        self.reembed_context = ReembedContext(
            self.settings, database, self.assets, self.context_of_model, self._prepare
        )
        self.queue = self._make_queue()
        self._loading = threading.Lock()
        self._loads_any = loads_any
        self._context: IndexerContext | None = None
        self._other_contexts: dict[str, IndexerContext] = {}

    @classmethod
    def open(
        cls, settings: Settings, model: str | None, database: Database | None = None, loads_any: bool = False
    ) -> "Runtime":
        """Open the data directory with `model` or the model of the settings; it is created or upgraded as needed.

        A device in the model name, as in `4m-tiny:device=cuda`, overrides the setting. An open `database` may be passed
        and is closed with the runtime. With `loads_any`, each collection's own model is loaded when it is used. Raises
        `BadDevice`.
        """
        return cls(settings, database or open_database(settings), model or settings.model, loads_any)

    @classmethod
    def open_for(cls, settings: Settings, collection: str, model: str | None) -> "Runtime":
        """Like `open`, with the model of `collection`; `model` is for a collection that does not exist yet.

        Raises `ModelMismatch` if both are given and differ.
        """
        runtime = cls.open(settings, model)
        try:
            with runtime.database.read() as session:
                held = collections.get(session, collection)
            if model is not None:
                check_model(held, runtime.model)
            runtime.model = held.model
        except CollectionNotFound:
            pass
        except BaseException:
            runtime.close()
            raise
        return runtime

    @property
    def embedder(self) -> Embedder:
        """The model. Raises `BadDevice`, `UnknownModel`, `WeightsMissing`, `WeightsCorrupt`."""
        return self.context().embedder

    @property
    def engine(self) -> SearchEngine:
        """The search engine with the model. Raises as `embedder` does."""
        return self.context().engine

    def context(self) -> IndexerContext:
        """The indexer context with the current model. Raises as `embedder` does."""
        with self._loading:
            if self._context is None:
                self._context = self._load(self.model)
            return self._context

    def use_model(self, model: str) -> None:
        """Release the current model and use `model`, which is loaded lazily."""
        with self._loading:
            self.model, self._context = model, None

    def context_of_model(self, model: str) -> IndexerContext:
        """The indexer context with `model`, cached by model. Raises as `embedder` does."""
        if model == self.model:
            return self.context()
        with self._loading:
            if model not in self._other_contexts:
                self._other_contexts[model] = self._load(model)
            return self._other_contexts[model]

    def context_of_collection(self, collection: str) -> IndexerContext:
        """The context with the collection's model if it is loaded or `loads_any` is set, else `context`.

        So a service keeps answering after a collection has been switched. Raises `CollectionNotFound`.
        """
        if not self._other_contexts and not self._loads_any:
            return self.context()
        with self.database.read() as session:
            model = collections.head(session, collection).model
        if self._loads_any:
            return self.context_of_model(model)
        return self.context() if model == self.model else self._other_contexts.get(model, self.context())

    @property
    def _may_switch(self) -> bool:
        """Whether a re-embedding has loaded another model here, so a collection may be switched to it at any time."""
        return bool(self._other_contexts)

    def retry_on_switch(self, work: Callable[[], T]) -> T:
        """Return the result of `work`, retried once if its collection was switched to another model meanwhile.

        Raises what `work` raises.
        """
        try:
            return work()
        except (ModelMismatch, FingerprintMismatch):
            if not self._may_switch:
                raise
        return work()

    def retry_all_on_switch(self, work: Callable[[], list[T]]) -> list[T]:
        """As `retry_on_switch`, for work that returns errors: a `FingerprintMismatch` among them retries all."""
        outcomes = work()
        if self._may_switch and any(isinstance(outcome, FingerprintMismatch) for outcome in outcomes):
            return work()
        return outcomes

    def forget(self, collection: str) -> None:
        """Release the indexes of a deleted collection."""
        for context in (self._context, *self._other_contexts.values()):
            if context is not None:
                context.engine.forget(collection)

    def submit_reembed(self, collection: str, model: str) -> int:
        """Submit the re-embedding of a collection with another model; return the job's id. See `reembedding.open_job`.

        Raises `DeviceInName` for a model name with a device, because workers may not have that device.
        """
        if has_device_option(model):
            raise DeviceInName(f"{model!r} names a device, which collections do not store; set ANYSEEK_DEVICE instead")
        spaces = self.context_of_model(model).embedder.spaces.values()
        owner = Owner(self.database, self.settings)
        with self.database.write() as session:
            held = collections.get(session, collection)
            job = reembedding.open_job(session, held, model, spaces, None, owner.liveness_check(session))
        self.queue.submit(job.id)
        return job.id

    def submit_rollback(self, collection: str) -> int:
        """Submit the rollback of a collection's model; return the job's id. See `reembedding.open_rollback`."""
        owner = Owner(self.database, self.settings)
        with self.database.write() as session:
            held = collections.get(session, collection)
            job = reembedding.open_rollback(session, held, None, owner.liveness_check(session))
        self.queue.submit(job.id)
        return job.id

    def switch(self, collection: str) -> int:
        """Switch to the new vectors; return the number of items left out. See `reembedding.switch_without_failed`."""
        with self.database.write() as session:
            left_out = reembedding.switch_without_failed(session, collections.get(session, collection))
        self.refresh_taught(collection)
        return left_out

    def refresh_taught(self, collection: str) -> None:
        """As `teaching.refresh`, with the collection's model, which is loaded only for captions among the examples."""
        teaching.refresh(self.database, collection, lambda: self.context_of_collection(collection).embedder)

    def forget_old(self, collection: str) -> None:
        """Drop a collection's old vectors and their indexes. Raises `NothingKept`, `ReembedUnderWay`."""
        with self.database.write() as session:
            held = collections.get(session, collection)
            reembedding.check_idle(session, held)
            space_switch.forget(session, held)
        remove_unknown(self.database, self.settings, held.id, self._backend)

    def submit_index(
        self,
        collection: str,
        name: str | Path,
        prune: bool,
        on_duplicate: OnDuplicate = OnDuplicate.LINK,
        key_prefix: str | None = None,
        predicts: bool | None = None,
    ) -> int:
        """Submit the indexing of a source into an existing collection; return the job's id.

        An active job for the same source is joined. Raises `CollectionNotFound`, `SourceGone`, `ModelMismatch`,
        `FingerprintMismatch`, and as `place_source` and `open_job` do.
        """
        with self.database.read() as session:
            collections.get(session, collection)
        source = open_source(self.settings, name)
        into, owner = get_compatible_collection(self.context(), collection), Owner(self.database, self.settings)
        place_source(self.database, into, source, key_prefix)
        job = open_job(into, source, owner, prune, False, on_duplicate, predicts)
        self.queue.submit(job.id)
        return job.id

    def retry(self, job_id: int) -> int:
        """Resubmit a job's quarantined inputs; return their number. See `jobs.reopen`."""
        with self.database.write() as session:
            reopened = jobs.reopen(session, job_id)
        if reopened:
            self.queue.submit(job_id)
        return reopened

    def write_snapshots(self, collection: str) -> bool:
        """As `SearchEngine.write_snapshots`, without a model. Raises `CollectionNotFound`."""
        return write_snapshots(self.database, self.settings, collection, self._backend.open)

    def prune_audit(self) -> int:
        """Remove audit log entries beyond the retention settings; return their number."""
        return audit.prune(self.database, self.settings.audit.days, self.settings.audit.rows)

    def pictures_of(self, collection: str) -> PictureOf:
        """A reader of item pictures for queries of a collection."""
        return Pictures(self.database, self.assets, collection, self.settings.limits.bytes_per_file)

    def index_lag(self, database: Database) -> IndexLag:
        """The lag of stored indexes behind the log, from the catalogue in `database`; loads no model."""
        return index_lag(database, self._backend.open)

    def _prepare(self, collection: str) -> None:
        with self.database.read() as session:
            head = collections.head(session, collection)
        prepare_switch(self.database, self.settings, head, self._backend.open)

    def _load(self, model: str) -> IndexerContext:
        prepare_process(self.settings.threads)
        embedder = load_embedder(model, self.settings.home, self.settings.device)
        engine = SearchEngine(self.database, self.settings, embedder, self._backend, self.derived)
        return IndexerContext(self.settings, self.database, self.assets, embedder, engine)

    def _make_queue(self) -> TaskQueue:
        """The Celery queue, imported only if a broker is set, else the in-process queue."""
        if not self.settings.broker_url:
            return InProcessQueue(self.context, self.reembed_context)
        from anyseek.workers.celery_queue import CeleryQueue

        return CeleryQueue(self.database, self.settings)

    def close(self) -> None:
        """Stop running jobs at their next step (they resume at the next start) and close the database."""
        self.queue.close()
        self._backend.close()
        self.database.close()

    def __enter__(self) -> "Runtime":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
