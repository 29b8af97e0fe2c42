"""`/readyz` tells the truth about each thing a service needs; `/healthz` needs nothing but the event loop."""

import asyncio
import shutil
import threading
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from anyseek import Client
from anyseek.api.http.readiness import Check, Readiness, State, check_disk
from anyseek.api.http.security import Scope, create_key
from anyseek.api.service import Service, ServiceSettings
from anyseek.search.catalogue import collections
from anyseek.search.settings import Health, Settings
from anyseek.workers.runtime import Runtime
from tests.api.conftest import bearer, listening
from tests.search.gallery import begin_catalogue
from tests.services.servers import Redis


def ready(url: str, key: str | None = None) -> httpx.Response:
    return httpx.get(f"{url}/readyz", headers=bearer(key), timeout=30)


def states(answer: httpx.Response) -> dict[str, str]:
    return {check["name"]: check["state"] for check in answer.json()["checks"]}


def detail(answer: httpx.Response, name: str) -> str:
    (found,) = [check["detail"] for check in answer.json()["checks"] if check["name"] == name]
    return str(found)


def test_a_service_that_can_do_its_work_says_so_of_each_thing(started: tuple[str, Service]) -> None:
    url, service = started
    answer = ready(url)
    assert answer.status_code == 200
    assert states(answer) == {"model": "ok", "database": "ok", "disk": "ok", "index": "ok"}
    with service.runtime.database.read() as session:
        assert session.scalar(text("SELECT count(*) FROM owners")) == 0, "what a probe writes is rolled back"


def test_only_admins_see_the_checks(started: tuple[str, Service]) -> None:
    url, service = started
    keys = {scope: create_key(service.runtime.database, scope.value, scope) for scope in Scope}
    assert len(states(ready(url, keys[Scope.ADMIN]))) == 4
    for answer in (ready(url), ready(url, keys[Scope.WRITE]), ready(url, "anyseek_wrong")):
        assert (answer.status_code, answer.json()) == (200, {"status": "ready", "model": "ready"})
    with service.runtime.database.write() as session:
        session.execute(text("ALTER TABLE owners RENAME TO elsewhere"))
    for answer in (ready(url), ready(url, keys[Scope.WRITE])):
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:anyseek:not-ready")
        assert "checks" not in answer.json()
        assert "database" not in answer.text
    assert states(ready(url, keys[Scope.ADMIN]))["database"] == "failed"
    with service.runtime.database.write() as session:
        session.execute(text("ALTER TABLE api_keys RENAME TO keys_elsewhere"))
    assert states(ready(url, keys[Scope.ADMIN]))["database"] == "failed", "a known admin sees it without the database"
    assert "checks" not in ready(url, keys[Scope.READ]).json()


def test_a_database_that_cannot_be_written_is_not_ready(started: tuple[str, Service]) -> None:
    url, service = started
    with service.runtime.database.write() as session:
        session.execute(text("ALTER TABLE owners RENAME TO elsewhere"))
    answer = ready(url)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert states(answer) == {"model": "ok", "database": "failed", "disk": "ok", "index": "ok"}
    assert "the database failed" in answer.json()["detail"]
    with service.runtime.database.write() as session:
        session.execute(text("ALTER TABLE elsewhere RENAME TO owners"))
    assert ready(url).status_code == 200


def test_the_log_tells_when_trouble_began_and_ended(caplog: pytest.LogCaptureFixture) -> None:
    states = iter([State.OK, State.FAILED, State.FAILED, State.OK])
    readiness = Readiness({"disk": lambda: Check("disk", next(states), "said")})

    async def ask() -> None:
        for _ in range(4):
            await readiness.checks()
            readiness._fresh_until = 0.0

    caplog.set_level("INFO")
    asyncio.run(ask())
    readiness.close()
    told = [made.__dict__["fields"] for made in caplog.records if made.getMessage() == "readiness changed"]
    assert [(line["check"], line["state"]) for line in told] == [("disk", "failed"), ("disk", "ok")]


def test_a_database_that_another_writer_holds_is_told_and_still_ready(started: tuple[str, Service]) -> None:
    url, service = started
    with service.runtime.database.write():
        answer = ready(url)
    assert answer.status_code == 200
    assert states(answer)["database"] == "degraded"
    assert "another process holds the database" in detail(answer, "database")


def test_a_full_disk_and_a_nearly_full_one_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(tmp_path)
    assert check_disk(settings).state is State.OK
    low = check_disk(replace(settings, health=Health(free_mb=1 << 40)))
    assert low.state is State.DEGRADED
    assert "ANYSEEK_HEALTH_FREE_MB" in low.detail
    monkeypatch.setattr("anyseek.api.http.readiness.free_disk_bytes", lambda folder: 5 << 20)
    full = check_disk(settings)
    assert (full.state, full.detail.partition(" MiB")[0]) == (State.DEGRADED, "5")


def test_it_says_how_far_the_stored_index_lags(started: tuple[str, Service]) -> None:
    url, service = started
    with Client(url) as client:
        client.put_item("words", "a", caption="a")
        client.put_item("words", "b", caption="b")
    with service.runtime.database.read() as session:
        entries = collections.head(session, "words").last_seq
    assert detail(ready(url), "index").startswith(f"at most {entries} log entries")
    service.runtime.engine.write_snapshots("words")
    assert detail(ready(url), "index").startswith("at most 0 log entries")


def test_health_and_readiness_are_answered_while_all_threads_are_busy(all_threads_busy: str) -> None:
    assert httpx.get(f"{all_threads_busy}/healthz", timeout=5).json() == {"status": "ok", "model": "ready"}
    assert ready(all_threads_busy).status_code == 200


def test_a_check_that_hangs_has_failed_and_is_not_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyseek.api.http.readiness.CHECK_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr("anyseek.api.http.readiness.CACHE_SECONDS", 0.0)
    go_on, calls = threading.Event(), []

    def hang() -> Check:
        calls.append("slow")
        go_on.wait(60)
        return Check("slow", State.OK, "at last")

    async def ask(readiness: Readiness) -> list[list[Check]]:
        first, second = [list(await readiness.checks()) for _ in range(2)]
        go_on.set()
        monkeypatch.setattr("anyseek.api.http.readiness.CHECK_TIMEOUT_SECONDS", 60)
        return [first, second, list(await readiness.checks())]

    readiness = Readiness({"slow": hang, "quick": lambda: Check("quick", State.OK, "yes")})
    first, second, third = asyncio.run(ask(readiness))
    readiness.close()
    for found in (first, second):
        assert [check.state for check in found] == [State.FAILED, State.OK]
        assert "has not answered" in found[0].detail
    assert [check.detail for check in third] == ["at last", "yes"]
    assert calls == ["slow"]


def test_a_check_that_crashes_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash() -> Check:
        raise RuntimeError("secret internals")

    readiness = Readiness({"model": crash})
    (found,) = asyncio.run(_once(readiness))
    assert (found.state, found.detail) == (State.FAILED, "the check failed: RuntimeError")


def test_many_who_ask_at_once_share_one_run() -> None:
    calls: list[int] = []
    readiness = Readiness({"model": lambda: calls.append(1) or Check("model", State.OK, "")})

    async def ask() -> None:
        await asyncio.gather(*(readiness.checks() for _ in range(50)))

    asyncio.run(ask())
    readiness.close()
    assert len(calls) == 1


async def _once(readiness: Readiness) -> list[Check]:
    try:
        return list(await readiness.checks())
    finally:
        readiness.close()


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="Redis is not installed")
def test_a_broker_that_is_away_is_told_and_still_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyseek.api.http.readiness.CACHE_SECONDS", 0.0)
    redis = Redis(tmp_path / "redis")
    redis.start()
    begin_catalogue(tmp_path / "home")
    with ExitStack() as stack:
        stack.callback(redis.kill)
        settings = Settings(tmp_path / "home", broker_url=redis.url)
        runtime = stack.enter_context(Runtime.open(settings, "hashing"))
        url = stack.enter_context(listening(Service(runtime, ServiceSettings())))
        with Client(url, patience=20) as client:
            client.models()
        assert detail(ready(url), "queue").endswith("waiting messages: ingest 0, embed 0, index 0, maintenance 0")
        redis.kill()
        answer = ready(url)
        assert (answer.status_code, states(answer)["queue"]) == (200, "degraded")
        assert "the broker cannot be reached" in detail(answer, "queue")
        redis.start()
        assert states(ready(url))["queue"] == "ok"
