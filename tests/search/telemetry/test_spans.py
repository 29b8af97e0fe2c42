"""Spans of stages: what they are part of, that they say nothing private, and that nothing is imported without them."""

import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from anyseek.search.errors import ItemNotFound
from anyseek.search.settings import Settings, Telemetry, read_settings
from anyseek.search.telemetry import spans
from anyseek.search.telemetry.spans import Stage, time_stage
from tests.traces import identity, traced


def parent_of(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def test_a_stage_is_part_of_the_work_it_is_done_in() -> None:
    with traced() as kept:
        with spans.task_span("embed", {}), time_stage(Stage.INDEX), time_stage(Stage.CATALOGUE):
            spans.set_attribute("anyseek.job", 7)
        catalogue, index, task = kept.all()
    assert [span.name for span in (catalogue, index, task)] == ["catalogue", "index", "embed"]
    assert (parent_of(catalogue), parent_of(index), parent_of(task)) == (identity(index)[1], identity(task)[1], None)
    assert catalogue.attributes == {"anyseek.job": 7}
    assert task.resource.attributes["service.name"] == "test"


def test_a_stage_that_nobody_asked_for_is_no_trace() -> None:
    with traced() as kept:
        with time_stage(Stage.CATALOGUE):
            assert spans.trace_headers() == {}
            spans.set_attribute("anyseek.job", 7)
        assert kept.all() == []


def test_what_is_carried_goes_on_in_another_context() -> None:
    with traced() as kept:
        with spans.task_span("scan", {}):
            carried = spans.trace_headers()
        with spans.task_span("embed", carried):
            pass
        scan, embed = kept.all()
    assert identity(scan)[0] == identity(embed)[0]
    assert parent_of(embed) == identity(scan)[1]


@pytest.mark.parametrize("sent", ["", "00-0-0-00", "\xff" * 55, "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_what_is_no_span_of_another_process_begins_a_trace(sent: str) -> None:
    with traced() as kept:
        with spans.request_span("GET", [(b"traceparent", sent.encode("latin-1"))]):
            pass
        assert parent_of(kept.one("GET")) is None


def test_an_error_is_told_by_its_kind_alone() -> None:
    with traced() as kept:
        with pytest.raises(ItemNotFound), spans.task_span("embed", {}), time_stage(Stage.INDEX):
            raise ItemNotFound("there is no private/holiday.jpg")
        index, task = kept.all()
    for span in (index, task):
        assert span.attributes == {"error.type": "item-not-found"}
        assert not span.status.is_ok
        assert not span.events
        assert "private" not in span.to_json()


def test_without_a_tracer_nothing_is_traced_or_imported() -> None:
    program = (
        "import sys\nfrom anyseek.search.telemetry import spans\n"
        "from anyseek.search.telemetry.spans import Stage, time_stage\n"
        "with spans.task_span('embed', {}) as span, time_stage(Stage.INDEX):\n"
        "    assert span is None and spans.trace_headers() == {}\n"
        "import anyseek.workers.runtime, anyseek.workers.metrics\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_traces_are_asked_for_by_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not read_settings({}).telemetry.traces
    assert read_settings({"ANYSEEK_TELEMETRY_TRACES": "true"}).telemetry.traces
    assert spans.tracer_class(Settings(tmp_path)) is None
    wanted = Settings(tmp_path, telemetry=Telemetry(traces=True))
    assert spans.tracer_class(wanted) is not None
    monkeypatch.setitem(sys.modules, "anyseek.search.telemetry.opentelemetry_spans", None)
    with pytest.raises(spans.TelemetryMissing, match=r"install anyseek\[telemetry\]"):
        spans.start_tracing(wanted, "anyseek")
