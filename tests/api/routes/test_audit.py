"""Every request that changes something leaves its row, with who sent it; only admins read them."""

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from anyseek import Client
from anyseek.api.app import create_app
from anyseek.api.cli import run
from anyseek.api.http.security import Scope, create_key
from anyseek.api.service import Service, ServiceSettings
from tests.api.conftest import StartService
from tests.indexer.pictures import png

# Routes that change something, with what they do, in an order in which each can. A job is numbered by the test.
CHANGES: list[tuple[str, str, dict[str, Any], str]] = [
    ("POST", "/v1/collections", {"json": {"name": "c"}}, "collection.create"),
    ("PUT", "/v1/collections/c/items/k/1", {"files": {"rgb": png(1)}}, "item.put"),
    ("PATCH", "/v1/collections/c/items/k/1", {"json": {"attributes": {"n": 1}}}, "item.patch"),
    ("POST", "/v1/collections/c/jobs", {"json": {"source": "ROOT"}}, "job.start"),
    ("POST", "/v1/jobs/1/retry", {}, "job.retry"),
    ("POST", "/v1/jobs/2/cancel", {}, "job.cancel"),
    ("POST", "/v1/collections/c/tune", {"json": {}}, "collection.tune"),
    ("DELETE", "/v1/collections/c/tuning", {}, "collection.reset-tuning"),
    ("POST", "/v1/collections/c/taught/t", {"json": {"examples": [{"key": "k/1", "label": True}]}}, "facet.teach"),
    ("DELETE", "/v1/collections/c/taught/t", {}, "facet.forget"),
    ("DELETE", "/v1/collections/c/items/k/1", {}, "item.delete"),
    ("DELETE", "/v1/collections/c", {}, "collection.delete"),
]
# These need a second model; `tests/contracts/test_reembedding.py` has theirs.
OF_TWO_MODELS = {"reembed", "rollback", "switch", "forget-old"}


@pytest.fixture
def keyed(start_service: StartService, tmp_path: Path) -> tuple[httpx.Client, Service]:
    """A service and its admin."""
    (tmp_path / "root").mkdir()
    for number in range(24):  # so many can be tuned to
        (tmp_path / "root" / f"{number}.png").write_bytes(png(number, 64, 48))
    url, service = start_service(settings=ServiceSettings(roots=(tmp_path / "root",)))
    key = create_key(service.runtime.database, "alice", Scope.ADMIN)
    with Client(url, key, patience=20) as client:
        client.models()
    return httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=30), service


def entries(http: httpx.Client, **asked: Any) -> list[dict[str, Any]]:
    answer = http.get("/v1/audit", params=asked)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["entries"]
    return found


def test_the_table_has_every_route_that_changes_something(keyed: tuple[httpx.Client, Service]) -> None:
    described = create_app(keyed[1]).openapi()["paths"]
    read_only = {"/v1/predict", "/v1/previews", "/v1/query", "/v1/collections/{collection}/query"}
    read_only.add("/v1/collections/{collection}/query/batch")
    routes = {
        (method.upper(), path)
        for path, methods in described.items()
        for method in methods
        if method != "get" and path not in read_only and path.rpartition("/")[2] not in OF_TWO_MODELS
    }
    tabled = {
        (method, route)
        for method, path, _, _ in CHANGES
        for verb, route in routes
        if verb == method and re.fullmatch(re.sub(r"\{key\}", ".+", re.sub(r"\{(?!key)\w+\}", "[^/]+", route)), path)
    }
    assert tabled == routes
    assert len(routes) == len(CHANGES)


def test_every_change_leaves_its_row(keyed: tuple[httpx.Client, Service]) -> None:
    http, service = keyed
    jobs: list[int] = []
    for method, path, content, action in CHANGES:
        filled = path
        if "/jobs/" in path:
            filled = re.sub(r"/jobs/\d+", f"/jobs/{jobs[0]}", path)
        if "ROOT" in str(content):
            content = {"json": {"source": str(service.settings.roots[0])}}
        if action == "job.cancel":
            wait_for_end(http, jobs[0])
            reopen(service, jobs[0])
        answer = http.request(method, filled, **content)
        assert answer.status_code < 300, (path, answer.text)
        if action == "job.start":
            jobs.append(answer.json()["id"])
            wait_for_end(http, jobs[0])
        newest = entries(http, limit=1)[0]
        assert newest["action"] == action
        assert newest["collection"] == "c"
        assert (newest["who"], newest["address"]) == ("key:alice", "127.0.0.1")
        assert newest["request_id"] == answer.headers["x-request-id"]
    targets = {entry["action"]: entry["target"] for entry in entries(http)}
    assert targets["item.put"] == targets["item.delete"] == "k/1"
    assert targets["job.start"].endswith("/root")
    assert targets["key.create"] == "alice admin"


def wait_for_end(http: httpx.Client, job: int) -> None:
    with http.stream("GET", f"/v1/jobs/{job}/events") as events:
        assert "event: end" in "".join(events.iter_text())


def reopen(service: Service, job: int) -> None:
    """Have the job run again, so that it can be cancelled."""
    from sqlalchemy import update

    from anyseek.search.catalogue.tables import JobRow

    with service.runtime.database.write() as session:
        session.execute(update(JobRow).where(JobRow.id == job).values(state="running"))


def test_what_is_refused_leaves_none(keyed: tuple[httpx.Client, Service]) -> None:
    http, _ = keyed
    before = entries(http)
    assert http.delete("/v1/collections/none").status_code == 404
    assert http.post("/v1/collections", json={"name": "a/b"}).status_code == 422
    assert http.post("/v1/jobs/99/cancel").status_code == 404
    assert entries(http) == before


def test_only_admins_read_it(keyed: tuple[httpx.Client, Service]) -> None:
    http, service = keyed
    for scope in (Scope.METRICS, Scope.READ, Scope.WRITE):
        key = create_key(service.runtime.database, scope.value, scope)
        answer = http.get("/v1/audit", headers={"authorization": f"Bearer {key}"})
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:anyseek:scope-missing")


def test_it_is_filtered_and_paged(keyed: tuple[httpx.Client, Service]) -> None:
    http, _ = keyed
    for name in ("one", "two", "three"):
        http.post("/v1/collections", json={"name": name})
    first = http.get("/v1/audit", params={"limit": 2}).json()
    second = http.get("/v1/audit", params={"limit": 2, "before": first["next"]}).json()
    assert [entry["collection"] for entry in (*first["entries"], *second["entries"])] == ["three", "two", "one", None]
    assert [entry["action"] for entry in entries(http, action="key")] == ["key.create"]
    assert entries(http, who="key:bob") == []
    assert entries(http, since="2999-01-01T00:00:00Z") == []
    for wrong in ({"since": "yesterday"}, {"since": "2026-01-01T00:00:00"}, {"limit": 0}, {"before": 1 << 64}):
        assert http.get("/v1/audit", params=wrong).status_code == 422


def test_commands_leave_rows_and_list_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ANYSEEK_HOME", str(tmp_path / "home"))
    assert run(["keys", "create", "a", "--scope", "read"]) == 0
    assert run(["keys", "revoke", "a"]) == 0
    capsys.readouterr()
    assert run(["audit"]) == 0
    revoked, created = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  user:\w+  key.create "a read"', created)
    assert revoked.endswith('key.revoke "a"')
    assert run(["audit", "--action", "key.revoke", "--since", "2000-01-01", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert '"target": "a"' in line
    assert run(["audit", "--until", "2000-01-01"]) == 0
    assert capsys.readouterr().out == ""
    assert run(["audit", "--since", "yesterday"]) == 2
