"""Queries: one, many at once, and of several collections."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from inspect import Parameter, Signature
from typing import Annotated, Any, TypeVar, get_type_hints

from fastapi import APIRouter, Depends, Request, Response
from fastapi import Query as UrlParameter
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from anyseek.api.contents import QUERY, Upload, attach_files, parse_json_field
from anyseek.api.dependencies import (
    DirectRoute,
    MaySeePaths,
    ServiceDependency,
    get_service,
    is_form,
    may_see_paths,
    read_form,
    read_json,
    requires,
)
from anyseek.api.http.did_you_mean import adapter, add_suggestions
from anyseek.api.http.security import Scope
from anyseek.api.queries.answering import (
    QueryBatcher,
    answer_batch,
    answer_multi_collection,
    answer_query,
    batch_key,
    brief_answer,
    check_batch,
    pending_query,
    pool_for,
)
from anyseek.api.schemas import Body
from anyseek.api.service import Service, allow_batch
from anyseek.search.answers.results import Fusion, Results
from anyseek.search.errors import BadInput, BadQuery
from anyseek.search.query.query import EXAMPLES, WORDS, Part, Query, QueryOfSeveral
from anyseek.search.settings import Limits

Q = TypeVar("Q", bound=Query)

router = APIRouter(tags=["queries"], dependencies=[requires(Scope.READ)])
_PATH = "/v1/collections/{collection}/query"


class BatchBody(Body):
    """Many queries for one model pass. An invalid query yields its error and does not affect the others."""

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
    """The OpenAPI description of a body that a route parses itself: JSON, or a form with JSON in its field `query`."""
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


async def query_of_request(request: Request, kind: TypeAdapter[Q]) -> Q:
    """The validated query in the body of a request: JSON, or a form with the field `query` and the files of its parts.

    Raises `RequestValidationError`, `BadInput`, and `BadQuery` for files that were not sent or that no part names.
    """
    if not is_form(request):
        return attach_files(await read_json(request, kind), {})
    service, uploads = get_service(request), await read_form(request)
    return await service.pool.run(query_of_form, uploads, kind, service.limits)


def query_of_form(uploads: Sequence[Upload], kind: TypeAdapter[Q], limits: Limits) -> Q:
    """The validated query of a form. Raises as `query_of_request` does."""
    by_field = {upload.field: upload for upload in uploads}
    if len(by_field) < len(uploads):
        raise BadInput("the form has a field twice; give each file a field of its own")
    written = by_field.pop("query", None)
    if written is None or not isinstance(written.content, str):
        raise BadInput('the form needs a field query, such as {"parts": [{"modality": "rgb", "file": "a"}]}')
    members = parse_json_field(written.content, "query", limits)
    try:
        query = kind.validate_python(members)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False, include_context=False)
        raise RequestValidationError(add_suggestions(wrong, kind)) from error
    unnamed = by_field.keys() - {part.file for part in query.parts}
    if unnamed:
        raise BadQuery(f"the form has the field {min(unnamed)}, which no part of its query names as its file")
    return attach_files(query, by_field)


_PART_PARAMETERS: dict[str, tuple[str, Callable[[str], Part]]] = {
    "text": ("what it shows, in words; may come several times", lambda text: Part("caption", text=text)),
    "item": ("keys of items: more like these; may come several times", lambda key: Part(item=key)),
    "palette": (
        "one to seven colours: #c03020,#ffffff; may come several times",
        lambda colours: Part("color_palette", text=colours),
    ),
    "words": (
        "words to find in keys, captions and attributes themselves",
        lambda words: Part(WORDS, text=words),
    ),
}


def _url_parameters() -> dict[str, Any]:
    """The URL parameters of a query: one for each kind of part, and all other members of `Query`."""
    described = QUERY.json_schema()["properties"]
    parameters: dict[str, Any] = {
        name: (Annotated[list[str], UrlParameter(description=says)], []) for name, (says, _) in _PART_PARAMETERS.items()
    }
    hints = get_type_hints(Query, include_extras=True) | {"where": str | None}
    for member in fields(Query):
        if member.name != "parts":
            says = UrlParameter(description=described[member.name].get("description"))
            default = list(member.default) if isinstance(member.default, tuple) else member.default
            parameters[member.name] = (Annotated[hints[member.name], says], default)
    return parameters


def query_of_url(**parameters: Any) -> Query:
    """The query of URL parameters that FastAPI has validated; its parts have weight 1."""
    parts = [make(value) for name, (_, make) in _PART_PARAMETERS.items() for value in parameters.pop(name)]
    return Query(parts, **parameters)


query_of_url.__signature__ = Signature(  # type: ignore[attr-defined]
    [
        Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=hint)
        for name, (hint, default) in _url_parameters().items()
    ]
)


# The two routes that answer one query avoid dependencies, whose resolution costs a tenth of a query.
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
    """Answer many queries in one model pass, in order; an invalid query yields an error in place of its answer."""
    body = await read_json(request, adapter(BatchBody), service.limits.batch_json)
    check_batch(body.queries, service.limits)
    service.check_ready()
    allow_batch(service.limits)
    return _json(await service.heavy_queries.run(_batch_json, service, collection, body.queries))


@router.post("/v1/query", openapi_extra=_body("QueryOfSeveral"), response_model=Results)
async def query_collections(request: Request, service: ServiceDependency, paths: MaySeePaths) -> Response:
    """Find the items of several collections that are nearest to the weighted parts together, best first.

    Hits of one space are merged by score, those of different spaces by rank; each names its collection.
    """
    service.check_ready()
    query = await query_of_request(request, adapter(QueryOfSeveral))
    return _json(await pool_for(service, query).run(answer_multi_collection, service, query, paths))


async def _answer(collection: str, query: Query, request: Request) -> Response:
    """The answer to one query, micro-batched with similar queries if possible."""
    service, paths, key = get_service(request), may_see_paths(request), batch_key(collection, query)
    batcher: QueryBatcher = request.app.state.query_batcher
    if key is not None:
        return _json(await batcher.submit(key, pending_query(query, paths)))
    return _json(await pool_for(service, query).run(answer_query, service, collection, query, paths))


def _json(content: bytes) -> Response:
    """A response of serialised JSON; the framework would validate it and serialise it a second time."""
    return Response(content, media_type="application/json")


def _batch_json(service: Service, collection: str, queries: Sequence[Any]) -> bytes:
    """The JSON of a `BatchAnswer`, serialised query by query: as a whole it would take several times its size."""
    outcomes = service.runtime.retry_all_on_switch(lambda: answer_batch(service, collection, queries))
    entries = (BatchEntry.model_validate(brief_answer(outcome), from_attributes=True) for outcome in outcomes)
    return b'{"results":[%b]}' % ",".join(entry.model_dump_json() for entry in entries).encode()
