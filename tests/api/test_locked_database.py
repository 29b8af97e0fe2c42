"""While another process holds the database, reads go on, and writes are refused soon and may be tried again."""

import os
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from anyseek import Client
from anyseek.api.http.security import Scope, create_key
from anyseek.api.service import Service, ServiceSettings
from anyseek.search.catalogue import collections
from anyseek.search.catalogue.failures import translate_error
from anyseek.search.catalogue.session import BUSY_SECONDS, Database, patience
from anyseek.search.catalogue.upgrade import upgrade
from anyseek.search.errors import DatabaseBusy
from anyseek.search.settings import Serving, Settings
from anyseek.workers.runtime import Runtime
from tests.api.conftest import LIMITS, listening, problem
from tests.contracts.catalogue import empty
from tests.search.gallery import WordsEmbedder, begin_catalogue, make_collection

_POSTGRES = os.environ.get("ANYSEEK_TEST_POSTGRES", "")
QUERY = {"parts": [{"text": "x"}]}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[tuple[str, Service]]:
    begin_catalogue(tmp_path)
    settings = replace(Settings(tmp_path, LIMITS), serving=Serving(database_seconds=0.3))
    with Runtime.open(settings, "hashing") as runtime:
        served = Service(runtime, ServiceSettings())
        with listening(served) as url:
            with Client(url, patience=20) as client:
                client.create_collection("a")
                client.put_item("a", "x", caption="x")
            yield url, served


@pytest.fixture
def held(service: tuple[str, Service]) -> Iterator[None]:
    """Another process in the midst of writing."""
    home = service[1].runtime.settings.home
    with closing(sqlite3.connect(home / "catalogue.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


def _writes(url: str) -> list[httpx.Response]:
    with httpx.Client(base_url=f"{url}/v1", timeout=30) as http:
        return [
            http.put("/collections/a/items/y", files={"caption": (None, "y")}),
            http.delete("/collections/a/items/x"),
            http.post("/collections", json={"name": "b"}),
            http.delete("/collections/a"),
        ]


@pytest.mark.usefixtures("held")
def test_writes_are_refused_soon_and_reads_go_on(service: tuple[str, Service]) -> None:
    url, _ = service
    for answer in _writes(url):
        problem(answer, 503, "database-busy")
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["detail"] == "another process holds the database; try again in a moment"
    assert httpx.post(f"{url}/v1/collections/a/query", json=QUERY).json()["hits"][0]["key"] == "x"
    assert httpx.get(f"{url}/v1/collections/a/items").json()["items"][0]["key"] == "x"


@pytest.mark.usefixtures("held")
def test_writes_that_wait_leave_room_for_reads(service: tuple[str, Service], monkeypatch: pytest.MonkeyPatch) -> None:
    url, served = service
    monkeypatch.setattr(served.writes, "max_waiting", 96)
    with ThreadPoolExecutor(60) as clients:  # more than the framework has threads
        waiting = [clients.submit(httpx.delete, f"{url}/v1/collections/a/items/x", timeout=60) for _ in range(60)]
        read = 0
        while not all(answer.done() for answer in waiting):
            assert httpx.post(f"{url}/v1/collections/a/query", json=QUERY, timeout=60).status_code == 200
            read += 1
        for answer in waiting:
            problem(answer.result(), 503, "database-busy")
    assert read > 1


def test_a_key_is_let_in_although_its_use_cannot_be_noted(service: tuple[str, Service]) -> None:
    url, served = service
    database = served.runtime.database
    key = create_key(database, "me", Scope.READ)
    with closing(sqlite3.connect(served.runtime.settings.home / "catalogue.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        answer = httpx.get(f"{url}/v1/collections", headers={"authorization": f"Bearer {key}"})
    assert answer.status_code == 200
    with database.read() as session:
        assert session.connection().exec_driver_sql("SELECT last_used_at FROM api_keys").scalar() is None


@pytest.mark.skipif(not _POSTGRES, reason="ANYSEEK_TEST_POSTGRES is not set")
def test_a_locked_row_of_postgresql() -> None:
    database = Database(_POSTGRES)
    upgrade(database)
    empty(database)
    try:
        held = make_collection(database, WordsEmbedder())
        with database.write() as holder:
            collections.lock(holder, held)
            with pytest.raises(OperationalError) as refused, patience(0.3), database.write() as session:
                collections.lock(session, held)
        assert isinstance(translate_error(refused.value), DatabaseBusy)
    finally:
        database.close()


def test_jobs_wait_longer_than_requests(tmp_path: Path) -> None:
    begin_catalogue(tmp_path)
    database = Database(f"sqlite:///{tmp_path / 'catalogue.sqlite'}")
    waits = []
    for seconds in (0.3, None, 2.0):
        with patience(BUSY_SECONDS if seconds is None else seconds), database.write() as session:
            waits.append(session.connection().exec_driver_sql("PRAGMA busy_timeout").scalar())
    with database.read() as session:
        waits.append(session.connection().exec_driver_sql("PRAGMA busy_timeout").scalar())
    for seconds in (0.05, 2.0, 2.0):
        with patience(seconds), database.once() as connection:
            waits.append(connection.exec_driver_sql("PRAGMA busy_timeout").scalar())
    database.close()
    assert waits == [300, 60_000, 2_000, 60_000, 50, 2_000, 2_000]
