"""A service that is told to stop while its threads work on: for a client that left, for one that waits, for a job."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.indexer.pictures import folder_of
from tests.services.anyseek import Anyseek

_PATIENCE = 60.0
# The model never comes back from what is called "endless"; whoever is at it says so in a file.
_ENDLESS = """
import os, time
from pathlib import Path
from anyseek.api.http import shutdown
from anyseek.model.hashing import HashingEmbedder
shutdown.STOP_SECONDS = 8.0
def hang():
    Path(os.environ["ANYSEEK_HOME"], "endless").touch()
    while True:
        time.sleep(1)
embed, embed_gallery = HashingEmbedder.embed, HashingEmbedder.embed_gallery
def embed_or_hang(self, samples, spaces):
    if any(sample.values.get("caption") == "endless" for sample in samples):
        hang()
    return embed(self, samples, spaces)
HashingEmbedder.embed = embed_or_hang
HashingEmbedder.embed_gallery = lambda *_: hang()
"""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Anyseek]:
    folder_of(tmp_path / "root", range(3))
    service = Anyseek(tmp_path / "service", {"ANYSEEK_ROOTS": str(tmp_path / "root")}, _ENDLESS)
    service.start()
    httpx.post(f"{service.url}/v1/collections", json={"name": "a"}).raise_for_status()
    try:
        yield service
    finally:
        service.kill()


def _ask(service: Anyseek) -> socket.socket:
    """Send a query that is never answered."""
    body = json.dumps({"parts": [{"text": "endless"}]})
    asking = socket.create_connection(("127.0.0.1", service.port))
    head = "POST /v1/collections/a/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    asking.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    return asking


def _until(is_so: Callable[[], bool]) -> None:
    ends = time.monotonic() + _PATIENCE
    while not is_so():
        assert time.monotonic() < ends
        time.sleep(0.05)


def _stop(service: Anyseek) -> None:
    """Tell it to stop, once it is at what never ends, and wait until it has."""
    process = service.process
    assert process
    _until((service.home / "endless").exists)
    process.terminate()
    assert process.wait(_PATIENCE) == 0, service.log
    assert "work is still under way; this process ends without it" in service.log


def test_it_does_not_wait_for_work_for_a_client_that_left(service: Anyseek) -> None:
    with _ask(service):
        _until((service.home / "endless").exists)
    _stop(service)


def test_a_client_that_waits_is_told(service: Anyseek) -> None:
    with _ask(service) as asking:
        _stop(service)
        answer = asking.makefile("rb").read().decode()
    assert answer.startswith("HTTP/1.1 503")
    assert "urn:anyseek:not-ready" in answer


def test_a_job_goes_on_at_the_next_start(service: Anyseek, tmp_path: Path) -> None:
    started = httpx.post(f"{service.url}/v1/collections/a/jobs", json={"folder": str(tmp_path / "root")})
    started.raise_for_status()
    _stop(service)
    again = Anyseek(tmp_path / "service", {"ANYSEEK_ROOTS": str(tmp_path / "root")})
    again.start()
    try:
        job = f"{again.url}/v1/jobs/{started.json()['id']}"
        _until(lambda: httpx.get(job).json()["state"] == "done")
        assert httpx.get(job).json()["indexed"] == 3
    finally:
        again.stop()
