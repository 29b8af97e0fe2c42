"""CONTRIBUTING says what an endpoint takes; here GET /v1/collections/{c}/attributes is added with exactly that.

A statement in `anyseek.search.catalogue`, a route, a method of `Client`, and a line that gives it to `AsyncClient`.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from anyseek import ApiError, AsyncClient, Client
from anyseek.api.client.async_client import _awaited
from anyseek.api.client.calls import at, json_call
from anyseek.api.dependencies import ServiceDependency, requires
from anyseek.api.http.security import Scope, create_key
from anyseek.api.routes import collections as routes
from anyseek.api.service import Service, ServiceSettings
from anyseek.search.catalogue import collections
from anyseek.search.catalogue.tables import FacetRow
from anyseek.search.settings import Settings
from anyseek.workers.runtime import Runtime
from tests.api.conftest import listening


class AttributesAnswer(BaseModel):
    attributes: list[str]


def paths(session: Session, collection_id: int) -> list[str]:
    """The paths of the attributes of a collection's items, each once, ascending."""
    found = select(FacetRow.path).where(FacetRow.collection_id == collection_id).distinct().order_by(FacetRow.path)
    return list(session.scalars(found))


def list_attributes(collection: str, service: ServiceDependency) -> AttributesAnswer:
    """The paths of the attributes of its items."""
    with service.runtime.database.read() as session:
        return AttributesAnswer(attributes=paths(session, collections.get(session, collection).id))


def attributes(self: Client, collection: str) -> list[str]:
    """The paths of the attributes of a collection's items."""
    return self._send(json_call("GET", f"{at(collection)}/attributes", lambda body: list(body["attributes"])))


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Service]]:
    """A service with the endpoint, and clients with its verb."""
    router = APIRouter(prefix="/v1/collections", tags=["collections"])
    router.include_router(routes.router, prefix="")
    router.routes.extend(routes.router.routes)
    router.get("/{collection}/attributes", dependencies=[requires(Scope.READ)])(list_attributes)
    monkeypatch.setattr(routes, "router", router)
    monkeypatch.setattr(Client, "attributes", attributes, raising=False)
    monkeypatch.setattr(AsyncClient, "attributes", _awaited(attributes), raising=False)
    with Runtime.open(Settings(tmp_path / "home"), "hashing") as runtime:
        made = Service(runtime, ServiceSettings())
        with listening(made) as url:
            yield url, made


def test_both_clients_have_its_verb_and_its_refusals(service: tuple[str, Service]) -> None:
    url, _ = service

    async def ask() -> list[str]:
        async with AsyncClient(url) as there:
            found: list[str] = await there.attributes("c")  # type: ignore[attr-defined]
            return found

    with Client(url, patience=30) as here:
        here.create_collection("c")
        for key, values in {"a": {"camera": {"make": "Nikon"}}, "b": {"year": 1987}}.items():
            here.put_item("c", key, caption="a thing", attributes=values)
        assert here.attributes("c") == ["camera.make", "year"]  # type: ignore[attr-defined]
        with pytest.raises(ApiError) as refused:
            here.attributes("none")  # type: ignore[attr-defined]
    assert refused.value.type == "urn:anyseek:collection-not-found"
    assert asyncio.run(ask()) == ["camera.make", "year"]


def test_it_is_described_and_needs_a_key_where_others_do(service: tuple[str, Service]) -> None:
    url, made = service
    described = httpx.get(f"{url}/openapi.json").json()["paths"]
    assert described["/v1/collections/{collection}/attributes"]["get"]["summary"] == "List Attributes"
    create_key(made.runtime.database, "reader", Scope.READ)
    assert httpx.get(f"{url}/v1/collections/c/attributes").status_code == 401
