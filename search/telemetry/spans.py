"""The time that requests, stages and tasks take: as metrics, and as spans of traces once `start_tracing` was called.

`anyseek.search.telemetry.opentelemetry_spans` makes the spans, and alone imports the optional library. Without it, a
span costs a look at a variable. Spans never have paths, contents or texts of errors.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING

from anyseek.search.errors import BadInput

if TYPE_CHECKING:
    from prometheus_client import Histogram

    from anyseek.search.settings import Settings
    from anyseek.search.telemetry.opentelemetry_spans import OpenTelemetry, Span

Headers = Iterable[tuple[bytes, bytes]]
Carried = Mapping[str, str]
"""Names a span in another process or thread, in the form of the headers of W3C Trace Context."""

_NOTHING: AbstractContextManager[None] = nullcontext()
_CARRIED = (b"traceparent", b"tracestate")
_tracer: "OpenTelemetry | None" = None


class Stage(StrEnum):
    """A part of the work of a query or of indexing; one may contain another, such as an index that reads the log."""

    DECODE = "decode"  # of all parts of a query, or of all files of an item
    MODEL = "model"  # one pass
    INDEX = "index"  # following the log, then searching: two of them in a query
    CATALOGUE = "catalogue"  # a transaction of the database or a single read, with the wait for its lock


@cache
def _instruments() -> tuple[Mapping[Stage, "Histogram"], "Histogram"]:
    """The instruments of stages and of batches.

    They are made when they are first used: a worker says where its processes' metrics are kept before that, and the
    library looks once, when it is imported.
    """
    from anyseek.search.telemetry.metrics import BATCH, STAGE_SECONDS

    return {stage: STAGE_SECONDS.labels(stage.value) for stage in Stage}, BATCH


class TelemetryMissing(BadInput):
    code = "telemetry-missing"


def start_tracing(settings: "Settings", service: str) -> None:
    """Trace this process if the settings ask for it; call it after forks. Raises `TelemetryMissing`."""
    if maker := wanted_tracer(settings):
        trace_with(maker.exporting(service))


def wanted_tracer(settings: "Settings") -> "type[OpenTelemetry] | None":
    """The tracer's class if the settings ask for traces. Raises `TelemetryMissing` if it is not installed."""
    if not settings.telemetry.traces:
        return None
    try:
        from anyseek.search.telemetry.opentelemetry_spans import OpenTelemetry
    except ImportError as error:
        raise TelemetryMissing(
            "ANYSEEK_TELEMETRY_TRACES is true, but OpenTelemetry is not installed; install anyseek[telemetry]"
        ) from error
    return OpenTelemetry


def trace_with(tracer: "OpenTelemetry | None") -> None:
    """Trace this process with `tracer` from now on; None ends that, and sends the remaining spans."""
    global _tracer
    before, _tracer = _tracer, tracer
    if before is not None:
        before.close()


def of_request(name: str, headers: Headers) -> "AbstractContextManager[Span | None]":
    """A span of a request with these headers, which may name a span of its sender."""
    if _tracer is None:
        return _NOTHING
    carried = {name.decode(): value.decode("latin-1") for name, value in headers if name in _CARRIED}
    return _tracer.begin(name, carried, is_request=True)


def of_task(name: str, carried: Carried) -> "AbstractContextManager[Span | None]":
    """A span of work that was asked for elsewhere, where `carried` was called."""
    return _NOTHING if _tracer is None else _tracer.begin(name, carried, is_request=False)


@contextmanager
def timed(stage: Stage) -> Iterator[None]:
    """Time the block as one run of a stage, also if it raises; within a trace it is a span."""
    started = time.perf_counter()
    with _of_stage(stage.value):
        try:
            yield
        finally:
            _instruments()[0][stage].observe(time.perf_counter() - started)


@contextmanager
def embedding(samples: int) -> Iterator[None]:
    """Time the block as a pass of the model over so many samples."""
    _instruments()[1].observe(samples)
    with timed(Stage.MODEL):
        yield


def _of_stage(name: str) -> AbstractContextManager[object]:
    """A span of a part of the work that is under way in this context."""
    return _NOTHING if _tracer is None else _tracer.within(name)


def carried() -> Carried:
    """Headers that name the current span to a process that continues the work; empty where nothing is traced."""
    return {} if _tracer is None else _tracer.carried()


def tell(name: str, value: str | int) -> None:
    """Add an attribute to the current span, if there is one."""
    if _tracer is not None:
        _tracer.tell(name, value)
