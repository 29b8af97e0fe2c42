"""Quotas of API keys over HTTP and in jobs: the answer, what is stored of what is refused, and the command."""

from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from anyseek import Client
from anyseek.api.commands.keys import keys
from anyseek.api.http.security import Scope, create_key
from anyseek.api.service import Service
from anyseek.search.catalogue import api_keys
from anyseek.search.catalogue.api_keys import MB, Quota
from anyseek.search.catalogue.session import Database
from tests.api.conftest import problem
from tests.indexer.pictures import png


def put(url: str, api_key: str, key: str, data: bytes) -> httpx.Response:
    headers = {"authorization": f"Bearer {api_key}"}
    return httpx.put(f"{url}/v1/collections/words/items/{key}", files={"rgb": ("a.png", data)}, headers=headers)


def stored(service: Service) -> int:
    return sum(path.is_file() for path in service.runtime.settings.assets.rglob("*"))


def test_a_key_above_its_quota_is_refused_and_stores_nothing(started: tuple[str, Service]) -> None:
    url, service = started
    alice = create_key(service.runtime.database, "alice", Scope.WRITE, quota=Quota(items=1))
    bob = create_key(service.runtime.database, "bob", Scope.WRITE)
    assert put(url, alice, "a", png(1)).status_code == 200
    before = stored(service)
    problem(refused := put(url, alice, "b", png(2)), 507, "quota-exceeded")
    assert "'alice' may store 1 items" in refused.json()["detail"]
    assert stored(service) == before
    assert put(url, bob, "b", png(2)).status_code == 200
    assert put(url, alice, "a", png(3)).status_code == 200, "its own item may be another one"
    with Client(url, alice) as client:
        client.delete_item("words", "a")
        client.put_item("words", "c", {"rgb": png(4)})


def test_a_caption_changed_by_another_key_stays_with_the_one_that_put_the_item(started: tuple[str, Service]) -> None:
    url, service = started
    alice = create_key(service.runtime.database, "alice", Scope.WRITE, quota=Quota(items=1))
    bob = create_key(service.runtime.database, "bob", Scope.WRITE, quota=Quota(items=1, bytes=1))
    with Client(url, alice) as hers, Client(url, bob) as his:
        hers.put_item("words", "a", {"rgb": png(1)})
        before = hers.quota()
        assert (before["items"], before["most_items"], before["most_bytes"]) == (1, 1, None)
        assert before["bytes"] >= len(png(1))
        assert his.patch_item("words", "a", {"caption": "a picture"})["caption"] == "a picture"
        assert hers.quota() == before
        assert his.quota().model_dump() == {"key": "bob", "items": 0, "bytes": 0, "most_items": 1, "most_bytes": 1}
        his.delete_item("words", "a")
        assert hers.quota() == before.model_copy(update={"items": 0, "bytes": 0})


def test_who_needs_no_key_has_no_quota(started: tuple[str, Service]) -> None:
    url, service = started
    nothing = {"key": None, "items": 0, "bytes": 0, "most_items": None, "most_bytes": None}
    with Client(url) as client:
        assert client.quota().model_dump() == nothing
    create_key(service.runtime.database, "scraper", Scope.METRICS)
    problem(httpx.get(f"{url}/v1/quota"), 401, "unauthenticated")


def test_files_of_a_request_are_counted_before_they_are_stored(started: tuple[str, Service]) -> None:
    url, service = started
    alice = create_key(service.runtime.database, "alice", Scope.WRITE, quota=Quota(bytes=50))
    problem(put(url, alice, "a", png(1)), 507, "quota-exceeded")
    assert stored(service) == 0


def test_a_job_counts_for_the_key_that_started_it(started: tuple[str, Service], tmp_path: Path) -> None:
    url, service = started
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(40):
        (photos / f"{number:02}.png").write_bytes(png(number))
    object.__setattr__(service.settings, "roots", (tmp_path,))
    alice = create_key(service.runtime.database, "alice", Scope.WRITE, quota=Quota(items=35))
    with Client(url, alice) as client:
        first = [seen["job"] for seen in client.watch(client.index_folder("words", str(photos))["id"])][-1]
        assert first["state"] == "failed"
        assert "the API key 'alice' may store 35 items" in first["error"]
        assert first["indexed"] == 32, "whole batches are written"
        with service.runtime.database.write() as session:
            api_keys.set_quota(session, "alice", Quota(items=40))
        again = [seen["job"] for seen in client.watch(client.index_folder("words", str(photos))["id"])][-1]
    assert (again["state"], again["indexed"], again["unchanged"]) == ("done", 8, 32)
    with service.runtime.database.read() as session:
        assert api_keys.usage(session, "alice").items == 40


def test_the_command_makes_changes_and_shows_quotas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYSEEK_HOME", str(tmp_path))
    monkeypatch.setenv("ANYSEEK_QUOTAS_ITEMS", "100")

    def run(*arguments: str, code: int = 0) -> str:
        found = CliRunner().invoke(keys, list(arguments))
        assert found.exit_code == code, found.output
        return found.output

    run("create", "alice", "--scope", "write", "--mb", "5")
    assert "0 items of 100, 0.0 MB of 5.0" in run("list")
    assert "0 items, 0.0 MB of 5.0" in run("quota", "alice", "--items", "0")
    run("quota", "alice", code=2)
    run("create", "bob", "--scope", "read", "--items", "0")
    assert run("list").splitlines()[1].endswith("0 items, 0.0 MB")
    with Database(f"sqlite:///{tmp_path / 'catalogue.sqlite'}").read() as session:
        assert api_keys.quota_of(session, "alice") == Quota(None, 5 * MB)
