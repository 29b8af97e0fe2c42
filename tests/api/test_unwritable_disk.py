"""A service whose disk is full or read-only starts, answers what only reads, and refuses writes with one sentence.

Tests on a small disk of their own need root, as those in `tests/faults` do.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy.exc import SQLAlchemyError

from anyseek import Client
from anyseek.api.client.connect import record_url
from anyseek.api.errors import domain_error
from anyseek.api.service import Service, ServiceSettings
from anyseek.search.settings import Settings
from anyseek.workers.runtime import Runtime
from tests.api.conftest import LIMITS, listening, problem
from tests.faults.disk import NoSmallDisk, fill, small_disk
from tests.search.gallery import begin_catalogue

QUERY = {"parts": [{"text": "x"}]}
Killed = pytest.mark.parametrize("killed", [False, True], ids=["ended", "killed"])


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    try:
        with small_disk(tmp_path / "disk"):
            yield tmp_path / "disk"
    except NoSmallDisk as error:
        pytest.skip(str(error))


@contextmanager
def _serving(home: Path) -> Iterator[tuple[httpx.Client, str | None]]:
    settings = Settings(home, LIMITS)
    with (
        Runtime.open(settings, "hashing") as runtime,
        listening(Service(runtime, ServiceSettings())) as url,
        record_url(settings, url) as warning,
        httpx.Client(base_url=f"{url}/v1", timeout=30) as http,
    ):
        with Client(url, patience=20) as client:
            client.wait_until_ready(20)
        yield http, warning


def _home(disk: Path, killed: bool) -> Path:
    """A data directory with one item, as a service leaves it that ends, or that is killed."""
    home, copy = disk / "home", disk / "copy"
    begin_catalogue(home)
    with _serving(home) as (http, _):
        http.post("/collections", json={"name": "a"}).raise_for_status()
        http.put("/collections/a/items/x", files={"caption": (None, "x")}).raise_for_status()
        shutil.copytree(home, copy)
    log = (copy if killed else home) / "catalogue.sqlite-wal"
    assert log.exists() == killed
    return copy if killed else home


def _read(http: httpx.Client) -> None:
    assert http.post("/collections/a/query", json=QUERY).json()["hits"][0]["key"] == "x"
    assert http.get("/collections/a/items/x").json()["caption"] == "x"


def _writes(http: httpx.Client) -> list[httpx.Response]:
    return [
        http.put("/collections/a/items/y", files={"caption": (None, "y")}),
        http.delete("/collections/a/items/x"),
        http.post("/collections", json={"name": "b"}),
    ]


@Killed
def test_a_full_disk(disk: Path, killed: bool, caplog: pytest.LogCaptureFixture) -> None:
    home = _home(disk, killed)
    fill(disk / "ballast")
    with _serving(home) as (http, warning):
        assert warning
        assert "No space left on device" in warning
        _read(http)
        for answer in _writes(http):
            assert answer.status_code in (503, 507)
            assert answer.json()["type"] in ("urn:anyseek:storage-full", "urn:anyseek:storage-read-only")
        _read(http)
        (disk / "ballast").unlink()
        assert [answer.status_code for answer in _writes(http)] == [200, 204, 201]
        found = http.post("/collections/a/query", json=QUERY).json()["hits"]
        assert [hit["key"] for hit in found] == ["y"], "what is written after all is seen"
    assert not [record for record in caplog.records if record.exc_info]


@Killed
def test_a_read_only_disk(disk: Path, killed: bool, caplog: pytest.LogCaptureFixture) -> None:
    home = _home(disk, killed)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    try:
        with _serving(home) as (http, warning):
            assert warning
            assert "Read-only file system" in warning
            _read(http)
            for answer in _writes(http):
                problem(answer, 503, "storage-read-only")
            _read(http)
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    assert not [record for record in caplog.records if record.exc_info]
    with _serving(home) as (http, warning):
        assert warning is None
        assert [answer.status_code for answer in _writes(http)] == [200, 204, 201]


def test_a_disk_that_fills_up_while_it_serves(disk: Path) -> None:
    begin_catalogue(disk / "home")
    with _serving(disk / "home") as (http, _):
        http.post("/collections", json={"name": "a"}).raise_for_status()
        http.put("/collections/a/items/x", files={"caption": (None, "x")}).raise_for_status()
        fill(disk / "ballast")
        _read(http)
        for answer in _writes(http):
            problem(answer, 507, "storage-full")
        (disk / "ballast").unlink()
        assert [answer.status_code for answer in _writes(http)] == [200, 204, 201]


def test_nothing_can_begin_on_a_full_disk(disk: Path) -> None:
    (disk / "home").mkdir()
    fill(disk / "ballast")
    with pytest.raises((OSError, SQLAlchemyError)) as refused, _serving(disk / "home"):
        pass
    assert str(domain_error(refused.value)).endswith("make room, then try again")
