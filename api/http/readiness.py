"""Liveness and readiness of a service: `/healthz`, `/readyz`, and the checks behind it.

The checks have their own threads and database connections, so they answer while all others are busy. Each runs at most
once at a time, and unless one failed, results are cached for `CACHE_SECONDS`, so frequent probes are cheap.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy.exc import SQLAlchemyError

from anyseek.api.dependencies import ServiceDependency
from anyseek.api.errors import NotReady
from anyseek.api.http.problems import problem_of
from anyseek.api.http.security import DATABASE_SECONDS, Scope
from anyseek.api.schemas import Answer
from anyseek.api.service import Service
from anyseek.model.errors import ModelError
from anyseek.search.catalogue import figures
from anyseek.search.catalogue.failures import translate_error
from anyseek.search.catalogue.session import Database
from anyseek.search.errors import AnyseekError, DatabaseBusy, IndexUnavailable, StorageFull, StorageReadOnly
from anyseek.search.settings import Settings
from anyseek.search.spaces.base import check_backend
from anyseek.workers.queue import BrokerUnavailable
from anyseek.workers.runtime import Runtime

logger = logging.getLogger(__name__)

router = APIRouter(tags=["health"])

CACHE_SECONDS = 2.0
CHECK_TIMEOUT_SECONDS = (
    3.0  # for all checks together; longer than DATABASE_SECONDS, so that a locked database is reported
)
# Below this commits may fail.
MIN_FREE_MB = 16
_MB = 1 << 20


class State(StrEnum):
    """`degraded`: the service answers, but somebody should look. Only `failed` makes it not ready."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"


@dataclass(frozen=True)
class Check:
    """The result of one check; `detail` is one sentence."""

    name: str
    state: State
    detail: str


Checks = Mapping[str, Callable[[], Check]]


class Readiness:
    """Runs checks in its own threads, for callers on the event loop."""

    def __init__(self, checks: Checks, close: Callable[[], None] = lambda: None) -> None:
        self._checks = checks
        self._close = close
        self._pool = ThreadPoolExecutor(len(checks), thread_name_prefix="readiness")
        self._running: dict[str, Future[Check]] = {}
        self._lock = asyncio.Lock()
        self._results: list[Check] = []
        self._fresh_until = 0.0
        self._logged: dict[str, State] = {}

    async def checks(self) -> Sequence[Check]:
        """All results within `CHECK_TIMEOUT_SECONDS`: cached up to `CACHE_SECONDS`, unless one failed."""
        async with self._lock:
            if time.monotonic() < self._fresh_until:
                return self._results
            for name, check in self._checks.items():
                if name not in self._running:
                    self._running[name] = self._pool.submit(_run_check, name, check)
            waiting = [asyncio.wrap_future(future) for future in self._running.values()]
            await asyncio.wait(waiting, timeout=CHECK_TIMEOUT_SECONDS)
            self._results = [self._result(name) for name in self._checks]
            if all(check.state is not State.FAILED for check in self._results):
                self._fresh_until = time.monotonic() + CACHE_SECONDS
            return self._results

    def _result(self, name: str) -> Check:
        """The result of a check; one that is still running has failed for now and is not started a second time.

        Changes of state are logged, so that the log shows when trouble began and ended.
        """
        if self._running[name].done():
            check = self._running.pop(name).result()
        else:
            check = Check(name, State.FAILED, f"the {name} has not answered for {CHECK_TIMEOUT_SECONDS:g} seconds")
        if self._logged.get(name, State.OK) is not check.state:
            level = logging.INFO if check.state is State.OK else logging.WARNING
            fields = {"check": name, "state": check.state.value, "detail": check.detail}
            logger.log(level, "readiness changed", extra={"fields": fields})
        self._logged[name] = check.state
        return check

    def close(self) -> None:
        """Does not wait for checks that hang."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._close()


def create_readiness(service: Service) -> Readiness:
    """All checks of a service."""
    runtime = service.runtime
    database = Database(runtime.settings.database_url, DATABASE_SECONDS)
    checks = {
        "model": lambda: check_model(service),
        "database": lambda: check_database(database),
        "disk": lambda: check_disk(runtime.settings),
        "index": lambda: check_index(runtime, database),
    }
    if runtime.settings.broker_url:
        checks["queue"] = lambda: check_queue(runtime)
    return Readiness(checks, database.close)


def check_model(service: Service) -> Check:
    """Check that the model is loaded and has embedded something."""
    try:
        service.check_ready()
    except (AnyseekError, ModelError) as error:
        return Check("model", State.FAILED, str(error))
    return Check("model", State.OK, f"{service.runtime.model} is loaded and has embedded something")


def check_database(database: Database) -> Check:
    """Check that the catalogue can be read and written; the write is rolled back.

    A lock of another writer, or a disk that cannot be written, only degrades the service: queries are still answered.
    """
    try:
        collections = figures.probe_read(database)
        figures.probe_write(database)
    except SQLAlchemyError as error:
        translated = translate_error(error)
        is_degraded = isinstance(translated, DatabaseBusy | StorageFull | StorageReadOnly)
        return Check("database", State.DEGRADED if is_degraded else State.FAILED, str(translated))
    return Check("database", State.OK, f"it can be read and written; collections: {collections}")


def check_disk(settings: Settings) -> Check:
    """Check the free space on the disk of the data directory; without any, only queries are answered."""
    free = free_disk_bytes(settings.home) // _MB
    detail = f"{free:,} MiB are free on the disk of the data directory"
    if free < MIN_FREE_MB:
        return Check("disk", State.DEGRADED, f"{detail}; writes need {MIN_FREE_MB} MiB")
    if free < settings.health.free_mb:
        return Check("disk", State.DEGRADED, f"{detail}; ANYSEEK_HEALTH_FREE_MB asks for {settings.health.free_mb:,}")
    return Check("disk", State.OK, detail)


def free_disk_bytes(folder: Path) -> int:
    """The bytes that this user may still write on the disk of `folder`."""
    stats = os.statvfs(folder)
    return stats.f_bavail * stats.f_frsize


def check_index(runtime: Runtime, database: Database) -> Check:
    """Check that the backend works, with the index lag: log entries that no stored index has."""
    try:
        check_backend(runtime.settings)
        lag = runtime.index_lag(database)
    except IndexUnavailable as error:
        return Check("index", State.FAILED, str(error))
    detail = f"at most {lag.entries:,} log entries of a collection are in no stored index"
    age = f"; the oldest snapshot that lacks some is {lag.seconds:,.0f} seconds old" if lag.seconds else ""
    return Check("index", State.OK, f"{detail}{age}")


def check_queue(runtime: Runtime) -> Check:
    """Check that the broker answers, with the length of each queue. Without it only jobs have to wait."""
    try:
        waiting = runtime.queue.waiting_messages() or {}
    except BrokerUnavailable as error:
        return Check("queue", State.DEGRADED, str(error))
    lengths = ", ".join(f"{queue} {count:,}" for queue, count in waiting.items())
    return Check("queue", State.OK, f"the broker answers; waiting messages: {lengths}")


def _run_check(name: str, check: Callable[[], Check]) -> Check:
    """The result of a check; an exception is a failure, and its traceback is logged."""
    try:
        return check()
    except Exception as error:
        logger.exception("the check of readiness %s failed", name)
        translated = translate_error(error)
        return Check(name, State.FAILED, str(translated) if translated else f"the check failed: {type(error).__name__}")


class HealthAnswer(BaseModel):
    status: str = Field(examples=["ok"])
    model: str = Field(description="loading, ready or failed; `/readyz` says why it failed", examples=["ready"])


class CheckAnswer(Answer):
    name: str = Field(examples=["database"])
    state: State = Field(description="`degraded`: the service answers, but somebody should look")
    detail: str = Field(description="one sentence for a person")


class ReadyAnswer(HealthAnswer):
    checks: list[CheckAnswer] | None = Field(None, description="for the scope admin; null for others")


@router.get("/healthz")
async def healthz(service: ServiceDependency) -> HealthAnswer:
    """Check that the process answers, without a thread or the database."""
    return HealthAnswer(status="ok", model=service.state)


@router.get("/readyz", response_model=ReadyAnswer, response_model_exclude_none=True)
async def readyz(request: Request, service: ServiceDependency) -> ReadyAnswer | Response:
    """Check that the service can do its work; 503 if not. With the scope admin, each check with its state.

    It is ready when its model is loaded, the database can be read and written, the disk has room and the index answers.
    """
    readiness: Readiness = request.app.state.readiness
    results = await readiness.checks()
    is_admin = await request.app.state.authenticator.scope_of(request) is Scope.ADMIN
    if any(check.state is State.FAILED for check in results):
        more = {"checks": [CheckAnswer.read(check).model_dump() for check in results]} if is_admin else {}
        return problem_of(_not_ready_error(service, results, is_admin), request.state.request_id, more)
    checks = [CheckAnswer.read(check) for check in results] if is_admin else None
    return ReadyAnswer(status="ready", model=service.state, checks=checks)


def _not_ready_error(service: Service, results: Sequence[Check], is_admin: bool) -> AnyseekError | ModelError:
    """The model's error, else the failed checks; without the scope admin only whether the model is loading."""
    try:
        service.check_ready()
    except (AnyseekError, ModelError) as error:
        if is_admin or isinstance(error, NotReady):
            return error
    if not is_admin:
        return NotReady("the service is not ready; ask with a key of the scope admin to see why")
    failed = [f"{check.name}: {check.detail}" for check in results if check.state is State.FAILED]
    return NotReady(f"the service is not ready; {'; '.join(failed)}")
