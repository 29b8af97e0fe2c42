"""A service with API keys and real workers: who may start, stop and retry a job, and who may only look."""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from anyseek.api.http.security import Scope, create_key
from anyseek.api.service import Service, ServiceSettings
from anyseek.workers.runtime import Runtime
from tests.api.conftest import listening
from tests.contracts.catalogue import empty
from tests.indexer.pictures import folder_of, png
from tests.workers.processes import POSTGRES, settings_of, wait_for, working

REDIS = "ANYSEEK_TEST_REDIS"
pytestmark = pytest.mark.skipif(
    POSTGRES not in os.environ or REDIS not in os.environ, reason=f"{POSTGRES} or {REDIS} is not set"
)
INPUTS = 20


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = folder_of(tmp_path / "photos", range(INPUTS))
    (folder / "bad.png").write_text("no picture")
    return folder


@pytest.fixture
def service(tmp_path: Path, photos: Path) -> Iterator[Service]:
    with Runtime.open(settings_of(tmp_path / "home", os.environ[REDIS]), None) as runtime:
        empty(runtime.database)
        yield Service(runtime, ServiceSettings(roots=(photos.resolve(),)))


@pytest.fixture
def clients(service: Service) -> Iterator[dict[Scope, httpx.Client]]:
    """One with a key of each scope."""
    keys = {scope: create_key(service.runtime.database, scope.value, scope) for scope in Scope}
    with listening(service) as url:
        made = {
            scope: httpx.Client(base_url=url, timeout=60, headers={"authorization": f"Bearer {key}"})
            for scope, key in keys.items()
        }
        wait_for(lambda: service.state == "ready", "the model")
        yield made
        for client in made.values():
            client.close()


def state(client: httpx.Client, job: int) -> str:
    return str(client.get(f"/v1/jobs/{job}").json()["state"])


def refused(answer: httpx.Response) -> bool:
    return answer.status_code == 403 and answer.json()["type"] == "urn:anyseek:scope-missing"


def test_keys_do_what_their_scope_says_where_workers_do_the_jobs(
    service: Service, clients: dict[Scope, httpx.Client], photos: Path
) -> None:
    reader, writer, admin = (clients[scope] for scope in (Scope.READ, Scope.WRITE, Scope.ADMIN))
    jobs, source = "/v1/collections/c/jobs", {"source": str(photos)}
    for client in (reader, writer):
        assert refused(client.post("/v1/collections", json={"name": "c"}))
    assert admin.post("/v1/collections", json={"name": "c"}).status_code == 201
    assert refused(reader.post(jobs, json=source))
    assert reader.get("/v1/jobs").json()["jobs"] == [], "nothing was handed to the workers"
    started = writer.post(jobs, json=source)
    assert started.status_code == 202, started.text
    job = started.json()["id"]
    for what in ("cancel", "retry"):
        assert refused(reader.post(f"/v1/jobs/{job}/{what}"))
    for what in ("reembed", "rollback", "switch", "forget-old"):
        body = {"model": "4m-tiny"} if what == "reembed" else None
        assert refused(writer.post(f"/v1/collections/c/{what}", json=body))
    with working(service.runtime.settings, "scoped"):
        wait_for(lambda: state(reader, job) not in ("scanning", "running"), "the job's end")
        told = reader.get(f"/v1/jobs/{job}").json()
        assert (told["state"], told["indexed"], told["quarantined"]) == ("done", INPUTS, 1)
        (failure,) = reader.get(f"/v1/jobs/{job}/failures").json()["failures"]
        assert failure["key"] == "bad.png"
        (photos / "bad.png").write_bytes(png(INPUTS))
        assert writer.post(f"/v1/jobs/{job}/retry").json()["reopened"] == 1
        wait_for(lambda: state(reader, job) == "done", "the job's end")
        assert reader.get(f"/v1/jobs/{job}").json()["indexed"] == INPUTS + 1
    assert httpx.get(f"{reader.base_url}/v1/jobs").status_code == 401
