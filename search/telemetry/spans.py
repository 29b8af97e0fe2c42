"""Spans of traces: the time that a request, a stage or a task took, and their parents. None are made until
`anyseek.search.telemetry.settings.start`.

The work is done by a `Tracer`: that of `anyseek.search.telemetry.opentelemetry_spans`, which alone imports the optional
library. Without one, a span costs a look at a variable. Spans never have paths, contents or texts of errors.
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

Headers = Iterable[tuple[bytes, bytes]]
Carried = Mapping[str, str]
"""Names a span in another process or thread, in the form of the headers of W3C Trace Context."""


class Span(Protocol):
    """A piece of work that is being traced."""

    def tell(self, name: str, value: str | int) -> None:
        """Add an attribute."""
        ...

    def rename(self, name: str) -> None:
        """Give the span another name, once it is known."""
        ...

    def fail(self, kind: str) -> None:
        """Mark the span as failed by an error of this kind."""
        ...


class Tracer(Protocol):
    """Makes spans. All methods may be called in any thread; what a span is part of follows the context (PEP 567)."""

    def begin(self, name: str, carried: Carried, is_request: bool) -> AbstractContextManager[Span]:
        """A span that is part of the carried one; of the current one, or a trace of its own, where none is carried."""
        ...

    def within(self, name: str) -> AbstractContextManager[object]:
        """A span that is part of the current one; none where there is none, because nobody asked for that work."""
        ...

    def carried(self) -> Carried:
        """Headers by which another process continues the current span; empty if there is none."""
        ...

    def tell(self, name: str, value: str | int) -> None:
        """Add an attribute to the current span, if there is one."""
        ...

    def close(self) -> None:
        """Send what is left."""
        ...


_NOTHING: AbstractContextManager[None] = nullcontext()
_CARRIED = (b"traceparent", b"tracestate")
_tracer: Tracer | None = None


def trace_with(tracer: Tracer | None) -> None:
    """Trace this process with `tracer` from now on; None ends that, and sends the remaining spans."""
    global _tracer
    before, _tracer = _tracer, tracer
    if before is not None:
        before.close()


def of_request(name: str, headers: Headers) -> AbstractContextManager[Span | None]:
    """A span of a request with these headers, which may name a span of its sender."""
    if _tracer is None:
        return _NOTHING
    carried = {name.decode(): value.decode("latin-1") for name, value in headers if name in _CARRIED}
    return _tracer.begin(name, carried, is_request=True)


def of_task(name: str, carried: Carried) -> AbstractContextManager[Span | None]:
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
