"""Spans that are kept in memory, for the tests of traces."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from anyseek.search.telemetry import spans
from anyseek.search.telemetry.opentelemetry_spans import OpenTelemetry

PATIENCE_SECONDS = 30.0


class Kept:
    """The spans that have ended."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def all(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def called(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.all() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """The only span of this name, which may end a moment after its client was answered."""
        ends = time.monotonic() + PATIENCE_SECONDS
        while not self.called(name) and time.monotonic() < ends:
            time.sleep(0.01)
        (span,) = self.called(name)
        return span

    def below(self, parent: ReadableSpan) -> list[ReadableSpan]:
        """All spans that are part of it, at any depth."""
        direct = [span for span in self.all() if span.parent and span.parent.span_id == identity(parent)[1]]
        return [*direct, *(deeper for span in direct for deeper in self.below(span))]


@contextmanager
def traced() -> Iterator[Kept]:
    """This process is traced while the block runs."""
    exporter = InMemorySpanExporter()
    spans.set_tracer(OpenTelemetry("test", SimpleSpanProcessor(exporter)))
    try:
        yield Kept(exporter)
    finally:
        spans.set_tracer(None)


def identity(span: ReadableSpan) -> tuple[int, int]:
    """Its trace and its own number."""
    context = span.get_span_context()
    assert context is not None
    return context.trace_id, context.span_id
