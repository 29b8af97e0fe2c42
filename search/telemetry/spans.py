"""The time that requests, stages and tasks take: as metrics, and as spans of traces once `start_tracing` was called.

`anyseek.search.telemetry.opentelemetry_spans` makes the spans, and alone imports the optional library. Without it, a
span costs one test of a variable. Spans never contain paths, contents or error messages.
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
TraceHeaders = Mapping[str, str]
"""The W3C Trace Context headers of a span in another process or thread."""

_NO_SPAN: AbstractContextManager[None] = nullcontext()
_TRACE_HEADERS = (b"traceparent", b"tracestate")
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

    Created lazily: prometheus_client reads the directory of multiprocess metrics when it is imported, and a worker sets
    that directory first.
    """
    from anyseek.search.telemetry.metrics import BATCH, STAGE_SECONDS

    return {stage: STAGE_SECONDS.labels(stage.value) for stage in Stage}, BATCH


class TelemetryMissing(BadInput):
    code = "telemetry-missing"


def start_tracing(settings: "Settings", service: str) -> None:
    """Trace this process if the settings ask for it; call it after forks. Raises `TelemetryMissing`."""
    if cls := tracer_class(settings):
        set_tracer(cls.with_otlp_exporter(service))


def tracer_class(settings: "Settings") -> "type[OpenTelemetry] | None":
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


def set_tracer(tracer: "OpenTelemetry | None") -> None:
    """Set the tracer of this process; None stops tracing. The previous tracer sends its remaining spans."""
    global _tracer
    previous, _tracer = _tracer, tracer
    if previous is not None:
        previous.close()


def request_span(name: str, headers: Headers) -> "AbstractContextManager[Span | None]":
    """A span of a request with these headers; a child of the sender's span if they name one."""
    if _tracer is None:
        return _NO_SPAN
    parent = {name.decode(): value.decode("latin-1") for name, value in headers if name in _TRACE_HEADERS}
    return _tracer.entry_span(name, parent, is_request=True)


def task_span(name: str, parent: TraceHeaders) -> "AbstractContextManager[Span | None]":
    """A span of a task; `parent` are the `trace_headers` of the process that submitted it."""
    return _NO_SPAN if _tracer is None else _tracer.entry_span(name, parent, is_request=False)


@contextmanager
def time_stage(stage: Stage) -> Iterator[None]:
    """Time the block as one run of a stage, also if it raises; within a trace it is a span, too."""
    started = time.perf_counter()
    with _child_span(stage.value):
        try:
            yield
        finally:
            _instruments()[0][stage].observe(time.perf_counter() - started)


@contextmanager
def time_model_pass(samples: int) -> Iterator[None]:
    """Time the block as one pass of the model over a batch of `samples`."""
    _instruments()[1].observe(samples)
    with time_stage(Stage.MODEL):
        yield


def _child_span(name: str) -> AbstractContextManager[object]:
    """A child of the current span."""
    return _NO_SPAN if _tracer is None else _tracer.child_span(name)


def trace_headers() -> TraceHeaders:
    """Headers by which another process makes children of the current span; empty where nothing is traced."""
    return {} if _tracer is None else _tracer.trace_headers()


def set_attribute(name: str, value: str | int) -> None:
    """Add an attribute to the current span, if there is one."""
    if _tracer is not None:
        _tracer.set_attribute(name, value)
