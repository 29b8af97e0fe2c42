"""The state shared by routes: the runtime, the model's state, bounded thread pools, and the budget of a request."""

import logging
import math
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

import anyio
import numpy as np
from anyio import to_thread
from sqlalchemy.exc import SQLAlchemyError

from anyseek.api.errors import Busy, NotReady
from anyseek.api.predictions.predictor import Predictor
from anyseek.api.redaction import PROGRAM_FOLDER
from anyseek.model.compute.devices import CPU
from anyseek.model.errors import ModelError
from anyseek.model.modalities.reading.budget import Budget, current_budget, raise_if_abandoned
from anyseek.model.modalities.reading.decoders import DecoderPool
from anyseek.model.seam import Embedder, Model, Sample
from anyseek.search.catalogue import collections
from anyseek.search.catalogue.failures import error_message
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import AnyseekError
from anyseek.search.settings import Limits
from anyseek.workers.job_rate import ProgressMonitors
from anyseek.workers.runtime import Runtime

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = max(2, os.cpu_count() or 2)
_MAX_WAITING = 64
_MAX_WAITING_GPU = 256  # two batches
# Writes have their own threads, because they wait for each other and for the disk, and reads must not.
_WRITE_THREADS = 4
# A prediction may take minutes, so predictions have their own queue and never delay a query.
PREDICTION_SECONDS = 600.0
_MAX_WAITING_PREDICTIONS = 4
# A filter may take seconds, so listings and counts with one do not use the threads of other reads.
_FILTER_THREADS = 2
# A map takes seconds to lay out, so maps have one thread: two at once would take the processors from queries.
_MAX_WAITING_MAPS = 8
# How often items put one at a time are written to a snapshot, and the minimum number of log entries for that.
_HOUSEKEEPING_SECONDS = 60.0
_SNAPSHOT_MIN_ENTRIES = 500
_AUDIT_PRUNE_SECONDS = 3600.0


class RequestAbandoned(Exception):
    """The client has disconnected. Not an `AnyseekError`, since nobody receives its message."""


class RequestBudget(Budget):
    """The budget of a request's files and filters together, and whether its client is still connected."""

    def __init__(self, pixels: int, seconds: float, filter_seconds: float = math.inf) -> None:
        super().__init__(pixels, seconds, filter_seconds)
        self._abandoned = threading.Event()
        self._abandon_callbacks: list[Callable[[], object]] = []

    def abandon(self) -> None:
        """Mark the request as abandoned, in all threads, and run the callbacks."""
        self._abandoned.set()
        for callback in list(self._abandon_callbacks):
            callback()

    @contextmanager
    def on_abandon(self, callback: Callable[[], object]) -> Iterator[None]:
        """Register a callback of `abandon` for the duration of the block; it runs on the event loop."""
        self._abandon_callbacks.append(callback)
        try:
            yield
        finally:
            self._abandon_callbacks.remove(callback)

    @property
    def is_over(self) -> bool:
        return self._abandoned.is_set() or super().is_over

    def check(self) -> None:
        """Raises `RequestAbandoned` once the client has disconnected, and as any budget does."""
        if self._abandoned.is_set():
            raise RequestAbandoned
        super().check()


def current_request_budget() -> RequestBudget | None:
    """The budget of the current request; None outside of requests."""
    budget = current_budget()
    return budget if isinstance(budget, RequestBudget) else None


def allow_batch(limits: Limits) -> None:
    """Raise the budget of the current request to the one for a batch of queries."""
    budget = current_request_budget()
    if budget is not None:
        budget.reset(limits.pixels_per_batch, limits.decoding_seconds_per_batch, limits.filter_seconds_per_batch)


class Pool:
    """Runs at most `threads` calls at a time; at most `max_waiting` more wait for a slot."""

    def __init__(self, threads: int, max_waiting: int) -> None:
        self.threads = threads
        self.max_waiting = max_waiting
        self.slots = anyio.CapacityLimiter(threads)
        self.pending = 0

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in a thread. After a disconnect a running call is still awaited; only waiting for a slot ends.

        Raises `Busy` if too many calls are waiting, and `RequestAbandoned`.
        """

        def call() -> T:
            raise_if_abandoned()
            return work(*args, **kwargs)

        with self.abandonable():
            return await to_thread.run_sync(call, limiter=self.slots)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a slot for a block that already has its own thread. Raises `Busy`."""
        with self._count_pending():
            async with self.slots:
                yield

    @contextmanager
    def abandonable(self) -> Iterator[None]:
        """Count a block as pending, and cancel it if its client disconnects. Raises `Busy` and `RequestAbandoned`."""
        budget, scope = current_request_budget(), anyio.CancelScope()
        with self._count_pending(), budget.on_abandon(scope.cancel) if budget else nullcontext(), scope:
            yield
        if scope.cancelled_caught:
            raise RequestAbandoned

    @contextmanager
    def _count_pending(self) -> Iterator[None]:
        if self.pending >= self.threads + self.max_waiting:
            raise Busy("too many requests are waiting; try again in a moment")
        self.pending += 1
        try:
            yield
        finally:
            self.pending -= 1


@dataclass(frozen=True)
class ServiceSettings:
    """Settings of a service.

    `loopback`: reached only from this machine. `roots`: folders in which index jobs may be started. `in_process`: only
    this process sends requests, with the rights of its user; models are loaded when they are used.
    """

    loopback: bool = True
    roots: tuple[Path, ...] = ()
    in_process: bool = False


class Service:
    """A runtime behind HTTP. The model is loaded in the background, so that the service answers at once."""

    def __init__(self, runtime: Runtime, settings: ServiceSettings) -> None:
        self.runtime = runtime
        self.settings = settings
        self._ready = settings.in_process
        self._failure: ModelError | None = None
        self.may_use_gpu = runtime.settings.device != CPU
        self.pool = Pool(_THREADS, _MAX_WAITING_GPU if self.may_use_gpu else _MAX_WAITING)
        # Queries with files wait for decoders, and batches take long, so neither uses the threads of plain queries.
        self.heavy_queries = Pool(_THREADS, _MAX_WAITING)
        self.writes = Pool(_WRITE_THREADS, _MAX_WAITING)
        self.filtered_reads = Pool(_FILTER_THREADS, _MAX_WAITING)
        self.predictor = Predictor(
            runtime.settings.home,
            runtime.model,
            PREDICTION_SECONDS,
            serving=lambda: cast(Model, runtime.embedder),
            device=runtime.settings.device,
        )
        self.progress_monitors = ProgressMonitors(lambda job_id: self.runtime.queue.status(job_id))
        self.predictions = Pool(1, _MAX_WAITING_PREDICTIONS)
        self.maps = Pool(1, _MAX_WAITING_MAPS)
        serving = runtime.settings.serving
        own_processes = serving.decoders and not settings.in_process
        self.decoders = DecoderPool(serving.decoders, serving.decoder_mb) if own_processes else None
        self._closing = threading.Event()

    async def read(self, where: str | None, work: Callable[[], T]) -> T:
        """Run a read of the catalogue in a thread; one with a filter in the pool of filtered reads."""
        return await (to_thread.run_sync(work) if where is None else self.filtered_reads.run(work))

    @property
    def limits(self) -> Limits:
        return self.runtime.settings.limits

    @property
    def private_paths(self) -> tuple[Path, ...]:
        """Folders that errors may name; their paths are redacted except for the scope admin."""
        installation = self.runtime.settings
        return installation.home, *self.settings.roots, *installation.roots, PROGRAM_FOLDER

    @property
    def state(self) -> str:
        """The state of the model: loading, ready or failed."""
        return "failed" if self._failure else "ready" if self._ready else "loading"

    def start(self) -> None:
        """Start to load the model, then resume interrupted jobs, and keep snapshots up to date.

        Also start to compare the derived tables of filters and full text with the items. Does nothing
        for a service `in_process`.
        """
        if self.settings.in_process:
            return
        threading.Thread(target=self._run_background, name="service", daemon=True).start()
        hours = self.runtime.settings.health.compare_hours
        compare = partial(self.runtime.derived.run, self._closing, hours)
        threading.Thread(target=compare, name="derived", daemon=True).start()

    def close(self) -> None:
        """Stop the background work, a prediction at its next step, and the decoder processes."""
        self._closing.set()
        self.predictor.close()
        if self.decoders is not None:
            self.decoders.close()

    def _run_background(self) -> None:
        self._load()
        resumed, pruned_at = False, -_AUDIT_PRUNE_SECONDS
        while self._ready:
            resumed = resumed or _attempt("jobs are not resumed", self.runtime.queue.resume)
            if self._closing.wait(_HOUSEKEEPING_SECONDS):
                return
            _attempt("no snapshots", self._write_snapshots)
            if time.monotonic() - pruned_at >= _AUDIT_PRUNE_SECONDS:
                _attempt("the audit log is not pruned", self.runtime.prune_audit)
                pruned_at = time.monotonic()

    def _write_snapshots(self) -> None:
        with self.runtime.database.read() as session:
            names = [collection.name for collection in collections.list_all(session)]
        for name in names:
            _attempt("no snapshot", partial(self._write_snapshot, name))

    def _write_snapshot(self, name: str) -> None:
        self.runtime.refresh_taught(name)
        self.runtime.context_of_collection(name).engine.write_snapshots(name, _SNAPSHOT_MIN_ENTRIES)

    def _load(self) -> None:
        started = time.perf_counter()
        try:
            embedder = self.runtime.embedder
            embedder.embed(_warm_up_samples(embedder), list(embedder.spaces))
        except ModelError as error:
            self._failure = error
            logger.error("model not loaded", extra={"fields": {"reason": str(error)}})
            return
        except Exception:
            error_message = f"the model {self.runtime.model} could not be loaded; the service's log tells why"
            self._failure = ModelError(error_message)
            logger.exception("model not loaded")
            return
        self._ready = True
        seconds = round(time.perf_counter() - started, 2)
        logger.info("ready", extra={"fields": {"model": embedder.name, "seconds": seconds}})

    def check_ready(self) -> None:
        """Raises `NotReady` while the model is loading, and the `ModelError` if it could not be loaded."""
        if self._failure:
            raise self._failure
        if not self._ready:
            raise NotReady("the model is still being loaded; try again in a moment")

    @property
    def embedder(self) -> Embedder:
        """The loaded model. Raises as `check_ready` does."""
        self.check_ready()
        return self.runtime.embedder

    def engine_for(self, collection: str) -> SearchEngine:
        """The engine of a collection's model. Raises `CollectionNotFound`, and as `check_ready` does."""
        self.check_ready()
        return self.runtime.context_of_collection(collection).engine

    def forget(self, collection: str) -> None:
        """Release the index of a deleted collection."""
        if self._ready:
            self.runtime.forget(collection)


def _attempt(failure: str, work: Callable[[], object]) -> bool:
    """Run `work` that is retried later; log an expected error, such as a full disk, as `failure`. Return success."""
    try:
        work()
    except (AnyseekError, SQLAlchemyError, OSError) as error:
        logger.warning(failure, extra={"fields": {"reason": error_message(error)}})
        return False
    return True


def _warm_up_samples(embedder: Embedder) -> list[Sample]:
    """Samples that make a model load everything it loads lazily for queries: a caption and a picture."""
    samples = [Sample({"caption": "a picture"})]
    if "rgb" in embedder.modalities:
        samples.append(Sample({"rgb": np.zeros((8, 8, 3), np.uint8)}))
    return samples
