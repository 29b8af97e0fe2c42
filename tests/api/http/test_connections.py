"""Clients that send or read slowly, or open connections for nothing, against a real server with short times."""

import asyncio
import errno
import json
import os
import re
import resource
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from anyseek import Client
from anyseek.api.http.connections import RateLimitedLog, limit_accept_errors
from anyseek.api.service import Service, ServiceSettings
from anyseek.search.engine import SearchEngine
from anyseek.search.settings import Serving, Settings
from anyseek.workers.runtime import Runtime
from tests.api.conftest import LIMITS
from tests.search.gallery import begin_catalogue

SERVING = Serving(connections=6, bodies_mb=1, head_seconds=0.6, body_seconds=0.6, body_rate=100_000, send_seconds=0.6)
HEAD = "POST /v1/collections/a/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
FORM = "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 50000\r\n\r\n"
Connect = Callable[[], socket.socket]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("connections")
    begin_catalogue(home)
    with Runtime.open(replace(Settings(home, LIMITS), serving=SERVING), "hashing") as runtime:
        yield Service(runtime, ServiceSettings())


@pytest.fixture
def connect(url: str) -> Iterator[Connect]:
    parts = httpx.URL(url)
    with ExitStack() as stack:

        def opened() -> socket.socket:
            return stack.enter_context(closing(socket.create_connection((parts.host, parts.port or 80), timeout=30)))

        yield opened


def _answer(connection: socket.socket) -> tuple[int, str]:
    """The status and the problem's code of what is received until the end; raises where nothing is."""
    received = b""
    while block := connection.recv(65536):
        received += block
    head, _, body = received.rpartition(b"\r\n\r\n")
    status = re.findall(rb"HTTP/1.1 (\d+)", head)[-1]
    return int(status), json.loads(body)["type"].removeprefix("urn:anyseek:")


def _drip(connection: socket.socket, piece: bytes) -> None:
    """Send a piece again and again until the other end answers or is gone."""
    for _ in range(400):
        if select.select([connection], [], [], 0.05)[0]:
            return
        connection.sendall(piece)
    raise AssertionError("the service goes on listening")


def test_a_connection_that_says_nothing_is_closed(connect: Connect) -> None:
    assert _answer(connect()) == (408, "request-timeout")


@pytest.mark.parametrize("first", [b"", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"], ids=["first", "second"])
def test_headers_that_drip_are_cut_off(connect: Connect, first: bytes) -> None:
    connection = connect()
    connection.sendall(first)
    if first:
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
    _drip(connection, b"x: y\r\n")
    assert _answer(connection) == (408, "request-timeout")


@pytest.mark.parametrize(
    ("begin", "drop"),
    [
        (f"{HEAD}Content-Length: 50000\r\n\r\n", b" "),
        (f"{HEAD}Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (f"PUT /v1/collections/a/items/y HTTP/1.1\r\nHost: localhost\r\n{FORM}--b\r\n", b"x"),
    ],
    ids=["length", "chunked", "form"],
)
def test_a_body_that_drips_is_cut_off(connect: Connect, begin: str, drop: bytes) -> None:
    connection = connect()
    connection.sendall(begin.encode())
    _drip(connection, drop)
    assert _answer(connection) == (408, "request-timeout")


def test_bodies_of_all_requests_are_limited_together(connect: Connect, url: str) -> None:
    """Each may have 600 kB, and all 1 MiB; where there is room, these are read and refused for what they are."""
    first, body = connect(), b'{"parts": [{"text": "x"}]}' + b" " * 599_900
    first.sendall(f"{HEAD}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body[:-1])
    while (refused := httpx.post(f"{url}/v1/collections/a/query", content=body, timeout=30)).status_code == 413:
        pass  # until the first has come
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:anyseek:busy")
    assert refused.headers["retry-after"] == "1"
    first.sendall(body[-1:])
    assert _answer(first) == (413, "json-too-large")
    assert httpx.post(f"{url}/v1/collections/a/query", content=body, timeout=30).status_code == 413


def test_a_long_body_at_a_fair_pace_is_taken(connect: Connect) -> None:
    connection = connect()
    body = json.dumps({"parts": [{"text": "x"}]}).ljust(90_000).encode()
    connection.sendall(f"{HEAD}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode())
    for start in range(0, len(body), 9_000):
        connection.sendall(body[start : start + 9_000])
        time.sleep(0.1)
    assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_client_that_does_not_read_is_cut_off(connect: Connect) -> None:
    connection = connect()
    connection.setblocking(False)
    asked = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20
    watch = select.poll()
    watch.register(connection, select.POLLHUP | select.POLLERR)
    for _ in range(400):
        try:
            connection.send(asked)
        except BlockingIOError:
            pass
        except ConnectionError:
            return
        if watch.poll(50):
            return
    raise AssertionError("the service goes on waiting")


def test_silent_connections_make_room_for_those_that_ask(url: str, connect: Connect) -> None:
    silent = [connect() for _ in range(40)]
    assert httpx.get(f"{url}/healthz").status_code == 200
    with pytest.raises((ConnectionError, IndexError)):
        _answer(silent[0])


def test_more_requests_than_connections_are_told_to_come_back(
    url: str, service: Service, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, answer_truly = threading.Event(), SearchEngine.query_batch

    def wait_first(*args: object, **options: object) -> object:
        go_on.wait(30)
        return answer_truly(*args, **options)

    monkeypatch.setattr(SearchEngine, "query_batch", wait_first)
    with ThreadPoolExecutor(6) as clients:
        body = {"parts": [{"text": "x"}]}
        asked = [clients.submit(httpx.post, f"{url}/v1/collections/a/query", json=body, timeout=60) for _ in range(6)]
        try:
            while service.pool.pending < 6:
                assert not any(answer.done() for answer in asked)
                time.sleep(0.05)
            assert _answer(connect()) == (503, "busy")
        finally:
            go_on.set()
        assert [answer.result().status_code for answer in asked] == [200] * 6
    assert httpx.get(f"{url}/healthz").status_code == 200


def test_what_is_not_http_is_a_problem(connect: Connect) -> None:
    for nonsense in (b"\x16\x03\x01\r\n\r\n", b"GET / HTTP/1.1\r\nx: " + b"y" * 70_000):
        connection = connect()
        connection.sendall(nonsense)
        assert _answer(connection) == (400, "bad-request")


@pytest.mark.slow
def test_a_service_with_few_descriptors_goes_on_and_says_little(tmp_path: Path) -> None:
    def few_files() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))

    command = [sys.executable, "-m", "anyseek", "serve", "--port", "0", "--model", "hashing"]
    log = tmp_path / "log"
    with log.open("wb") as stderr, ExitStack() as stack:
        environment = os.environ | {"ANYSEEK_HOME": str(tmp_path / "home")}
        served = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True, preexec_fn=few_files
        )
        stack.callback(served.wait)
        stack.callback(served.terminate)
        assert served.stdout
        url = httpx.URL(served.stdout.readline().split()[-1])
        with Client(str(url), patience=60) as client:
            client.wait_until_ready(60)
        for _ in range(400):
            stack.enter_context(closing(socket.create_connection((url.host, url.port or 80), timeout=30)))
        assert httpx.get(f"{url}/healthz", timeout=30).status_code == 200
    assert log.stat().st_size < 20_000
    assert "Traceback" not in log.read_text()


def test_failing_to_accept_is_said_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    async def fail_often() -> None:
        loop = asyncio.get_running_loop()
        limit_accept_errors(loop)
        for _ in range(10_000):
            failure = OSError(errno.EMFILE, "Too many open files")
            loop.call_exception_handler({"message": "socket.accept() out of system resource", "exception": failure})
        loop.call_exception_handler({"message": "something else"})

    asyncio.run(fail_often())
    said = [record.getMessage() for record in caplog.records]
    assert said == ["no connection can be accepted: Too many open files", "something else"]


def test_what_was_not_said_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    report = RateLimitedLog(seconds=0)
    report("a")
    report("a")
    assert [record.__dict__["fields"] for record in caplog.records] == [{"times": 1}, {"times": 1}]
    caplog.clear()
    silent = RateLimitedLog()
    for _ in range(5):
        silent("b")
    assert len(caplog.records) == 1
