"""A proxy on the service's own machine, which makes everybody local, and addresses that clients make up."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from anyseek.api.http.security import Scope, create_key
from anyseek.search.catalogue.session import Database
from anyseek.search.settings import Settings
from tests.api.conftest import bearer, problem
from tests.services.anyseek import Anyseek

_STRANGER = "203.0.113.9"
_NAMED = {"ANYSEEK_SERVING_PROXIES": "127.0.0.1, 10.0.0.0/8"}
Start = Callable[[dict[str, str]], Anyseek]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts `anyseek serve` with some settings, without a key, where uvicorn's own variable trusts everybody."""
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    services: list[Anyseek] = []

    def started(settings: dict[str, str]) -> Anyseek:
        services.append(Anyseek(tmp_path, settings))
        services[0].start()
        return services[0]

    yield started
    for service in services:
        service.stop()


def _make(service: Anyseek, name: str, headers: dict[str, str]) -> httpx.Response:
    return httpx.post(f"{service.url}/v1/collections", json={"name": name}, headers=headers)


def _names(service: Anyseek) -> list[str]:
    answer = httpx.get(f"{service.url}/v1/collections").json()
    return [collection["name"] for collection in answer["collections"]]


@pytest.mark.parametrize("settings", [{}, {"ANYSEEK_SERVING_PROXIES": "10.0.0.5"}], ids=["none named", "another named"])
def test_without_keys_nothing_is_answered_that_a_proxy_passed_on(start: Start, settings: dict[str, str]) -> None:
    service = start(settings)
    for name, value in (
        ("x-forwarded-for", _STRANGER),
        ("x-forwarded-for", "127.0.0.1"),
        ("X-Forwarded-Proto", "https"),
        ("x-forwarded-prefix", ""),
        ("forwarded", f"for={_STRANGER}"),
        ("via", "1.1 proxy"),
    ):
        refused = _make(service, "a", {name: value, "host": "127.0.0.1"})
        problem(refused, 403, "proxy-refused")
        for told in (name.lower(), "anyseek keys create", "ANYSEEK_SERVING_PROXIES"):
            assert told in refused.json()["detail"]
        problem(httpx.get(f"{service.url}/metrics", headers={name: value}), 403, "proxy-refused")
        assert "checks" not in httpx.get(f"{service.url}/readyz", headers={name: value}).json()
    assert _names(service) == []
    assert _make(service, "mine", {}).status_code == 201


def test_without_keys_a_named_proxy_passes_on_what_this_machine_asks(start: Start) -> None:
    service = start(_NAMED)
    for claimed in (_STRANGER, f"127.0.0.1, {_STRANGER}", f"{_STRANGER}, 10.0.0.7", "", ", 127.0.0.1", "unknown"):
        problem(_make(service, "a", {"x-forwarded-for": claimed}), 403, "proxy-refused")
    problem(_make(service, "a", {"via": "1.1 proxy"}), 403, "proxy-refused")
    assert _make(service, "mine", {"x-forwarded-for": "127.0.0.1"}).status_code == 201
    assert _names(service) == ["mine"]


@pytest.mark.parametrize(("settings", "address"), [({}, "127.0.0.1"), (_NAMED, _STRANGER)], ids=["unnamed", "named"])
def test_an_address_is_believed_from_a_named_proxy_alone(start: Start, settings: dict[str, str], address: str) -> None:
    service = start(settings)
    key = bearer(create_key(Database(Settings(service.home).database_url), "me", Scope.ADMIN))
    assert _make(service, "a", key | {"x-forwarded-for": _STRANGER}).status_code == 201
    entry = httpx.get(f"{service.url}/v1/audit", headers=key).json()["entries"][0]
    assert (entry["action"], entry["address"]) == ("collection.create", address)
