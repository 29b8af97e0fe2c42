"""Collections: make, list, show, delete."""

from fastapi import APIRouter, Response

from api.dependencies import ServiceDependency, requires
from api.schemas import CollectionAnswer, CollectionBody, CollectionsAnswer
from api.security import Scope
from search.catalogue import collections

router = APIRouter(prefix="/v1/collections", tags=["collections"])


@router.get("", dependencies=[requires(Scope.READ)])
def list_collections(service: ServiceDependency) -> CollectionsAnswer:
    """Every collection, by name."""
    with service.runtime.database.read() as session:
        found = collections.list_all(session)
    return CollectionsAnswer(collections=[CollectionAnswer.of(one) for one in found])


@router.post("", status_code=201, dependencies=[requires(Scope.ADMIN)])
def create_collection(body: CollectionBody, service: ServiceDependency) -> CollectionAnswer:
    """Make an empty collection with the spaces of the service's model."""
    embedder = service.embedder
    with service.runtime.database.write() as session:
        made = collections.create(session, body.name, embedder.name, embedder.spaces.values())
    return CollectionAnswer.of(made)


@router.get("/{collection}", dependencies=[requires(Scope.READ)])
def get_collection(collection: str, service: ServiceDependency) -> CollectionAnswer:
    """One collection with its spaces and how many items it has."""
    with service.runtime.database.read() as session:
        return CollectionAnswer.of(collections.get(session, collection))


@router.delete("/{collection}", status_code=204, dependencies=[requires(Scope.ADMIN)])
def delete_collection(collection: str, service: ServiceDependency) -> Response:
    """Delete a collection with its items; files that were indexed where they lie stay there."""
    with service.runtime.database.write() as session:
        collections.delete(session, collection)
    service.forget(collection)
    return Response(status_code=204)
