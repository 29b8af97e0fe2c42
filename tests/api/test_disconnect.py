"""Work for a client that has disconnected is given up, nothing of it half-written; decoders that crash are replaced."""

import asyncio
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from starlette.types import Message, Receive, Scope, Send

from anyseek.api.http.middleware import RequestBudgets
from anyseek.api.service import RequestAbandoned, Service, ServiceSettings
from anyseek.model.hashing import HashingEmbedder
from anyseek.model.modalities.reading.budget import Budget, current_budget
from anyseek.model.modalities.reading.decoders import DecoderPool
from anyseek.search.settings import Settings
from anyseek.workers.runtime import Runtime
from tests.api.conftest import LIMITS
from tests.search.gallery import begin_catalogue

_PROGRAM = (str(Path(__file__).parents[1] / "model" / "modalities" / "reading" / "crashing_decoder.py"),)
Leave = Callable[[str, str, Mapping[str, Any]], socket.socket]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Its decoder hangs at files named hang, and crashes at those named crash."""
    home = tmp_path_factory.mktemp("disconnect")
    begin_catalogue(home)
    with Runtime.open(Settings(home, LIMITS), "hashing") as runtime:
        service = Service(runtime, ServiceSettings())
        service.decoders = DecoderPool(1, 500, _PROGRAM)
        yield service


@pytest.fixture
def send(url: str) -> Leave:
    """Sends a request with files and gives its connection, whose answer nobody has read."""

    def sent(method: str, path: str, files: Mapping[str, Any]) -> socket.socket:
        request = httpx.Request(method, f"{url}/v1/collections/a/{path}", files=files)
        request.read()
        head = f"{method} {request.url.raw_path.decode()} HTTP/1.1\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        connection = socket.create_connection((request.url.host, request.url.port or 80))
        connection.sendall(head.encode() + b"\r\n" + request.content)
        return connection

    return sent


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch, url: str) -> list[int]:
    """The sizes of the passes of the model from now on."""
    seen: list[int] = []
    embed = HashingEmbedder.embed

    def counted(self: HashingEmbedder, samples: list[object], spaces: list[str]) -> object:
        seen.append(len(samples))
        return embed(self, samples, spaces)

    monkeypatch.setattr(HashingEmbedder, "embed", counted)
    return seen


QUERY: dict[str, Any] = {"query": (None, '{"parts": [{"modality": "rgb", "file": "a"}]}')}


def _webp() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(file, "WEBP")
    return file.getvalue()


def _until(is_so: Callable[[], bool]) -> None:
    patience = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < patience
        time.sleep(0.02)


def _left(url: str) -> float:
    """How many requests the service has counted as left."""
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if 'status="499"' in line)


def test_a_decoder_that_crashes_is_one_bad_input(url: str) -> None:
    with httpx.Client(base_url=f"{url}/v1/collections/a", timeout=60) as http:
        assert http.put("/items/red", files={"rgb": ("a.webp", _webp())}).status_code == 200
        for _ in range(3):
            refused = http.post("/query", files=QUERY | {"a": ("crash", _webp())})
            assert (refused.status_code, refused.json()["type"]) == (422, "urn:anyseek:broken-picture")
            assert refused.json()["detail"] == "crash is a damaged picture: its decoder was ended by SIGSEGV"
        assert http.put("/items/crashed", files={"rgb": ("crash", _webp())}).status_code == 422
        assert http.get("/items/crashed").status_code == 404
        found = http.post("/query", files=QUERY | {"a": ("a.webp", _webp())})
        assert [hit["key"] for hit in found.json()["hits"]][:1] == ["red"]


def test_a_query_whose_client_left_is_not_embedded(url: str, send: Leave, service: Service, passes: list[int]) -> None:
    before = _left(url)
    with send("POST", "query", {**QUERY, "a": ("hang", _webp())}):
        _until(lambda: service.heavy_queries.pending == 1)
    _until(lambda: service.heavy_queries.pending == 0)
    _until(lambda: _left(url) == before + 1)
    assert passes == []
    found = httpx.post(f"{url}/v1/collections/a/query", files={**QUERY, "a": ("a.webp", _webp())})
    assert found.status_code == 200


def test_an_item_whose_client_left_is_not_put(url: str, send: Leave, service: Service, passes: list[int]) -> None:
    stored = sorted(path for path in service.runtime.settings.assets.rglob("*") if path.is_file())
    with send("PUT", "items/y", {"rgb": ("hang", _webp())}):
        _until(lambda: service.writes.pending == 1)
    _until(lambda: service.writes.pending == 0)
    assert passes == []
    assert httpx.get(f"{url}/v1/collections/a/items/y").status_code == 404
    assert stored == sorted(path for path in service.runtime.settings.assets.rglob("*") if path.is_file())
    assert httpx.put(f"{url}/v1/collections/a/items/y", files={"rgb": ("a.webp", _webp())}).status_code == 200


def test_one_that_waits_for_a_thread_waits_no_longer(url: str, send: Leave, service: Service) -> None:
    gate = threading.Event()
    asking = [
        threading.Thread(target=httpx.get, args=(f"{url}/v1/collections/a/query?text=x",), kwargs={"timeout": 60})
        for _ in range(service.pool.threads)
    ]
    engine_for, service.engine_for = service.engine_for, lambda name: gate.wait(60) and engine_for(name)
    try:
        for number, thread in enumerate(asking, 1):  # one after another, or they would be answered together
            thread.start()
            _until(lambda count=number: service.pool.slots.borrowed_tokens == count)
        with send("POST", "query", QUERY | {"a": ("a.txt", b"x")}):
            _until(lambda: service.pool.pending == len(asking) + 1)
        _until(lambda: service.pool.pending == len(asking))
        assert not gate.is_set()
    finally:
        gate.set()
        for thread in asking:
            thread.join()
    assert service.pool.pending == 0


def test_one_that_leaves_in_its_body_is_no_failure(url: str, caplog: pytest.LogCaptureFixture) -> None:
    before = _left(url)
    parts = httpx.URL(url)
    for kind in ("application/json", "multipart/form-data; boundary=x"):
        with socket.create_connection((parts.host, parts.port or 80)) as connection:
            head = f"POST /v1/collections/a/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
            connection.sendall(f"{head}Content-Length: 1000\r\n\r\n--x".encode())
            time.sleep(0.2)
    _until(lambda: _left(url) == before + 2)
    assert "request failed" not in caplog.text


def test_a_request_that_the_server_cancels_is_abandoned_and_answered() -> None:
    budgets: list[Budget | None] = []
    sent: list[Message] = []

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        budgets.append(current_budget())
        await asyncio.Event().wait()

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        sent.append(message)

    async def cancelled() -> None:
        scope = {"type": "http", "state": {"request_id": "x"}}
        request = asyncio.create_task(RequestBudgets(endless, LIMITS, None)(scope, receive, send))
        while not budgets:
            await asyncio.sleep(0)
        request.cancel()
        await request

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    assert budgets[0]
    with pytest.raises(RequestAbandoned):
        budgets[0].check()
    assert sent[0]["status"] == 503
