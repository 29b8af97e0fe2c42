"""What a key with the scope read may ask: no answer says where files lie on the service's machine."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from anyseek import Client
from anyseek.api.http.security import Scope, create_key
from anyseek.api.service import Service, ServiceSettings
from anyseek.model.errors import ModelError
from anyseek.search.catalogue import jobs
from anyseek.search.catalogue.jobs import JobState
from anyseek.search.settings import Settings
from anyseek.workers.runtime import Runtime
from tests.api.conftest import LIMITS, bearer, ended_job, listening, picture, problem
from tests.search.gallery import begin_catalogue

_QUERY = {"parts": [{"text": "a red disc"}]}
_BODIES: dict[str, dict[str, Any]] = {
    "/v1/collections/{collection}/query": _QUERY | {"explain": 3},
    "/v1/query": _QUERY | {"collections": ["photos"]},
    "/v1/collections/{collection}/query/batch": {"queries": [{"parts": [{"item": "gone.png", "box": [0, 0, 1, 1]}]}]},
    "/v1/predict": {"inputs": [{"modality": "caption", "text": "a dog"}], "targets": ["depth"]},
}
_PARAMETERS = {("get", "/v1/collections/{collection}/query"): {"text": "a red disc"}}
_TAUGHT = "disc"
# The hashing model predicts nothing, and no picture is sent.
_REFUSED = {("post", "/v1/predict"), ("post", "/v1/previews")}


@dataclass(frozen=True)
class Target:
    """A service with a picture whose file is gone, one that is broken, and a job that failed."""

    url: str
    root: Path
    keys: dict[Scope, str]
    jobs: list[int]
    service: Service

    def http(self, scope: Scope) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers=bearer(self.keys[scope]), timeout=60)


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    root = tmp_path / "where photos are"
    folder = root / "photos"
    folder.mkdir(parents=True)
    for name in ("a.png", "same.png", "gone.png"):
        (folder / name).write_bytes(picture("red", "box" if name == "gone.png" else "disc"))
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    begin_catalogue(tmp_path / "home")
    with Runtime.open(Settings(tmp_path / "home", LIMITS), "hashing") as runtime:
        keys = {scope: create_key(runtime.database, scope.value, scope) for scope in (Scope.READ, Scope.ADMIN)}
        service = Service(runtime, ServiceSettings(roots=(root,)))
        with listening(service) as url:
            found = Target(url, root, keys, [], service)
            with Client(url, keys[Scope.ADMIN]) as client, found.http(Scope.ADMIN) as http:
                client.wait_until_ready(60)
                client.create_collection("photos")
                for duplicates in ("skip", "link"):
                    job = client.index_folder("photos", str(folder), on_duplicate=duplicates)["id"]
                    assert ended_job(http, job)["state"] == "done"
                    found.jobs.append(job)
                client.teach("photos", _TAUGHT, {"a.png": True, "gone.png": False})
            (folder / "gone.png").unlink()
            _fail(runtime, found.jobs[-1], folder)
            yield found


def _fail(runtime: Runtime, job: int, folder: Path) -> None:
    with runtime.database.write() as session:
        jobs.reopen(session, job)
        jobs.end_unfinished(session, job, JobState.FAILED, f"the folder {folder} is gone, and {folder}/a.png")


def _operations(target: Target) -> Iterator[tuple[str, str]]:
    described = httpx.get(f"{target.url}/openapi.json").json()["paths"]
    yield from ((method, path) for path, operations in described.items() for method in operations)


def _addresses(path: str, target: Target) -> Iterator[str]:
    """The path with everything that there is in place of its parameters."""
    for job in target.jobs if "{job}" in path else [0]:
        for name in (_TAUGHT, "rgb", "thumbnail") if "{name}" in path else ("",):
            for key in ("a.png", "gone.png") if "{key}" in path else ("",):
                yield path.format(collection="photos", job=job, name=name, key=key)


def _answers(target: Target, scope: Scope) -> Iterator[tuple[tuple[str, str], httpx.Response]]:
    """What everything that is described is answered; a key that may only read changes nothing by that."""
    with target.http(scope) as http:
        for method, path in _operations(target):
            if scope is Scope.ADMIN and method != "get":
                continue
            body = _BODIES.get(path) if method == "post" else None
            for address in _addresses(path, target):
                yield (method, path), http.request(method, address, json=body, params=_PARAMETERS.get((method, path)))


def test_no_answer_says_where_files_lie(target: Target) -> None:
    statuses: dict[tuple[str, str], set[int]] = {}
    for operation, answer in _answers(target, Scope.READ):
        statuses.setdefault(operation, set()).add(answer.status_code)
        for place in (target.root, target.root.parent, Path(__file__).parents[2]):
            assert str(place) not in answer.text, (operation, answer.text)
    asked = {operation for operation, answered in statuses.items() if answered != {403}}
    assert len(asked) > 20
    answered = {operation for operation in asked if 200 in statuses[operation]}
    assert asked - answered == _REFUSED, statuses
    assert 404 in statuses["get", "/v1/collections/{collection}/assets/{name}/{key}"]


def test_what_went_wrong_is_told_without_its_place(target: Target) -> None:
    with target.http(Scope.READ) as http:
        failed = http.get(f"/v1/jobs/{target.jobs[-1]}").json()
        assert (failed["folder"], failed["error"]) == (None, "the folder photos is gone, and photos/a.png")
        assert http.get(f"/v1/jobs/{target.jobs[0]}/failures").json()["failures"][0]["input"] == "broken.png"


def test_a_model_that_cannot_be_loaded_is_told_without_its_place(target: Target) -> None:
    home = target.service.runtime.settings.home
    target.service._failure = ModelError(f"there is no weights file {home}/models/x")
    for scope, place in ((Scope.READ, "home"), (Scope.ADMIN, str(home))):
        with target.http(scope) as http:
            refused = http.get("/v1/models")
            problem(refused, 503, "model-error")
            assert refused.json()["detail"] == f"there is no weights file {place}/models/x"


def test_admins_see_where_files_lie(target: Target) -> None:
    telling = {operation[1] for operation, answer in _answers(target, Scope.ADMIN) if str(target.root) in answer.text}
    assert telling >= {
        "/v1/jobs",
        "/v1/jobs/{job}",
        "/v1/jobs/{job}/events",
        "/v1/folders",
        "/v1/collections/{collection}/duplicates",
        "/v1/collections/{collection}/items",
        "/v1/collections/{collection}/items/{key}",
        "/v1/collections/{collection}/query",
    }
