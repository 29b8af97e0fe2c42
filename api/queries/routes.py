"""Queries: one, many at once, and of several collections."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from anyseek.api.dependencies import (
    DirectRoute,
    MaySeePaths,
    ServiceDependency,
    get_service,
    may_see_paths,
    read_json,
    requires,
)
from anyseek.api.http.budgets import allow_batch
from anyseek.api.http.did_you_mean import adapter
from anyseek.api.http.security import Scope
from anyseek.api.queries.answering import QUERY, answer_batch, brief, check_batch, decoded, results_json
from anyseek.api.queries.requests import query_of_request, query_of_url
from anyseek.api.queries.together import QueryGathering, answer_alone, like, waiting
from anyseek.api.schemas import Body
from anyseek.api.service import Service
from anyseek.search.answers.results import Fusion, Results
from anyseek.search.engine import SearchEngine
from anyseek.search.query.multi_collection import query_several
from anyseek.search.query.query import EXAMPLES, Query, QueryOfSeveral
from anyseek.search.telemetry.spans import Stage, timed

router = APIRouter(tags=["queries"], dependencies=[requires(Scope.READ)])
_PATH = "/v1/collections/{collection}/query"


class BatchBody(Body):
    """Many queries for one model pass. A wrong query gets an error in its place and does not affect the others."""

    queries: list[Any] = Field(description="queries as for `/query`", examples=[EXAMPLES[:2]])


class BriefHit(BaseModel):
    key: str
    score: float
    rank: int
    group: str | int | float | bool | None = Field(default=None, exclude_if=lambda group: group is None)
    probability: float | None = Field(default=None, exclude_if=lambda probability: probability is None)


class BatchEntry(BaseModel):
    """Hits with their space and fusion, or the error of the query."""

    hits: list[BriefHit] | None = None
    space: str | None = None
    fusion: Fusion | None = None
    note: str | None = None
    error: str | None = None


class BatchAnswer(BaseModel):
    results: list[BatchEntry]


def _body(schema: str, form: bool = True) -> dict[str, Any]:
    """The description of a body that a route reads itself: JSON, or a form with the JSON in its field `query`."""
    reference = {"$ref": f"#/components/schemas/{schema}"}
    content: dict[str, Any] = {"application/json": {"schema": reference}}
    if form:
        content["multipart/form-data"] = {
            "schema": {
                "type": "object",
                "description": "The query, and a field for each file that a part of it names as its `file`.",
                "properties": {"query": reference},
                "required": ["query"],
                "additionalProperties": {"type": "string", "format": "binary"},
            },
            "encoding": {"query": {"contentType": "application/json"}},
        }
    return {"requestBody": {"required": True, "content": content}}


# The two routes that answer one query look up by themselves what others take from dependencies.
async def query(collection: str, request: Request) -> Response:
    """Find the items nearest to the weighted parts together, best first.

    As JSON, with files as base64, or as a form with the JSON in its field `query`, and a field for each file that a
    part names as its `file`. There are `k` hits unless fewer items are left by filters, `offset`, `min_score`,
    `min_probability` or words.
    """
    get_service(request).check_ready()
    return await _answer(collection, await query_of_request(request, QUERY), request)


router.add_api_route(
    _PATH,
    query,
    methods=["POST"],
    openapi_extra=_body("Query"),
    response_model=Results,
    route_class_override=DirectRoute,
)


@router.get(_PATH, response_model=Results)
async def simple_query(collection: str, request: Request, query: Annotated[Query, Depends(query_of_url)]) -> Response:
    """Find the items nearest to texts, items and colours, and with words in them: a query that a URL can hold.

    Parts have no weights here, and there are no files; `POST` takes both.
    """
    get_service(request).check_ready()
    return await _answer(collection, query, request)


@router.post(f"{_PATH}/batch", openapi_extra=_body("BatchBody", form=False), response_model=BatchAnswer)
async def query_batch(collection: str, request: Request, service: ServiceDependency) -> Response:
    """Answer many queries in one model pass, in order; a wrong query gets an error in place of its answer."""
    body = await read_json(request, adapter(BatchBody), service.limits.batch_json)
    check_batch(body.queries, service.limits)
    service.check_ready()
    allow_batch(service.limits)
    return _json(await service.run(_answer_batch, service, collection, body.queries))


@router.post("/v1/query", openapi_extra=_body("QueryOfSeveral"), response_model=Results)
async def query_collections(request: Request, service: ServiceDependency, paths: MaySeePaths) -> Response:
    """Find the items of several collections that are nearest to the weighted parts together, best first.

    Hits of one space are merged by score, those of different spaces by rank; each names its collection.
    """
    service.check_ready()
    query = await query_of_request(request, adapter(QueryOfSeveral))
    return _json(await service.run(_answer_several, service, query, paths))


async def _answer(collection: str, query: Query, request: Request) -> Response:
    """Together with like queries that wait, too, if it has any."""
    service, paths, alike = get_service(request), may_see_paths(request), like(collection, query)
    gathering: QueryGathering = request.app.state.gathering
    if alike is not None:
        return _json(await gathering.ask(alike, waiting(query, paths)))
    return _json(await service.run(answer_alone, service, collection, query, paths))


def _json(content: bytes) -> Response:
    """An answer as it is: the framework would check it against the schema and write it a second time."""
    return Response(content, media_type="application/json")


def _answer_several(service: Service, query: QueryOfSeveral, paths: bool) -> bytes:
    pictures = service.pictures_of(query.collections[0])

    def read(engine: SearchEngine) -> Query:
        with timed(Stage.DECODE):
            return decoded(query, service.limits, engine.embedder, pictures)

    results = service.runtime.through_switches(lambda: query_several(query.collections, service.engine_for, read))
    return results_json(results, paths, service.limits)


def _answer_batch(service: Service, collection: str, queries: Sequence[Any]) -> bytes:
    """The JSON of a `BatchAnswer`, written query by query: one of all hits would take several times its bytes."""
    pictures = service.pictures_of(collection)
    outcomes = service.runtime.all_through_switches(
        lambda: answer_batch(service.engine_for(collection), service.limits, collection, queries, pictures)
    )
    entries = (BatchEntry.model_validate(brief(outcome), from_attributes=True) for outcome in outcomes)
    return b'{"results":[%b]}' % ",".join(entry.model_dump_json() for entry in entries).encode()
