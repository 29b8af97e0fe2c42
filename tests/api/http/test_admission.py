"""Who reads `/metrics` and the checks of `/readyz`: keys are not tried there, and a database may hang."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from starlette.datastructures import Headers

from anyseek import Client
from anyseek.api.http.security import Admitted, Guardian, Scope, create_key
from anyseek.api.service import Service, ServiceSettings
from anyseek.search.settings import Settings
from anyseek.workers.runtime import Runtime
from tests.api.conftest import LIMITS, listening
from tests.search.gallery import begin_catalogue

Problem = Callable[..., None]


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """The address of a service that others can reach, and a key of the scope admin. One wrong key may come a minute."""
    monkeypatch.setattr("anyseek.api.http.security._WRONG_KEYS_PER_MINUTE", 1)
    begin_catalogue(tmp_path)
    with Runtime.open(Settings(tmp_path, LIMITS), "hashing") as runtime:
        key = create_key(runtime.database, "me", Scope.ADMIN)
        with listening(Service(runtime, ServiceSettings(loopback=False))) as url:
            with Client(url, key, patience=20) as client:
                client.wait_until_ready(20)
            yield url, key


def get(url: str, path: str, key: str) -> httpx.Response:
    return httpx.get(f"{url}{path}", headers={"authorization": f"Bearer {key}"}, timeout=30)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One more each time that keys are looked up from now on."""
    looks: list[None] = []
    look = Guardian.look_up

    def count(self: Guardian, headers: Headers) -> Admitted:
        looks.append(None)
        return look(self, headers)

    monkeypatch.setattr(Guardian, "look_up", count)
    return looks


@pytest.mark.parametrize("path", ["/metrics", "/readyz"])
def test_an_address_that_tries_keys_is_refused_before_they_are_looked_up(
    started: tuple[str, str], monkeypatch: pytest.MonkeyPatch, problem: Problem, path: str
) -> None:
    url, _ = started
    looks = counted(monkeypatch)
    for _ in range(3):
        get(url, path, "wrong")
    assert len(looks) == 1
    problem(get(url, "/v1/collections", "wrong"), 429, "too-many-requests")
    problem(get(url, "/metrics", "wrong"), 429, "too-many-requests")
    answer = get(url, "/readyz", "wrong")
    assert (answer.status_code, "checks" in answer.json()) == (200, False)


@pytest.fixture
def keys_hang(started: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """The service whose database does not answer those who look up keys; the admin was admitted before."""
    url, key = started
    assert get(url, "/metrics", key).status_code == 200
    assert "checks" in get(url, "/readyz", key).json()
    go_on, look = threading.Event(), Guardian.look_up

    def hang(self: Guardian, headers: Headers) -> Admitted:
        go_on.wait(120)
        return look(self, headers)

    monkeypatch.setattr(Guardian, "look_up", hang)
    yield url, key
    go_on.set()


def test_those_who_were_admitted_are_answered_while_looking_up_keys_hangs(
    keys_hang: tuple[str, str], problem: Problem
) -> None:
    url, key = keys_hang
    for _ in range(3):
        assert get(url, "/metrics", key).status_code == 200
        assert "checks" in get(url, "/readyz", key).json()
    problem(get(url, "/metrics", "wrong"), 503, "busy")
    answer = get(url, "/readyz", "wrong")
    assert (answer.status_code, "checks" in answer.json()) == (200, False)


def test_no_more_than_so_many_wait_for_a_look_that_hangs(
    keys_hang: tuple[str, str], monkeypatch: pytest.MonkeyPatch, problem: Problem
) -> None:
    url, _ = keys_hang
    monkeypatch.setattr("anyseek.api.http.security._MOST_LOOKUPS", 1)
    problem(get(url, "/metrics", "wrong"), 503, "busy")
    monkeypatch.setattr("anyseek.api.http.security._LOOKUP_SECONDS", 60.0)  # longer than the client waits
    problem(get(url, "/metrics", "wrong"), 503, "busy")
