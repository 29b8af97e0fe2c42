"""A request as a trace: its stages, its jobs, its sender; and what no span says."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from anyseek import Client
from anyseek.api.service import Service
from anyseek.search.settings import Settings, Telemetry
from anyseek.search.telemetry import spans
from anyseek.search.telemetry import spans as telemetry
from tests.indexer.pictures import png
from tests.traces import identity, traced

QUERY = "POST /v1/collections/{collection}/query"
ASKED = {"parts": [{"text": "a"}]}
SENDER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_the_stages_of_a_request_are_parts_of_it(started: tuple[str, Service]) -> None:
    url, _ = started
    with Client(url) as client, traced() as kept:
        client.put_item("words", "private/holiday.jpg", {"rgb": png(1)}, "a secret dog")
        client.query("words", "a secret dog")
        client.get_item("words", "private/holiday.jpg")
        put = kept.one("PUT /v1/collections/{collection}/items/{key:key}")
        query = kept.one(QUERY)
        everything = kept.all()
    for request, stages in ((put, {"decode", "model", "catalogue"}), (query, {"decode", "model", "index"})):
        below = kept.below(request)
        assert stages <= {span.name for span in below}
        assert {identity(span)[0] for span in below} == {identity(request)[0]}
    assert identity(put)[0] != identity(query)[0]
    assert query.attributes["http.response.status_code"] == 200
    assert len(str(query.attributes["anyseek.request_id"])) == 16
    told = "".join(span.to_json() for span in everything)
    assert not [word for word in ("private", "holiday", "secret", "127.0.0.1") if word in told]


def test_a_request_goes_on_with_the_trace_of_its_sender(started: tuple[str, Service]) -> None:
    url, _ = started
    with traced() as kept:
        httpx.post(f"{url}/v1/collections/words/query", json=ASKED, headers={"traceparent": SENDER})
        request = kept.one(QUERY)
    trace_id, parent = SENDER.split("-")[1:3]
    assert f"{identity(request)[0]:032x}" == trace_id
    assert f"{request.parent.span_id:016x}" == parent


def test_probes_scrapes_and_the_page_are_no_traces(started: tuple[str, Service]) -> None:
    url, _ = started
    with traced() as kept:
        for path in ("/healthz", "/readyz", "/metrics", "/", "/web/app.js"):
            assert httpx.get(url + path).status_code == 200
        assert httpx.get(f"{url}/v1/collections/none").status_code == 404
        kept.one("GET /v1/collections/{collection}")
        assert [span.name for span in kept.all() if span.parent is None] == ["GET /v1/collections/{collection}"]


def test_a_failed_request_is_a_failed_span(started: tuple[str, Service], monkeypatch: pytest.MonkeyPatch) -> None:
    url, service = started

    def fail(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(service.runtime.engine, "query_batch", fail)
    with traced() as kept:
        assert httpx.post(f"{url}/v1/collections/words/query", json=ASKED).status_code == 500
        request = kept.one(QUERY)
    assert not request.status.is_ok
    assert request.attributes["error.type"] == "500"


def test_a_job_is_part_of_the_request_that_started_it(started: tuple[str, Service], tmp_path: Path) -> None:
    url, service = started
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(3):
        (photos / f"{number}.png").write_bytes(png(number))
    object.__setattr__(service.settings, "roots", (tmp_path,))
    with traced() as kept, Client(url) as client:
        job = client.index_folder("words", str(photos))["id"]
        assert [seen["job"]["state"] for seen in client.watch(job)][-1] == "done"
        service.runtime.queue.close()  # whose last span then has ended
        request, work = kept.one("POST /v1/collections/{collection}/jobs"), kept.one("job")
        below = kept.below(work)
    assert work.parent.span_id == identity(request)[1]
    assert work.attributes == {"anyseek.job": job}
    assert [span.name for span in below].count("decode") == 3, "those in threads that prepare are part of it, too"
    assert {"model", "catalogue"} <= {span.name for span in below}


def test_spans_are_sent_to_where_the_standard_variables_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    came: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    telemetry.start_tracing(Settings(tmp_path, telemetry=Telemetry(traces=True)), "anyseek-test")
    try:
        with spans.task_span("embed", {}):
            pass
    finally:
        spans.set_tracer(None)  # which sends what is left
        server.shutdown()
        server.server_close()
    ((path, body),) = came
    assert path == "/v1/traces"
    assert b"anyseek-test" in body
    assert b"embed" in body
