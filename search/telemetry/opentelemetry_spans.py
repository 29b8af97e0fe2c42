"""Traces by OpenTelemetry, which is optional: `pip install 'anyseek[telemetry]'`.

Spans are sent by OTLP over HTTP. OpenTelemetry's own variables set the endpoint, the sampling and the service's name
(`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER`, `OTEL_SERVICE_NAME`, …). The provider is not registered globally,
so other tracing in this process is not affected.
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

_PROPAGATOR = TraceContextTextMapPropagator()


@dataclass(frozen=True)
class Span:
    """A span that is under way."""

    span: trace.Span

    def set_attribute(self, name: str, value: str | int) -> None:
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
    """Tracer whose spans are children of the current span of the context (PEP 567). Thread-safe.

    Create one in each process after the fork, because a thread sends the spans.
    """

    def __init__(self, service: str, processor: SpanProcessor) -> None:
        """`service` names the service unless `OTEL_SERVICE_NAME` is set; `processor` gets each span when it ends."""
        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: service}
        self._provider = TracerProvider(resource=Resource.create(named))
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("anyseek")

    @classmethod
    def with_otlp_exporter(cls, service: str) -> "OpenTelemetry":
        """A tracer that sends spans in batches; spans that the collector does not accept are dropped and logged."""
        return cls(service, BatchSpanProcessor(OTLPSpanExporter()))

    @contextmanager
    def entry_span(self, name: str, parent: Mapping[str, str], is_request: bool) -> Iterator[Span]:
        """A child of the span that the headers `parent` name; without headers, of the current span or a new trace."""
        kind = trace.SpanKind.SERVER if is_request else trace.SpanKind.CONSUMER
        context = _PROPAGATOR.extract(parent) if parent else None
        with _activate(self._tracer.start_span(name, context, kind)) as span:
            yield span

    def child_span(self, name: str) -> AbstractContextManager[object]:
        """A child of the current span; no span outside of traces, since no request or task asked for that work."""
        if not trace.get_current_span().get_span_context().is_valid:
            return nullcontext()
        return _activate(self._tracer.start_span(name))

    def trace_headers(self) -> Mapping[str, str]:
        """Headers by which another process makes children of the current span; empty without one."""
        headers: dict[str, str] = {}
        _PROPAGATOR.inject(headers)
        return headers

    def set_attribute(self, name: str, value: str | int) -> None:
        """Add an attribute to the current span, if there is one."""
        trace.get_current_span().set_attribute(name, value)

    def close(self) -> None:
        """Send the remaining spans."""
        self._provider.shutdown()


@contextmanager
def _activate(span: trace.Span) -> Iterator[Span]:
    """Make `span` current in the block, then end it. Errors are recorded by kind only: messages may quote contents."""
    traced = Span(span)
    with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield traced
        except Exception as error:
            traced.fail(getattr(error, "code", type(error).__name__))
            raise
