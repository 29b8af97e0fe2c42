"""Traces by OpenTelemetry, which is optional: `pip install 'anyseek[telemetry]'`.

Spans are sent by OTLP over HTTP. Where to, how many and under which name is said by OpenTelemetry's own variables
(`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER`, `OTEL_SERVICE_NAME`, …). Nothing of it is global, so that tracing
by others in this process is left alone.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from anyseek.search.telemetry.spans import Carried, Span

_FORM = TraceContextTextMapPropagator()


class OpenTelemetry:
    """Implements `anyseek.search.telemetry.spans.Tracer`. `processor` is given each span when it ends.

    Make it in each process after it was forked, because a thread sends the spans.
    """

    def __init__(self, service: str, processor: SpanProcessor) -> None:
        """`service` is the name of the service unless `OTEL_SERVICE_NAME` is set."""
        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: service}
        self._provider = TracerProvider(resource=Resource.create(named))
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("anyseek")

    @classmethod
    def exporting(cls, service: str) -> "OpenTelemetry":
        """One that sends spans in batches; while nobody takes them they are dropped, and the log says so."""
        return cls(service, BatchSpanProcessor(OTLPSpanExporter()))

    @contextmanager
    def begin(self, name: str, carried: Carried, is_request: bool) -> Iterator[Span]:
        kind = trace.SpanKind.SERVER if is_request else trace.SpanKind.CONSUMER
        context = _FORM.extract(carried) if carried else None
        with _current(self._tracer.start_span(name, context, kind)) as span:
            yield span

    def within(self, name: str) -> AbstractContextManager[object]:
        if not trace.get_current_span().get_span_context().is_valid:
            return nullcontext()
        return _current(self._tracer.start_span(name))

    def carried(self) -> Carried:
        found: dict[str, str] = {}
        _FORM.inject(found)
        return found

    def tell(self, name: str, value: str | int) -> None:
        trace.get_current_span().set_attribute(name, value)

    def close(self) -> None:
        self._provider.shutdown()


@dataclass(frozen=True)
class _Span:
    """Implements `anyseek.search.telemetry.spans.Span`."""

    span: trace.Span

    def tell(self, name: str, value: str | int) -> None:
        self.span.set_attribute(name, value)

    def rename(self, name: str) -> None:
        self.span.update_name(name)

    def fail(self, kind: str) -> None:
        self.span.set_attribute("error.type", kind)
        self.span.set_status(trace.StatusCode.ERROR)


@contextmanager
def _current(span: trace.Span) -> Iterator[Span]:
    """The span of the block, which ends it. Of an error only its kind is told, because its text may quote contents."""
    traced = _Span(span)
    with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield traced
        except Exception as error:
            traced.fail(getattr(error, "code", type(error).__name__))
            raise
