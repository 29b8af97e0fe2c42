"""Readiness, failures of the service itself, and its bounded pool."""

import ast
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from anyseek import ApiError, Client
from anyseek.api.service import Service
from anyseek.search.engine import SearchEngine
from tests.api.conftest import StartService, serving


def test_before_the_model_is_loaded_only_what_needs_it_waits(start_service: StartService) -> None:
    url, service = start_service(lifespan="off")
    assert httpx.get(f"{url}/healthz").json() == {"status": "ok", "model": "loading"}
    assert httpx.get(f"{url}/v1/collections").json() == {"collections": []}
    for answer in (
        httpx.get(f"{url}/readyz"),
        httpx.get(f"{url}/v1/models"),
        httpx.post(f"{url}/v1/collections", json={"name": "a"}),
        httpx.post(f"{url}/v1/collections/a/query", json={"parts": [{"text": "a"}]}),
        httpx.put(f"{url}/v1/collections/a/items/b"),
    ):
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:anyseek:not-ready")
        assert answer.headers["retry-after"] == "1"
    service.start()
    with Client(url, patience=20) as client:
        client.create_collection("a")
    assert httpx.get(f"{url}/readyz").status_code == 200


def test_a_client_is_patient_only_as_long_as_it_says(start_service: StartService) -> None:
    url, _ = start_service(lifespan="off")
    with Client(url, patience=0.2) as client, pytest.raises(ApiError, match="still being loaded"):
        client.models()


def test_a_model_that_cannot_be_loaded_says_why_and_the_rest_works(start_service: StartService) -> None:
    url, _ = start_service(model="no-such-model")
    deadline = time.monotonic() + 20
    while (answer := httpx.get(f"{url}/readyz")).json()["type"] == "urn:anyseek:not-ready":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert answer.json()["type"] == "urn:anyseek:unknown-model"
    assert "no-such-model" in answer.json()["detail"]
    assert httpx.get(f"{url}/healthz").json() == {"status": "ok", "model": "failed"}
    assert httpx.get(f"{url}/v1/collections").status_code == 200


def test_a_model_that_crashes_while_loading_is_no_endless_wait(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr("anyseek.model.hashing.HashingEmbedder.embed", crash)
    url, _ = start_service()
    deadline = time.monotonic() + 20
    while httpx.get(f"{url}/healthz").json()["model"] == "loading":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    answer = httpx.get(f"{url}/readyz")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:anyseek:model-error")
    assert "luck" not in answer.text


def test_items_put_one_by_one_are_gathered_into_a_snapshot(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anyseek.api.service._HOUSEKEEPING_SECONDS", 0.05)
    monkeypatch.setattr("anyseek.api.service._SNAPSHOT_MIN_ENTRIES", 2)
    url, service = start_service()
    with Client(url, patience=20) as client:
        client.create_collection("words")
        client.put_item("words", "a", caption="a")
        client.put_item("words", "b", caption="b")
    deadline = time.monotonic() + 20
    while not [path for path in service.runtime.settings.indexes.rglob("*") if path.is_file()]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_crash_is_a_problem_without_internals(
    http: httpx.Client, shapes: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise RuntimeError("secret internals")

    monkeypatch.setattr(SearchEngine, "query_batch", crash)
    answer = http.post(f"/v1/collections/{shapes}/query", json={"parts": [{"text": "a"}]})
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:anyseek:error")
    assert "secret" not in answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    request_id = answer.json()["request_id"]
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.__dict__["fields"]["request_id"] == request_id
    monkeypatch.undo()
    assert http.get("/readyz").status_code == 200


def test_too_many_waiting_requests_are_told_to_come_back(
    shared_service: tuple[str, Service], shapes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, service = shared_service
    monkeypatch.setattr(service.pool, "threads", 2)
    monkeypatch.setattr(service.pool, "max_waiting", 1)
    entered, go_on = threading.Semaphore(0), threading.Event()
    answer_truly = SearchEngine.query_batch

    def wait_first(*args: object, **options: object) -> object:
        entered.release()
        go_on.wait(20)
        return answer_truly(*args, **options)

    monkeypatch.setattr(SearchEngine, "query_batch", wait_first)

    def ask(_: int) -> int:
        return httpx.post(
            f"{url}/v1/collections/{shapes}/query", json={"parts": [{"text": "a"}]}, timeout=30
        ).status_code

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(ask, number) for number in range(8)]
        entered.acquire(timeout=20)
        while sum(answer.done() for answer in answers) < 5:
            time.sleep(0.02)
        go_on.set()
        statuses = sorted(answer.result() for answer in answers)
    assert statuses == [200] * 3 + [503] * 5


def test_schemas_are_made_before_the_model_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CPython 3.11 fails to parse their source beside the imports of a model, which was a 500 of the first request."""
    parsed: list[str] = []
    parse = ast.parse
    monkeypatch.setattr(ast, "parse", lambda *given, **named: (parsed.append("parsed"), parse(*given, **named))[1])
    start = Service.start

    def start_after(service: Service) -> None:
        parsed.append("started")
        start(service)

    monkeypatch.setattr(Service, "start", start_after)
    with serving(tmp_path) as (client, _service):
        client.create_collection("a")
        assert "parsed" in parsed
        assert parsed[-1] == "started"
