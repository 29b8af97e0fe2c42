"""Routes that resolve nothing are as careful as all others."""

from collections.abc import Iterator

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from starlette.testclient import TestClient

from anyseek.api.dependencies import DirectRoute, refuse_unheeded
from anyseek.api.http.problems import install_handlers
from anyseek.search.errors import BadInput


async def _refuse(request: Request) -> None:
    if "refuse" in request.headers:
        raise BadInput("the request asks for it")


async def _answer(first: str, request: Request, second: str) -> Response:
    return Response(f"{first}, {second}: {(await request.body()).decode()}")


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    """A router with a dependency of its own, included with another as `anyseek.api.app` does."""
    router = APIRouter(dependencies=[Depends(_refuse)])
    path = "/a/{first}/b/{second}"
    for method, read in (("POST", {"requestBody": {}}), ("GET", {})):
        router.add_api_route(path, _answer, methods=[method], openapi_extra=read, route_class_override=DirectRoute)
    app = FastAPI()

    @app.middleware("http")
    async def named(request: Request, call_next):  # type: ignore[no-untyped-def]
        request.state.request_id = "1"
        return await call_next(request)

    install_handlers(app)
    app.include_router(router, dependencies=[Depends(refuse_unheeded)])
    with TestClient(app) as client:
        yield client


def test_a_direct_route_is_given_its_path_and_the_request(client: httpx.Client) -> None:
    answer = client.post("/a/x%20y/b/z", content=b"what was sent")
    assert (answer.status_code, answer.text) == (200, "x y, z: what was sent")


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_direct_route_calls_what_its_router_depends_on(client: httpx.Client, method: str) -> None:
    answer = client.request(method, "/a/x/b/z", headers={"refuse": "1"})
    assert (answer.status_code, answer.json()["detail"]) == (422, "the request asks for it")


def test_a_direct_route_refuses_what_it_does_not_read(client: httpx.Client) -> None:
    assert client.post("/a/x/b/z?k=3").json()["type"] == "urn:anyseek:unknown-parameter"
    assert client.get("/a/x%00/b/z").json()["detail"].startswith("the address has a NUL")
    assert client.request("GET", "/a/x/b/z", content=b"what was sent").json()["type"] == "urn:anyseek:unexpected-body"
    assert client.get("/a/x/b/z").text == "x, z: "
