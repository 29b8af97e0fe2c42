"""API keys and scopes; and without keys, that no other site's page can reach a service on loopback."""

import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from PIL import Image
from sqlalchemy import update
from sqlalchemy.orm import Session

from anyseek import Client
from anyseek.api.app import create_app
from anyseek.api.cli import run
from anyseek.api.http.security import Scope, create_key, is_loopback
from anyseek.api.service import ServiceSettings
from anyseek.search.catalogue import api_keys
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import ApiKeyRow
from anyseek.search.catalogue.values import now
from anyseek.search.errors import BadInput
from tests.api.conftest import StartService, bearer


def _type(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["type"].removeprefix("urn:anyseek:")


def test_once_a_key_exists_every_route_needs_one(start_service: StartService) -> None:
    url, service = start_service()
    assert httpx.get(f"{url}/v1/collections").status_code == 200
    create_key(service.runtime.database, "reader", Scope.READ)
    described = create_app(service).openapi()["paths"]
    paths = [re.sub(r"\{.*?\}", "1", path) for path in described if path.startswith("/v1")]
    assert len(paths) > 10
    for path in (*paths, "/v1", "/v1/nothing"):
        answer = httpx.request("GET", url + path)
        assert _type(answer) == (401, "unauthenticated"), path
        assert answer.headers["www-authenticate"] == "Bearer"
    for open_path in ("/", "/healthz", "/web/app.js", "/openapi.json"):
        assert httpx.get(url + open_path).status_code == 200


def test_a_key_does_what_its_scope_says_until_it_is_revoked(start_service: StartService) -> None:
    url, service = start_service()
    keys = {scope: create_key(service.runtime.database, scope.value, scope) for scope in Scope}
    with httpx.Client(base_url=url) as http:

        def try_all(scope: Scope) -> list[int]:
            headers = bearer(keys[scope])
            return [
                http.get("/v1/collections", headers=headers).status_code,
                http.put("/v1/collections/none/items/k", headers=headers).status_code,
                http.post("/v1/collections", json={"name": f"made-by-{scope}"}, headers=headers).status_code,
            ]

        assert try_all(Scope.READ) == [200, 403, 403]
        assert try_all(Scope.WRITE) == [200, 422, 403]
        assert try_all(Scope.ADMIN) == [200, 422, 201]
        refused = http.post("/v1/collections", json={"name": "x"}, headers=bearer(keys[Scope.READ]))
        assert _type(refused) == (403, "scope-missing")
        with service.runtime.database.write() as session:
            api_keys.revoke(session, "write")
        assert _type(http.get("/v1/collections", headers=bearer(keys[Scope.WRITE]))) == (401, "unauthenticated")
        assert http.get("/v1/collections", headers=bearer(keys[Scope.READ])).status_code == 200


def test_what_is_no_key_opens_nothing(start_service: StartService) -> None:
    url, service = start_service()
    create_key(service.runtime.database, "one", Scope.ADMIN)
    for sent in (b"", b"Bearer", b"Basic abc", b"Bearer wrong", b"Bearer \xff\xfe", b"wrong"):
        answer = httpx.get(f"{url}/v1/collections", headers={b"authorization": sent})
        assert _type(answer) == (401, "unauthenticated"), sent


def test_beyond_loopback_a_service_stays_shut_when_its_last_key_is_revoked(start_service: StartService) -> None:
    url, service = start_service(settings=ServiceSettings(loopback=False))
    assert _type(httpx.get(f"{url}/v1/collections")) == (401, "unauthenticated")
    key = create_key(service.runtime.database, "one", Scope.READ)
    for headers in (bearer(key), bearer(key) | {"host": "pictures.example"}):  # behind a proxy it may have any name
        assert httpx.get(f"{url}/v1/collections", headers=headers).status_code == 200
    with service.runtime.database.write() as session:
        api_keys.revoke(session, "one")
    assert _type(httpx.get(f"{url}/v1/collections", headers=bearer(key))) == (401, "unauthenticated")


def test_only_a_hash_of_a_key_is_kept(start_service: StartService) -> None:
    _, service = start_service()
    database = service.runtime.database
    key = create_key(database, "one", Scope.READ)
    assert len(key) > 43  # 256 bits
    assert key != create_key(database, "two", Scope.READ)
    assert key.encode() not in (service.runtime.settings.home / "catalogue.sqlite-wal").read_bytes()
    with database.read() as session:
        assert {len(row.digest) for row in api_keys.list_all(session)} == {64}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:80", "[::1]:8765", "LOCALHOST:1", "127.3.2.1"])
def test_names_of_this_machine_are_fine(http: httpx.Client, host: str) -> None:
    assert http.get("/v1/collections", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "localhost.evil.example", "10.0.0.1", "", "[::2]"]
)
def test_a_rebound_name_is_refused_without_keys(http: httpx.Client, host: str) -> None:
    for method, path in (("GET", "/v1/collections"), ("DELETE", "/v1/collections/shapes")):
        assert _type(http.request(method, path, headers={"host": host})) == (403, "origin-refused")


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:3000"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_pages_of_other_sites_are_refused(http: httpx.Client, headers: dict[str, str]) -> None:
    for method in ("GET", "POST", "DELETE"):
        assert _type(http.request(method, "/v1/collections", headers=headers)) == (403, "origin-refused")


def test_the_own_page_is_let_in(http: httpx.Client) -> None:
    own = f"{http.base_url.host}:{http.base_url.port}"
    headers = {"origin": f"http://{own}", "sec-fetch-site": "same-origin"}
    assert http.get("/v1/collections", headers=headers).status_code == 200


def test_every_answer_has_security_headers_and_no_other_site_may_read_it(http: httpx.Client) -> None:
    for path in ("/", "/v1/collections", "/v1/nothing", "/healthz"):
        headers = http.get(path, headers={"origin": f"http://{http.base_url.host}:{http.base_url.port}"}).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert not [name for name in headers if name.startswith("access-control-")]


def test_loopback_is_told_from_the_rest() -> None:
    assert is_loopback("127.0.0.1")
    assert is_loopback("localhost")
    assert is_loopback("::1")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("::")
    with pytest.raises(BadInput, match="no-such-host"):
        is_loopback("no-such-host.invalid")


def test_logs_have_request_ids_and_neither_contents_nor_names(
    http: httpx.Client, shapes: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="anyseek.api"):
        http.post(f"/v1/collections/{shapes}/query", json={"parts": [{"text": "secret words"}]}, headers=bearer("tell"))
        http.get(f"/v1/collections/{shapes}/items/secret key", headers={"x-request-id": "mine-1"})
        http.get("/healthz", headers={"x-request-id": "bad\tid"})
    lines = [record.__dict__ for record in caplog.records if record.name == "anyseek.api.http.middleware"]
    assert [line["fields"]["status"] for line in lines] == [200, 404, 200]
    assert lines[1]["fields"]["request_id"] == "mine-1"
    assert re.fullmatch("[0-9a-f]{16}", lines[2]["fields"]["request_id"])
    assert lines[1]["fields"]["route"] == "/v1/collections/{collection}/items/{key:key}"
    assert not [
        record for record in caplog.records if "secret" in str(record.__dict__) or "tell" in str(record.__dict__)
    ]


def test_paths_are_for_admins(start_service: StartService, tmp_path: Path) -> None:
    url, service = start_service()
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (8, 8), "red").save(photos / "red.png")
    runtime = service.runtime
    with httpx.Client(base_url=url) as http, Client(url, patience=60) as client:
        client.create_collection("c")  # waits for the model
        job = runtime.submit_index("c", photos, prune=False)
        while runtime.queue.status(job).active:
            time.sleep(0.05)

        def paths(headers: dict[str, str]) -> list[str | None]:
            hits = http.post("/v1/collections/c/query", json={"parts": [{"text": "red"}]}, headers=headers).json()
            listed = http.get("/v1/collections/c/items", headers=headers).json()
            item = http.get("/v1/collections/c/items/red.png", headers=headers).json()
            return [hits["hits"][0]["path"], listed["items"][0]["path"], item["path"]]

        assert paths({}) == [str(photos / "red.png")] * 3
        for scope in (Scope.READ, Scope.WRITE, Scope.ADMIN):
            key = create_key(runtime.database, scope.value, scope)
            wanted = str(photos / "red.png") if scope is Scope.ADMIN else None
            assert paths(bearer(key)) == [wanted] * 3


def status(url: str, key: str | None = None) -> int:
    return httpx.get(f"{url}/v1/collections", headers=bearer(key)).status_code


def rows(database: Database) -> dict[str, ApiKeyRow]:
    with database.read() as session:
        found = {row.name: row for row in api_keys.list_all(session)}
        session.expunge_all()
    return found


def test_a_key_that_another_process_revokes_opens_nothing_from_then_on(start_service: StartService) -> None:
    url, service = start_service()
    keys = [create_key(service.runtime.database, name, Scope.ADMIN) for name in ("gone", "kept")]
    assert [status(url, key) for key in keys] == [200, 200]
    command = [sys.executable, "-m", "anyseek", "keys", "revoke", "gone"]
    environment = os.environ | {"ANYSEEK_HOME": str(service.runtime.settings.home)}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert [status(url, key) for key in keys] == [401, 200]


def test_keys_are_read_again_only_after_something_was_committed(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, service = start_service()
    database, looks = service.runtime.database, list[None]()
    key = create_key(database, "only", Scope.ADMIN)
    status(url, key)  # its use is noted
    look = api_keys.list_all

    def count(session: Session) -> Sequence[ApiKeyRow]:
        looks.append(None)
        return look(session)

    monkeypatch.setattr(api_keys, "list_all", count)
    assert [status(url, key) for _ in range(5)] == [200] * 5
    assert len(looks) == (1 if database.version() is not None else 5)
    with database.write() as session:
        api_keys.revoke(session, "only")
    assert status(url, key) == 401


def test_a_key_that_is_held_expires(start_service: StartService, monkeypatch: pytest.MonkeyPatch) -> None:
    url, service = start_service()
    key = create_key(service.runtime.database, "brief", Scope.ADMIN, timedelta(days=1))
    assert [status(url, key) for _ in range(2)] == [200, 200]
    later = now() + timedelta(days=2)
    monkeypatch.setattr(api_keys, "now", lambda: later)
    assert status(url, key) == 401


def test_the_use_of_a_key_is_noted_once_an_hour(start_service: StartService) -> None:
    url, service = start_service()
    database = service.runtime.database
    key = create_key(database, "used", Scope.READ)
    create_key(database, "idle", Scope.READ)
    status(url, key)
    first = rows(database)["used"].last_used_at
    assert first is not None
    status(url, key)
    assert rows(database)["used"].last_used_at == first
    with database.write() as session:
        session.execute(update(ApiKeyRow).values(last_used_at=now() - timedelta(hours=2)))
    before = rows(database)["idle"].last_used_at
    status(url, key)
    assert rows(database)["used"].last_used_at != before
    assert rows(database)["idle"].last_used_at == before


def test_keys_are_listed_with_their_end_and_last_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("ANYSEEK_HOME", str(home))
    assert run(["keys", "create", "a", "--scope", "read", "--days", "90"]) == 0
    assert home.stat().st_mode & 0o777 == 0o700, "nobody else reads the data directory"
    assert run(["keys", "create", "b", "--scope", "read"]) == 0
    assert run(["keys", "create", "b", "--scope", "read"]) == 1
    assert run(["keys", "revoke", "b"]) == 0
    capsys.readouterr()
    assert run(["keys", "list"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert f"active until {now() + timedelta(days=90):%Y-%m-%d}  never used" in first
    assert "revoked" in second
