"""What the routes share: the runtime, whether the model is loaded, and a bounded pool for work with the model."""

import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

import anyio
from anyio import to_thread
from sqlalchemy.exc import SQLAlchemyError

from api.errors import Busy, NotReady
from api.predictions.predictor import Predictor
from model.errors import ModelError
from model.seam import Embedder, Model, Sample
from search.catalogue import collections
from search.engine import SearchEngine
from search.errors import AnyseekError
from search.settings import Limits
from workers.runtime import Runtime

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_AT_WORK = max(2, os.cpu_count() or 2)
_WAITING = 64
# Writes have threads of their own, because they wait for each other and for the disk, and reading must not.
_WRITING = 4
# A prediction may take minutes, so predictions have their own queue and never delay a query.
PREDICTION_SECONDS = 600.0
_PREDICTIONS_WAITING = 4
# How often to gather singly put items into a snapshot, and from how many items on that is worth while.
_HOUSEKEEPING_SECONDS = 60.0
_HOUSEKEEPING_TAIL = 500
_AUDIT_PRUNED_SECONDS = 3600.0


class Pool:
    """Runs at most `at_work` calls at a time; at most `waiting` more wait for their turn."""

    def __init__(self, at_work: int, waiting: int) -> None:
        self.at_work = at_work
        self.waiting = waiting
        self._limiter = anyio.CapacityLimiter(at_work)
        self.wanted = 0

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in one of the threads. Raises `Busy` when too many calls wait for one already."""
        with self._wanted():
            return await to_thread.run_sync(lambda: work(*args, **kwargs), limiter=self._limiter)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """The same for a block that has a thread of its own."""
        with self._wanted():
            async with self._limiter:
                yield

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
    """How a service runs. `roots`: folders in which index jobs may be started. `loopback`: reached only from here."""

    loopback: bool = True
    roots: tuple[Path, ...] = ()


class Service:
    """A runtime behind HTTP. The model is loaded in the background, so that the service answers at once."""

    def __init__(self, runtime: Runtime, settings: ServiceSettings) -> None:
        self.runtime = runtime
        self.settings = settings
        self._ready = False
        self._failure: ModelError | None = None
        self.pool = Pool(_AT_WORK, _WAITING)
        self.writes = Pool(_WRITING, _WAITING)
        self.predictor = Predictor(
            runtime.settings.home, runtime.model, PREDICTION_SECONDS, serving=lambda: cast(Model, runtime.embedder)
        )
        self.predictions = Pool(1, _PREDICTIONS_WAITING)
        self._closing = threading.Event()

    @property
    def limits(self) -> Limits:
        return self.runtime.settings.limits

    @property
    def state(self) -> str:
        """The state of the model: loading, ready or failed."""
        return "failed" if self._failure else "ready" if self._ready else "loading"

    def start(self) -> None:
        """Start to load the model, then resume jobs that a killed service left, and keep snapshots up to date."""
        threading.Thread(target=self._work, name="service", daemon=True).start()

    def close(self) -> None:
        """Stop the background work, and a prediction at its next step."""
        self._closing.set()
        self.predictor.close()

    def _work(self) -> None:
        self._load()
        resumed = self._ready and self._resume()
        pruned_at = -_AUDIT_PRUNED_SECONDS
        while self._ready and not self._closing.wait(_HOUSEKEEPING_SECONDS):
            resumed = resumed or self._resume()
            self._write_snapshots()
            if time.monotonic() - pruned_at >= _AUDIT_PRUNED_SECONDS:
                self._prune_audit()
                pruned_at = time.monotonic()

    def _prune_audit(self) -> None:
        try:
            self.runtime.prune_audit()
        except SQLAlchemyError as error:
            logger.warning("the audit log is not pruned", extra={"fields": {"reason": str(error)}})

    def _resume(self) -> bool:
        try:
            self.runtime.queue.resume()
        except (AnyseekError, SQLAlchemyError, OSError) as error:  # the disk may be full
            logger.warning("jobs are not resumed", extra={"fields": {"reason": str(error)}})
            return False
        return True

    def _write_snapshots(self) -> None:
        for name in self._names():
            try:
                self.runtime.tools_for(name).engine.write_snapshots(name, _HOUSEKEEPING_TAIL)
            except (AnyseekError, SQLAlchemyError, OSError) as error:
                logger.warning("no snapshot", extra={"fields": {"reason": str(error)}})

    def _names(self) -> list[str]:
        """The collections; none while the database cannot be read, so that this thread goes on."""
        try:
            with self.runtime.database.read() as session:
                return [collection.name for collection in collections.list_all(session)]
        except (AnyseekError, SQLAlchemyError) as error:
            logger.warning("no snapshots", extra={"fields": {"reason": str(error)}})
            return []

    def _load(self) -> None:
        started = time.perf_counter()
        try:
            embedder = self.runtime.embedder
            embedder.embed([Sample({"caption": "a picture"})], list(embedder.spaces))
        except ModelError as error:
            self._failure = error
            logger.error("model not loaded", extra={"fields": {"reason": str(error)}})
            return
        except Exception:
            self._failure = ModelError(
                f"the model {self.runtime.model} could not be loaded; the service's log tells why"
            )
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

    @property
    def engine(self) -> SearchEngine:
        """The search engine, its model loaded. Raises as `check_ready` does."""
        self.check_ready()
        return self.runtime.engine

    def engine_for(self, collection: str) -> SearchEngine:
        """The engine with a collection's model, if it is loaded. Raises as `check_ready`, `CollectionNotFound`."""
        self.check_ready()
        return self.runtime.tools_for(collection).engine

    def forget(self, collection: str) -> None:
        """Release the index of a deleted collection."""
        if self._ready:
            self.runtime.forget(collection)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in one of a few threads. Raises `Busy` when too many calls wait for one already."""
        return await self.pool.run(work, *args, **kwargs)
