"""Metrics of the service for Prometheus: its requests, and at each scrape gauges of the whole installation.

`/metrics` answers even while the database fails or all threads are busy.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import Scope

from anyseek.api.http.readiness import Check, Readiness, State, free_disk_bytes
from anyseek.api.http.security import DATABASE_SECONDS
from anyseek.search.catalogue.failures import error_message
from anyseek.search.catalogue.figures import read_figures
from anyseek.search.catalogue.session import Database
from anyseek.search.errors import AnyseekError
from anyseek.search.telemetry import spans
from anyseek.search.telemetry.metrics import REGISTRY, SECONDS
from anyseek.workers.queue import BrokerUnavailable
from anyseek.workers.runtime import Runtime

if TYPE_CHECKING:
    from anyseek.search.telemetry.opentelemetry_spans import Span

logger = logging.getLogger(__name__)

router = APIRouter(tags=["health"])

_REFRESH_TIMEOUT_SECONDS = 4.0  # after that a scrape gets the last values, with their age
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
_NO_ROUTE = "none"
_LEVELS = {State.OK: 0, State.DEGRADED: 1, State.FAILED: 2}

_REQUESTS = Counter(
    "anyseek_http_requests_total", "Requests that were answered", ["method", "route", "status"], registry=REGISTRY
)
_SECONDS = Histogram(
    "anyseek_http_request_seconds", "Seconds until an answer was sent", ["route"], buckets=SECONDS, registry=REGISTRY
)
_IN_PROGRESS = Gauge("anyseek_http_requests_in_progress", "Requests that are being answered", registry=REGISTRY)
BATCHED_QUERIES = Histogram(
    "anyseek_gathered_queries",
    "Queries that were answered together, because they came while others were answered",
    buckets=[1 << power for power in range(8)],
    registry=REGISTRY,
)
ProcessCollector(registry=REGISTRY)


@dataclass
class Measurement:
    """An open request; `status` is 0 until its response starts."""

    started: float
    status: int = 0

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started


@contextmanager
def measure_request(scope: Scope) -> Iterator[Measurement]:
    """Count and time a request. A request to `/v1` is a span, whose parent is the sender's span.

    Labels have few values: the route instead of the path, and one value for all unknown methods. Spans of probes,
    scrapes and the page's files would be noise.
    """
    measurement = Measurement(time.perf_counter())
    is_traced = scope["path"].startswith("/v1/")
    _IN_PROGRESS.inc()
    with spans.request_span(scope["method"], scope["headers"]) if is_traced else nullcontext() as span:
        try:
            yield measurement
        finally:
            _IN_PROGRESS.dec()
            method = scope["method"] if scope["method"] in _METHODS else "other"
            route = getattr(scope.get("route"), "path", None) or _NO_ROUTE
            _REQUESTS.labels(method, route, str(measurement.status)).inc()
            _SECONDS.labels(route).observe(measurement.seconds)
            if span is not None:
                _set_span_attributes(span, scope, method, route, measurement.status)


def _set_span_attributes(span: "Span", scope: Scope, method: str, route: str, status: int) -> None:
    """Set the attributes of a request's span: the fields of its log line without the address."""
    state = scope.get("state", {})
    attributes = {
        "http.request.method": method,
        "http.route": route,
        "http.response.status_code": status,
        "anyseek.request_id": state.get("request_id"),
        "anyseek.key": state.get("key"),
    }
    span.rename(f"{method} {route}")
    for name, value in attributes.items():
        if value is not None:
            span.set_attribute(name, value)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        span.fail(str(status))


class InstallationMetrics(Collector):
    """Gauges of the whole installation, read from the catalogue, the index and the broker by `refresh`.

    Every service of an installation exports the same values. Reading them takes at most a tenth of the time.
    """

    def __init__(self, runtime: Runtime, database: Database) -> None:
        self._runtime = runtime
        self._database = database
        self._families: list[Metric] = []
        self._refreshed_at = 0.0
        self._next_refresh_at = 0.0

    def refresh(self) -> None:
        """Read the values unless they are fresh. Raises SQLAlchemy's errors, `IndexUnavailable`."""
        started = time.monotonic()
        if started < self._next_refresh_at:
            return
        with self._database.read() as session:
            counts = read_figures(session)
        lag = self._runtime.index_lag(self._database)
        self._families = [
            _gauges("anyseek_jobs", "Jobs that have not ended", "state", counts.jobs),
            _gauges("anyseek_job_inputs", "Inputs of these jobs that are open", "state", counts.inputs),
            _gauges("anyseek_quarantined_inputs", "Inputs in quarantine", "reason", counts.quarantined),
            _gauges("anyseek_leases", "Leases that are valid", "kind", counts.leases),
            _gauge("anyseek_owners", "Processes that work on jobs", counts.owners),
            _gauge("anyseek_collections", "Collections", lag.collections),
            _gauge("anyseek_index_lag_entries", "The most log entries of a collection in no stored index", lag.entries),
            _gauge("anyseek_snapshot_age_seconds", "Age of the oldest snapshot that lacks entries", lag.seconds),
            *self._queue_metrics(),
        ]
        self._refreshed_at = time.monotonic()
        self._next_refresh_at = self._refreshed_at + 9 * (self._refreshed_at - started)

    def collect(self) -> Iterable[Metric]:
        """The last values with their age; only the free disk space before the first refresh."""
        free = free_disk_bytes(self._runtime.settings.home)
        yield _gauge("anyseek_free_disk_bytes", "Free room on the disk of the data directory", free)
        if self._families:
            age = time.monotonic() - self._refreshed_at
            yield _gauge("anyseek_installation_age_seconds", "Age of the numbers of the installation", age)
            yield from self._families

    def _queue_metrics(self) -> Iterator[Metric]:
        try:
            waiting = self._runtime.queue.waiting_messages()
        except BrokerUnavailable:  # then the gauge is missing; `anyseek_check_state` shows why
            return
        if waiting is not None:
            yield _gauges("anyseek_queue_messages", "Messages that wait at the broker", "queue", waiting)


def check_metrics(checks: Iterable[Check]) -> Metric:
    """The state of each readiness check: 0 ok, 1 degraded, 2 failed."""
    levels = {check.name: _LEVELS[check.state] for check in checks}
    return _gauges("anyseek_check_state", "Check of readiness: 0 ok, 1 degraded, 2 failed", "check", levels)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family


class Exporter:
    """Renders scrapes, one at a time, in its own thread."""

    def __init__(self, runtime: Runtime, readiness: Readiness) -> None:
        self._database = Database(runtime.settings.database_url, DATABASE_SECONDS)
        self._installation_metrics = InstallationMetrics(runtime, self._database)
        self._readiness = readiness
        self._refresh_thread = ThreadPoolExecutor(1, thread_name_prefix="metrics")
        self._format_thread = ThreadPoolExecutor(1, thread_name_prefix="metrics-text")
        self._refresh: asyncio.Future[None] | None = None

    async def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        checks = await self._readiness.checks()
        if self._refresh is None or self._refresh.done():
            self._refresh = asyncio.wrap_future(self._refresh_thread.submit(self._refresh_safely))
        await asyncio.wait([self._refresh], timeout=_REFRESH_TIMEOUT_SECONDS)
        scrape = _Scrape(self._installation_metrics, checks)
        return await asyncio.wrap_future(self._format_thread.submit(generate_latest, scrape))

    def close(self) -> None:
        """Does not wait for a refresh that hangs."""
        self._refresh_thread.shutdown(wait=False, cancel_futures=True)
        self._format_thread.shutdown()
        self._database.close()

    def _refresh_safely(self) -> None:
        try:
            self._installation_metrics.refresh()
        except (SQLAlchemyError, AnyseekError) as error:
            logger.warning("the numbers of the installation cannot be read: %s", error_message(error))
        except Exception:
            logger.exception("the numbers of the installation cannot be read")


@dataclass(frozen=True)
class _Scrape(Collector):
    """The metrics of one scrape."""

    installation: InstallationMetrics
    checks: Sequence[Check]

    def collect(self) -> Iterable[Metric]:
        yield from REGISTRY.collect()
        yield from self.installation.collect()
        yield check_metrics(self.checks)


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Get metrics for Prometheus. Every scope may read them; `metrics` may do nothing else."""
    exporter: Exporter = request.app.state.exporter
    await request.app.state.authenticator.authenticate(request)
    return Response(await exporter.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)
