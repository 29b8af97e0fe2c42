"""Traces by OpenTelemetry, which is optional: `pip install 'anyseek[telemetry]'`.

Spans are sent by OTLP over HTTP. OpenTelemetry's own variables say where to, how many and under which name
(`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER`, `OTEL_SERVICE_NAME`, …). Nothing of it is global, so that tracing
by others in this process is left alone.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_FORM = TraceContextTextMapPropagator()


@dataclass(frozen=True)
class Span:
    """A piece of work that is being traced."""

    span: trace.Span

    def tell(self, name: str, value: str | int) -> None:
        """Add an attribute."""
        self.span.set_attribute(name, value)

    def rename(self, name: str) -> None:
        """Give the span another name, once it is known."""
        self.span.update_name(name)

    def fail(self, kind: str) -> None:
        """Mark the span as failed by an error of this kind."""
        self.span.set_attribute("error.type", kind)
        self.span.set_status(trace.StatusCode.ERROR)


class OpenTelemetry:
    """Makes spans; which span one is part of follows the context (PEP 567). Thread-safe.

    Make it in each process after it was forked, because a thread sends the spans.
    """

    def __init__(self, service: str, processor: SpanProcessor) -> None:
        """`service` names the service unless `OTEL_SERVICE_NAME` is set; `processor` gets each span when it ends."""
        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: service}
        self._provider = TracerProvider(resource=Resource.create(named))
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("anyseek")

    @classmethod
    def exporting(cls, service: str) -> "OpenTelemetry":
        """One that sends spans in batches; while nobody takes them they are dropped, and the log says so."""
        return cls(service, BatchSpanProcessor(OTLPSpanExporter()))

    @contextmanager
    def begin(self, name: str, carried: Mapping[str, str], is_request: bool) -> Iterator[Span]:
        """A span that is part of the carried one; of the current one, or a trace of its own, where none is carried."""
        kind = trace.SpanKind.SERVER if is_request else trace.SpanKind.CONSUMER
        context = _FORM.extract(carried) if carried else None
        with _current(self._tracer.start_span(name, context, kind)) as span:
            yield span

    def within(self, name: str) -> AbstractContextManager[object]:
        """A span that is part of the current one; none where there is none, because nobody asked for that work."""
        if not trace.get_current_span().get_span_context().is_valid:
            return nullcontext()
        return _current(self._tracer.start_span(name))

    def carried(self) -> Mapping[str, str]:
        """Headers by which another process continues the current span; empty if there is none."""
        found: dict[str, str] = {}
        _FORM.inject(found)
        return found

    def tell(self, name: str, value: str | int) -> None:
        """Add an attribute to the current span, if there is one."""
        trace.get_current_span().set_attribute(name, value)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


@contextmanager
def _current(span: trace.Span) -> Iterator[Span]:
    """The span of the block, which ends it. Of an error only its kind is kept, because its text may quote contents."""
    traced = Span(span)
    with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield traced
        except Exception as error:
            traced.fail(getattr(error, "code", type(error).__name__))
            raise
