"""Collections: create, list, show, delete, tune, and move to another model."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from anyseek.api.dependencies import WRITE_SLOT, JsonRoute, MaySeePaths, ServiceDependency, Where, requires
from anyseek.api.http.security import Scope
from anyseek.api.routes.jobs import JobAnswer
from anyseek.api.schemas import (
    Answer,
    Body,
    CollectionAnswer,
    DuplicatesAnswer,
    FieldAnswer,
    Limit,
    Next,
    next_cursor,
    parse_filter,
)
from anyseek.indexer.tuning import DEFAULT_ITEMS, MAX_ITEMS, TuningResult, clear_tuning, tune
from anyseek.search.catalogue import collections, facet_counts, listing
from anyseek.search.query.means import MIN_QUERIES

router = APIRouter(prefix="/v1/collections", tags=["collections"], route_class=JsonRoute)

Fields = Annotated[int, Query(ge=1, le=200, description="how many attributes at most")]
Values = Annotated[int, Query(ge=1, le=200, description="how many values of each at most")]
Groups = Annotated[int, Query(ge=1, le=10_000, description="how many groups at most")]
Folder = Annotated[str, Query(description="the path of a folder; empty for the top level", examples=["2024/05"])]


class CollectionBody(Body):
    model_config = ConfigDict(json_schema_extra={"example": {"name": "photos"}})
    name: str


class ReembedBody(Body):
    model_config = ConfigDict(json_schema_extra={"example": {"model": "4M-21_B"}})
    model: str = Field(description="an installed model; `anyseek models list` names them")


class TuneBody(Body):
    items: int = Field(
        DEFAULT_ITEMS, ge=MIN_QUERIES, le=MAX_ITEMS, description="the number of items, drawn by a seed, to query for"
    )
    dry_run: bool = Field(False, description="measure, and change nothing")


class CollectionsAnswer(BaseModel):
    collections: list[CollectionAnswer]


class SwitchAnswer(BaseModel):
    left_out: int = Field(description="items that have no vectors now")


class FolderAnswer(Answer):
    path: str = Field(examples=["2024/05/"], description="the prefix of its keys, with a slash at its end")
    items: int = Field(description="how many items are in it and its subfolders")
    cover: str = Field(examples=["2024/05/0001.jpg"], description="the key of the first of them")


class FoldersAnswer(BaseModel):
    folders: list[FolderAnswer]
    next: Next[str]


class FacetsAnswer(BaseModel):
    fields: list[FieldAnswer]


class RecalledAnswer(Answer):
    at_10: float = Field(description="the share of queries whose item is among the first ten", examples=[0.62])
    at_1: float = Field(description="the share of queries whose item comes first", examples=[0.31])


class TrialAnswer(Answer):
    """Recall of one kind of query for the pictures of the sampled items, cross-validated in two halves."""

    modality: str = Field(examples=["canny_edge"])
    space: str = Field(examples=["photo_global"])
    queries: int = Field(examples=[256])
    before: RecalledAnswer
    after: RecalledAnswer
    kept: bool = Field(
        validation_alias="helps", description="whether the fitted mean is used, since it does not lower recall"
    )


class TunedAnswer(Answer):
    """The results of tuning a collection, for each kind of query."""

    trials: list[TrialAnswer]
    items: int = Field(description="how many items were chosen")
    unreadable: int = Field(description="how many of them could not be read")
    dry_run: bool

    @classmethod
    def of(cls, tuned: TuningResult, dry_run: bool) -> "TunedAnswer":
        return cls.read({**vars(tuned), "dry_run": dry_run})


@router.get("", dependencies=[requires(Scope.READ)])
def list_collections(service: ServiceDependency) -> CollectionsAnswer:
    """List every collection, by name."""
    with service.runtime.database.read() as session:
        rows = [(each, collections.count(session, each.id)) for each in collections.list_all(session)]
    return CollectionsAnswer(collections=[CollectionAnswer.of(each, items) for each, items in rows])


@router.post("", status_code=201, dependencies=[requires(Scope.ADMIN), WRITE_SLOT])
def create_collection(body: CollectionBody, service: ServiceDependency) -> CollectionAnswer:
    """Create an empty collection with the spaces of the service's model."""
    embedder = service.embedder
    with service.runtime.database.write() as session:
        created = collections.create(session, body.name, embedder.name, embedder.spaces.values())
    return CollectionAnswer.of(created, items=0)


@router.get("/{collection}", dependencies=[requires(Scope.READ)])
def get_collection(collection: str, service: ServiceDependency) -> CollectionAnswer:
    """Get one collection with its spaces and its number of items."""
    with service.runtime.database.read() as session:
        stored = collections.get(session, collection)
        return CollectionAnswer.of(stored, collections.count(session, stored.id))


@router.get("/{collection}/facets", dependencies=[requires(Scope.READ)])
async def count_facets(
    collection: str, service: ServiceDependency, fields: Fields = 50, values: Values = 20, where: Where = None
) -> FacetsAnswer:
    """Get the attributes of the items, the most frequent first, with the number of items for each value.

    With `where`, only the items that pass the filter count.
    """

    def work() -> FacetsAnswer:
        passing = parse_filter(where)
        service.runtime.derived.facets.check()
        with service.runtime.database.read() as session:
            counts = facet_counts.count(session, collections.get(session, collection).id, fields, values, passing)
        return FacetsAnswer(fields=[FieldAnswer.of(field) for field in counts])

    return await service.read(where, work)


@router.get("/{collection}/folders", dependencies=[requires(Scope.READ)])
def list_folders(
    collection: str, service: ServiceDependency, folder: Folder = "", after: str | None = None, limit: Limit = 1000
) -> FoldersAnswer:
    """List the direct subfolders of a folder, by path. Folders are the parts of items' keys before a slash."""
    with service.runtime.database.read() as session:
        collection_id = collections.get(session, collection).id
        page = listing.list_folders(session, collection_id, listing.folder_path(folder), after, limit)
    return FoldersAnswer(
        folders=[FolderAnswer.read(folder) for folder in page],
        next=next_cursor(page, limit, lambda folder: folder.path),
    )


@router.get("/{collection}/duplicates", dependencies=[requires(Scope.READ)])
async def find_duplicates(
    collection: str, service: ServiceDependency, may_see_paths: MaySeePaths, limit: Groups = 1000
) -> DuplicatesAnswer:
    """Get the groups of near-duplicate pictures. It takes up to minutes at first and after changes."""
    service.check_ready()

    def work() -> DuplicatesAnswer:
        context = service.runtime.context_of_collection(collection)
        return DuplicatesAnswer.of(context.engine.duplicates(collection, context.assets), limit, may_see_paths)

    return await service.predictions.run(work)


@router.delete("/{collection}", status_code=204, dependencies=[requires(Scope.ADMIN), WRITE_SLOT])
def delete_collection(collection: str, service: ServiceDependency) -> Response:
    """Delete a collection with its items. Files that were indexed in place stay where they are."""
    with service.runtime.database.write() as session:
        collections.delete(session, collection)
    service.forget(collection)
    return Response(status_code=204)


@router.post("/{collection}/reembed", status_code=202, dependencies=[requires(Scope.ADMIN), WRITE_SLOT])
def reembed_collection(collection: str, body: ReembedBody, service: ServiceDependency) -> JobAnswer:
    """Give every item the vectors of another model, then switch to them; the job shows the progress."""
    service.check_ready()
    return JobAnswer.of(service.runtime.queue.status(service.runtime.submit_reembed(collection, body.model)))


@router.post("/{collection}/rollback", status_code=202, dependencies=[requires(Scope.ADMIN), WRITE_SLOT])
def roll_back_collection(collection: str, service: ServiceDependency) -> JobAnswer:
    """Return to the vectors kept at the last switch, after newer items have been embedded with that model."""
    service.check_ready()
    return JobAnswer.of(service.runtime.queue.status(service.runtime.submit_rollback(collection)))


@router.post("/{collection}/switch", dependencies=[requires(Scope.ADMIN), WRITE_SLOT])
def switch_collection(collection: str, service: ServiceDependency) -> SwitchAnswer:
    """Switch even though some items could not be embedded. Queries do not find these until they are put again."""
    return SwitchAnswer(left_out=service.runtime.switch(collection))


@router.post("/{collection}/forget-old", status_code=204, dependencies=[requires(Scope.ADMIN), WRITE_SLOT])
def forget_old_vectors(collection: str, service: ServiceDependency) -> Response:
    """Delete the vectors kept at the last switch. This cannot be undone."""
    service.runtime.forget_old(collection)
    return Response(status_code=204)


@router.post("/{collection}/tune", dependencies=[requires(Scope.WRITE)])
async def tune_collection(collection: str, body: TuneBody, service: ServiceDependency) -> TunedAnswer:
    """Fit the query means on the collection itself, without labels, and use those that do not lower recall.

    This takes some seconds for each hundred items. `DELETE .../tuning` undoes it.
    """
    service.check_ready()

    def work() -> TunedAnswer:
        context = service.runtime.context_of_collection(collection)
        return TunedAnswer.of(tune(context, collection, body.items, body.dry_run), body.dry_run)

    return await service.predictions.run(work)


@router.delete("/{collection}/tuning", status_code=204, dependencies=[requires(Scope.WRITE), WRITE_SLOT])
def reset_tuning(collection: str, service: ServiceDependency) -> Response:
    """Return to the model's own query means."""
    clear_tuning(service.runtime.database, collection)
    return Response(status_code=204)
