"""What the routes share: the runtime, the state of the model, bounded thread pools, and the budget of a request."""

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
from anyseek.api.places import PROGRAM
from anyseek.api.predictions.predictor import Predictor
from anyseek.model.compute.devices import CPU
from anyseek.model.errors import ModelError
from anyseek.model.modalities.reading.budget import Budget, current_budget, raise_if_abandoned
from anyseek.model.modalities.reading.decoders import Decoders
from anyseek.model.seam import Embedder, Model, Sample
from anyseek.search.catalogue import collections
from anyseek.search.catalogue.failures import error_message
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import AnyseekError
from anyseek.search.settings import Limits
from anyseek.workers.job_rate import Observers
from anyseek.workers.runtime import Runtime

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_AT_WORK = max(2, os.cpu_count() or 2)
_WAITING = 64
_WAITING_FOR_CARD = 256  # two of its batches
# Writes have threads of their own, because they wait for each other and for the disk, and reading must not.
_WRITING = 4
# A prediction may take minutes, so predictions have their own queue and never delay a query.
PREDICTION_SECONDS = 600.0
_PREDICTIONS_WAITING = 4
# A filter may take seconds, so listings and counts with one leave the threads of all other reads alone.
_FILTERING = 2
# A map takes seconds to lay out, so maps have one thread: two at once would take the processors from queries.
_MAPS_WAITING = 8
# How often to gather singly put items into a snapshot, and from how many items on that is worth while.
_HOUSEKEEPING_SECONDS = 60.0
_HOUSEKEEPING_TAIL = 500
_AUDIT_PRUNED_SECONDS = 3600.0


class RequestAbandoned(Exception):
    """Nobody waits for the answer any more. No `AnyseekError`, since no sentence of it reaches anybody."""


class RequestBudget(Budget):
    """The budget of one request's files and filters together, and whether its client still waits for the answer."""

    def __init__(self, pixels: int, seconds: float, filter_seconds: float = math.inf) -> None:
        super().__init__(pixels, seconds, filter_seconds)
        self._abandoned = threading.Event()
        self._when_abandoned: list[Callable[[], object]] = []

    def abandon(self) -> None:
        """The client has left; `check` says so from now on, in any thread."""
        self._abandoned.set()
        for call in list(self._when_abandoned):
            call()

    @contextmanager
    def calling(self, call: Callable[[], object]) -> Iterator[None]:
        """Have `abandon` call something if the client leaves during the block, on the event loop."""
        self._when_abandoned.append(call)
        try:
            yield
        finally:
            self._when_abandoned.remove(call)

    @property
    def is_over(self) -> bool:
        return self._abandoned.is_set() or super().is_over

    def check(self) -> None:
        """Raises `RequestAbandoned` once the client has left, and as any budget does."""
        if self._abandoned.is_set():
            raise RequestAbandoned
        super().check()


def budget_of_request() -> RequestBudget | None:
    """The budget of the request that is answered here; None outside of requests."""
    budget = current_budget()
    return budget if isinstance(budget, RequestBudget) else None


def allow_batch(limits: Limits) -> None:
    """Raise the budget of the current request to that of a batch of queries."""
    budget = budget_of_request()
    if budget is not None:
        budget.allow(limits.pixels_per_batch, limits.decoding_seconds_per_batch, limits.filter_seconds_per_batch)


class Pool:
    """Runs at most `at_work` calls at a time; at most `waiting` more wait for their turn."""

    def __init__(self, at_work: int, waiting: int) -> None:
        self.at_work = at_work
        self.waiting = waiting
        self.turns = anyio.CapacityLimiter(at_work)
        self.wanted = 0

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in one of the threads. What has begun is waited for; a client that leaves ends only the wait.

        Raises `Busy` when too many calls wait for one already, and `RequestAbandoned`.
        """

        def wanted() -> T:
            raise_if_abandoned()
            return work(*args, **kwargs)

        with self.counted():
            return await to_thread.run_sync(wanted, limiter=self.turns)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """The same for a block that has a thread of its own."""
        with self._wanted():
            async with self.turns:
                yield

    @contextmanager
    def counted(self) -> Iterator[None]:
        """A block that waits for its answer, until its client leaves. Raises `Busy` and `RequestAbandoned`."""
        budget, waiting = budget_of_request(), anyio.CancelScope()
        with self._wanted(), budget.calling(waiting.cancel) if budget else nullcontext(), waiting:
            yield
        if waiting.cancelled_caught:
            raise RequestAbandoned

    @contextmanager
    def _wanted(self) -> Iterator[None]:
        if self.wanted >= self.at_work + self.waiting:
            raise Busy("too many requests are waiting; try again in a moment")
        self.wanted += 1
        try:
            yield
        finally:
            self.wanted -= 1


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
        self.may_use_card = runtime.settings.device != CPU
        self.pool = Pool(_AT_WORK, _WAITING_FOR_CARD if self.may_use_card else _WAITING)
        # Queries with files wait for decoders, and batches take long, so both leave the threads of plain queries alone.
        self.costly = Pool(_AT_WORK, _WAITING)
        self.writes = Pool(_WRITING, _WAITING)
        self.filtering = Pool(_FILTERING, _WAITING)
        self.predictor = Predictor(
            runtime.settings.home,
            runtime.model,
            PREDICTION_SECONDS,
            serving=lambda: cast(Model, runtime.embedder),
            device=runtime.settings.device,
        )
        self.observers = Observers(lambda job_id: self.runtime.queue.status(job_id))
        self.predictions = Pool(1, _PREDICTIONS_WAITING)
        self.maps = Pool(1, _MAPS_WAITING)
        serving = runtime.settings.serving
        own_processes = serving.decoders and not settings.in_process
        self.decoders = Decoders(serving.decoders, serving.decoder_mb) if own_processes else None
        self._closing = threading.Event()

    async def read(self, where: str | None, work: Callable[[], T]) -> T:
        """Run what reads the catalogue in a thread, or with a filter in one of the few for that."""
        return await (to_thread.run_sync(work) if where is None else self.filtering.run(work))

    @property
    def limits(self) -> Limits:
        return self.runtime.settings.limits

    @property
    def places(self) -> tuple[Path, ...]:
        """The folders of this machine that texts of errors may name; only the scope admin may see where they lie."""
        installation = self.runtime.settings
        return installation.home, *self.settings.roots, *installation.roots, PROGRAM

    @property
    def state(self) -> str:
        """The state of the model: loading, ready or failed."""
        return "failed" if self._failure else "ready" if self._ready else "loading"

    def start(self) -> None:
        """Start to load the model, then resume jobs that a killed service left, and keep snapshots up to date.

        Beside that, compare what filters and full text read with the items. In a process of somebody else's it does
        none of these.
        """
        if self.settings.in_process:
            return
        threading.Thread(target=self._work, name="service", daemon=True).start()
        hours = self.runtime.settings.health.compare_hours
        compare = partial(self.runtime.derived.run, self._closing, hours)
        threading.Thread(target=compare, name="derived", daemon=True).start()

    def close(self) -> None:
        """Stop the background work, a prediction at its next step, and the processes that decode."""
        self._closing.set()
        self.predictor.close()
        if self.decoders is not None:
            self.decoders.close()

    def _work(self) -> None:
        self._load()
        resumed, pruned_at = False, -_AUDIT_PRUNED_SECONDS
        while self._ready:
            resumed = resumed or _attempt("jobs are not resumed", self.runtime.queue.resume)
            if self._closing.wait(_HOUSEKEEPING_SECONDS):
                return
            _attempt("no snapshots", self._write_snapshots)
            if time.monotonic() - pruned_at >= _AUDIT_PRUNED_SECONDS:
                _attempt("the audit log is not pruned", self.runtime.prune_audit)
                pruned_at = time.monotonic()

    def _write_snapshots(self) -> None:
        with self.runtime.database.read() as session:
            names = [collection.name for collection in collections.list_all(session)]
        for name in names:
            _attempt("no snapshot", partial(self._write_snapshot, name))

    def _write_snapshot(self, name: str) -> None:
        self.runtime.tools_for(name).engine.write_snapshots(name, _HOUSEKEEPING_TAIL)

    def _load(self) -> None:
        started = time.perf_counter()
        try:
            embedder = self.runtime.embedder
            embedder.embed(_first_samples(embedder), list(embedder.spaces))
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
        """The engine with a collection's model, if it is loaded. Raises as `check_ready`, `CollectionNotFound`."""
        self.check_ready()
        return self.runtime.tools_for(collection).engine

    def forget(self, collection: str) -> None:
        """Release the index of a deleted collection."""
        if self._ready:
            self.runtime.forget(collection)


def _attempt(failure: str, work: Callable[[], object]) -> bool:
    """Do what may fail without harm, as on a full disk, and is done again later; log the `failure`."""
    try:
        work()
    except (AnyseekError, SQLAlchemyError, OSError) as error:
        logger.warning(failure, extra={"fields": {"reason": error_message(error)}})
        return False
    return True


def _first_samples(embedder: Embedder) -> list[Sample]:
    """What has a model load all that queries need, which it may have put off: words and a picture."""
    samples = [Sample({"caption": "a picture"})]
    if "rgb" in embedder.modalities:
        samples.append(Sample({"rgb": np.zeros((8, 8, 3), np.uint8)}))
    return samples
