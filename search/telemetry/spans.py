"""Spans of traces: the time that a request, a stage or a task took, and their parents; none until `start_tracing`.

`anyseek.search.telemetry.opentelemetry_spans` makes them, and alone imports the optional library. Without it, a span
costs a look at a variable. Spans never have paths, contents or texts of errors.
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from anyseek.search.errors import BadInput

if TYPE_CHECKING:
    from anyseek.search.settings import Settings
    from anyseek.search.telemetry.opentelemetry_spans import OpenTelemetry, Span

Headers = Iterable[tuple[bytes, bytes]]
Carried = Mapping[str, str]
"""Names a span in another process or thread, in the form of the headers of W3C Trace Context."""

_NOTHING: AbstractContextManager[None] = nullcontext()
_CARRIED = (b"traceparent", b"tracestate")
_tracer: "OpenTelemetry | None" = None


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


def of_stage(name: str) -> AbstractContextManager[object]:
    """A span of a part of the work that is under way in this context."""
    return _NOTHING if _tracer is None else _tracer.within(name)


def carried() -> Carried:
    """Headers that name the current span to a process that continues the work; empty where nothing is traced."""
    return {} if _tracer is None else _tracer.carried()


def tell(name: str, value: str | int) -> None:
    """Add an attribute to the current span, if there is one."""
    if _tracer is not None:
        _tracer.tell(name, value)
