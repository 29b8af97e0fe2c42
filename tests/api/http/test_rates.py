"""Who asks too often or tries keys is told when to come back, others are not slowed; `/metrics` and `/readyz` are
admitted while the database hangs.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from starlette.requests import HTTPConnection

from anyseek import Client
from anyseek.api.errors import TooManyRequests
from anyseek.api.http.security import _MAX_BUCKETS, Authenticator, Grant, RateLimits, Scope, TokenBucket, create_key
from anyseek.api.service import Service, ServiceSettings
from anyseek.search.engine import SearchEngine
from anyseek.search.settings import Serving, Settings
from anyseek.workers.runtime import Runtime
from tests.api.conftest import LIMITS, bearer, listening, problem
from tests.search.gallery import begin_catalogue

Ask = Callable[..., httpx.Response]
SERVING = Serving(requests_per_minute=40, requests_at_once=2)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    begin_catalogue(tmp_path)
    with Runtime.open(replace(Settings(tmp_path, LIMITS), serving=SERVING), "hashing") as runtime:
        yield Service(runtime, ServiceSettings(loopback=False))


@pytest.fixture
def ask(service: Service) -> Iterator[Ask]:
    """Ask as the owner of a key; without one, with a wrong key."""
    keys = {name: create_key(service.runtime.database, name, Scope.ADMIN) for name in ("busy", "calm", "maker")}
    with listening(service) as url:
        with Client(url, keys["maker"], patience=20) as client:
            client.wait_until_ready(20)
            client.create_collection("a")
            client.put_item("a", "x", caption="x")

        def request(name: str, path: str = "/v1/collections", method: str = "GET", **body: object) -> httpx.Response:
            headers = bearer(keys.get(name, name))
            return httpx.request(method, f"{url}{path}", headers=headers, json=body or None, timeout=60)

        yield request


def test_a_key_that_asks_too_often_waits_and_others_do_not(ask: Ask) -> None:
    answers = [ask("busy") for _ in range(10)]
    while answers[-1].status_code == 200:
        answers.append(ask("busy"))
        assert len(answers) < 200
    problem(answers[-1], 429, "too-many-requests")
    assert int(answers[-1].headers["retry-after"]) in (1, 2)
    assert ask("calm").status_code == 200
    assert ask("busy", "/healthz").status_code == 200


def test_all_keys_of_an_address_together_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin_catalogue(tmp_path)
    serving = Serving(requests_per_minute=400, requests_per_minute_of_address=40)
    with Runtime.open(replace(Settings(tmp_path, LIMITS), serving=serving), "hashing") as runtime:
        service = Service(runtime, ServiceSettings(loopback=False))
        keys = [create_key(runtime.database, f"key-{number}", Scope.READ) for number in range(4)]
        with listening(service) as url:
            answers: list[httpx.Response] = []
            while not answers or answers[-1].status_code == 200:
                answers.append(httpx.get(f"{url}/v1/collections", headers=bearer(keys[len(answers) % 4]), timeout=60))
                assert len(answers) < 200
            problem(answers[-1], 429, "too-many-requests")
            assert "from this address" in answers[-1].json()["detail"]
            assert answers[-1].headers["retry-after"] in ("1", "2")


def test_requests_of_a_key_at_once_are_limited(ask: Ask, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, answer_truly = threading.Event(), SearchEngine.query_batch

    def wait_first(*args: object, **options: object) -> object:
        go_on.wait(60)
        return answer_truly(*args, **options)

    monkeypatch.setattr(SearchEngine, "query_batch", wait_first)
    with ThreadPoolExecutor(2) as clients:
        query = {"parts": [{"text": "x"}]}
        asked = [clients.submit(ask, "busy", "/v1/collections/a/query", "POST", **query) for _ in range(2)]
        try:
            while service.pool.pending < 2:
                time.sleep(0.02)
            problem(ask("busy"), 429, "too-many-requests")
            assert ask("calm").status_code == 200
        finally:
            go_on.set()
        assert [answer.result().status_code for answer in asked] == [200, 200]
    assert ask("busy").status_code == 200


@pytest.mark.parametrize(
    ("first", "same", "other"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1"),
        ("::ffff:203.0.113.9", "203.0.113.9", "203.0.113.8"),
        ("fe80::1%eth0", "fe80::2%eth0", "fe80:1::1%eth0"),
        ("unknown", "unknown", "other"),
    ],
)
def test_addresses_of_one_network_of_ipv6_count_together(first: str, same: str, other: str) -> None:
    rates = RateLimits(Serving(requests_per_minute=0, requests_per_minute_of_address=4), False, lambda: 0.0)
    for name, address in (("a", first), ("b", other)):
        with rates.count_request(name, address):
            pass
    with pytest.raises(TooManyRequests, match="from this address"), rates.count_request("c", same):
        pass
    for _ in range(15):
        rates.record_wrong_key(first)
    with pytest.raises(TooManyRequests, match="wrong API keys"):
        rates.check_address(same)
    rates.check_address(other)


def test_a_bucket_fills_again() -> None:
    now = 0.0
    bucket = TokenBucket(60, lambda: now)
    for _ in range(15):
        assert bucket.wait("a") == 0
        bucket.take("a")
    assert (bucket.wait("a"), bucket.wait("b")) == (1.0, 0)
    now = 1.0
    assert bucket.wait("a") == 0
    bucket.take("a")
    assert bucket.wait("a") == 1.0
    now = 1_000.0
    taken = 0
    while bucket.wait("a") == 0:
        bucket.take("a")
        taken += 1
    assert taken == 15


def test_a_bucket_forgets_those_who_are_silent() -> None:
    bucket = TokenBucket(4, lambda: 0.0)
    for number in range(_MAX_BUCKETS + 5):
        bucket.take(str(number))
    assert (bucket.wait("0"), bucket.wait(str(_MAX_BUCKETS + 4))) == (0, 15.0)
    unlimited = TokenBucket(0)
    unlimited.take("a")
    assert unlimited.wait("a") == 0


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
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
    return httpx.get(f"{url}{path}", headers=bearer(key), timeout=30)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One more each time that keys are looked up from now on."""
    looks: list[None] = []
    look = Authenticator.look_up

    def count(self: Authenticator, request: HTTPConnection) -> Grant:
        looks.append(None)
        return look(self, request)

    monkeypatch.setattr(Authenticator, "look_up", count)
    return looks


@pytest.mark.parametrize("path", ["/metrics", "/readyz", "/v1/collections"])
def test_an_address_that_tries_keys_is_refused_before_they_are_looked_up(
    watched: tuple[str, str], monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    url, _ = watched
    looks = counted(monkeypatch)
    for _ in range(3):
        get(url, path, "wrong")
    assert len(looks) == 1
    problem(get(url, "/v1/collections", "wrong"), 429, "too-many-requests")
    problem(get(url, "/metrics", "wrong"), 429, "too-many-requests")
    answer = get(url, "/readyz", "wrong")
    assert (answer.status_code, "checks" in answer.json()) == (200, False)


@pytest.fixture
def keys_hang(watched: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """The service whose database does not answer those who look up keys; the admin was admitted before."""
    url, key = watched
    assert get(url, "/metrics", key).status_code == 200
    assert "checks" in get(url, "/readyz", key).json()
    go_on, look = threading.Event(), Authenticator.look_up

    def hang(self: Authenticator, request: HTTPConnection) -> Grant:
        go_on.wait(120)
        return look(self, request)

    monkeypatch.setattr(Authenticator, "look_up", hang)
    yield url, key
    go_on.set()


def test_those_who_were_admitted_are_answered_while_looking_up_keys_hangs(keys_hang: tuple[str, str]) -> None:
    url, key = keys_hang
    for _ in range(3):
        assert get(url, "/metrics", key).status_code == 200
        assert "checks" in get(url, "/readyz", key).json()
    problem(get(url, "/metrics", "wrong"), 503, "busy")
    answer = get(url, "/readyz", "wrong")
    assert (answer.status_code, "checks" in answer.json()) == (200, False)


def test_no_more_than_so_many_wait_for_a_look_that_hangs(
    keys_hang: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _ = keys_hang
    monkeypatch.setattr("anyseek.api.http.security._MAX_LOOKUPS", 1)
    problem(get(url, "/metrics", "wrong"), 503, "busy")
    monkeypatch.setattr("anyseek.api.http.security._LOOKUP_TIMEOUT_SECONDS", 60.0)  # longer than the client waits
    problem(get(url, "/metrics", "wrong"), 503, "busy")
