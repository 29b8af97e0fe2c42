"""Collections: make, list, show, delete, and move to another model."""

from fastapi import APIRouter, Response

from api.dependencies import ServiceDependency, requires
from api.job_schemas import JobAnswer
from api.schemas import CollectionAnswer, CollectionBody, CollectionsAnswer, ReembedBody, SwitchAnswer
from api.security import Scope
from search.catalogue import collections

router = APIRouter(prefix="/v1/collections", tags=["collections"])


@router.get("", dependencies=[requires(Scope.READ)])
def list_collections(service: ServiceDependency) -> CollectionsAnswer:
    """Every collection, by name."""
    with service.runtime.database.read() as session:
        counted = [(one, collections.count(session, one.id)) for one in collections.list_all(session)]
    return CollectionsAnswer(collections=[CollectionAnswer.of(*one) for one in counted])


@router.post("", status_code=201, dependencies=[requires(Scope.ADMIN)])
def create_collection(body: CollectionBody, service: ServiceDependency) -> CollectionAnswer:
    """Make an empty collection with the spaces of the service's model."""
    embedder = service.embedder
    with service.runtime.database.write() as session:
        made = collections.create(session, body.name, embedder.name, embedder.spaces.values())
    return CollectionAnswer.of(made, items=0)


@router.get("/{collection}", dependencies=[requires(Scope.READ)])
def get_collection(collection: str, service: ServiceDependency) -> CollectionAnswer:
    """One collection with its spaces and how many items it has."""
    with service.runtime.database.read() as session:
        found = collections.get(session, collection)
        return CollectionAnswer.of(found, collections.count(session, found.id))


@router.delete("/{collection}", status_code=204, dependencies=[requires(Scope.ADMIN)])
def delete_collection(collection: str, service: ServiceDependency) -> Response:
    """Delete a collection with its items; files that were indexed where they lie stay there."""
    with service.runtime.database.write() as session:
        collections.delete(session, collection)
    service.forget(collection)
    return Response(status_code=204)


@router.post("/{collection}/reembed", status_code=202, dependencies=[requires(Scope.ADMIN)])
def reembed_collection(collection: str, body: ReembedBody, service: ServiceDependency) -> JobAnswer:
    """Give every item the vectors of another model, beside those that serve, and then switch; the job tells how far."""
    service.check_ready()
    return JobAnswer.of(service.runtime.queue.status(service.runtime.submit_reembed(collection, body.model)))


@router.post("/{collection}/rollback", status_code=202, dependencies=[requires(Scope.ADMIN)])
def roll_back_collection(collection: str, service: ServiceDependency) -> JobAnswer:
    """Have the vectors that were kept at the last switch serve again, once newer items have such vectors too."""
    service.check_ready()
    return JobAnswer.of(service.runtime.queue.status(service.runtime.submit_rollback(collection)))


@router.post("/{collection}/switch", dependencies=[requires(Scope.ADMIN)])
def switch_collection(collection: str, service: ServiceDependency) -> SwitchAnswer:
    """Switch though some items could not be embedded; they are found no more until they are put again."""
    return SwitchAnswer(left_out=service.runtime.switch(collection))


@router.post("/{collection}/forget-old", status_code=204, dependencies=[requires(Scope.ADMIN)])
def forget_old_vectors(collection: str, service: ServiceDependency) -> Response:
    """Drop the vectors that were kept at the last switch; there is no way back to them then."""
    service.runtime.forget_old(collection)
    return Response(status_code=204)
