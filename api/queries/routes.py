"""Queries, one or many."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import TypeAdapter

from anyseek.api.dependencies import (
    DirectRoute,
    ServiceDependency,
    get_service,
    is_form,
    may_see_paths,
    read_form,
    read_json,
    requires,
)
from anyseek.api.http.budgets import allow_batch
from anyseek.api.http.security import Scope
from anyseek.api.queries.conversion import (
    QUERY,
    answer_batch,
    check_batch,
    outcome_to_wire,
    query_from_wire,
)
from anyseek.api.queries.forms import query_from_form
from anyseek.api.queries.parameters import query_of_url
from anyseek.api.queries.schemas import BatchAnswer, BatchBody, BatchEntry
from anyseek.api.queries.together import QueryGathering, answer_alone, asked_by_wire, like
from anyseek.api.queries.wire import Query, Results
from anyseek.api.service import Service

router = APIRouter(prefix="/v1/collections/{collection}/query", tags=["queries"], dependencies=[requires(Scope.READ)])

_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/Query"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "description": "A field for each part: a modality, `item`, `vector`, `words`; `:0.7` for a weight.",
                    "properties": {
                        "rgb": {"type": "string", "format": "binary"},
                        "sketch": {"type": "string", "format": "binary"},
                        "caption": {"type": "string", "example": "a red bicycle"},
                        "color_palette": {"type": "string", "example": "#ff0000,#ffffff"},
                        "item": {"type": "string", "example": "holiday/0042.jpg"},
                        "words": {"type": "string", "example": "Rimini 1987"},
                        "k": {"type": "integer", "minimum": 1, "maximum": 10000, "default": 10},
                        "space": {"type": "string"},
                        "fusion": {"type": "string", "enum": ["joint", "late", "ranks"]},
                        "where": {"type": "string", "example": "width >= 1000 and label in (cat, dog)"},
                        "offset": {"type": "integer", "minimum": 0, "maximum": 9999, "default": 0},
                        "min_score": {"type": "number", "minimum": -1, "maximum": 1},
                        "min_probability": {"type": "number", "minimum": 0, "maximum": 1},
                        "vectors": {"type": "boolean", "default": False},
                        "group_by": {"type": "string", "example": "album"},
                        "group_size": {"type": "integer", "minimum": 1, "maximum": 10000, "default": 1},
                        "facets": {"type": "string", "example": '["label", "place.town"]'},
                        "spaces": {"type": "string", "example": '["photo_global", "colours"]'},
                        "cursor": {"type": "string", "description": "the `next` of an answer to this query"},
                        "explain": {"type": "integer", "minimum": 0, "maximum": 20, "default": 0},
                        "vector": {"type": "string", "example": "[0.1, -0.2]", "description": "an item's vector"},
                        "classes": {"type": "string", "example": '{"0": "sky"}'},
                        "forms": {"type": "string", "example": '{"depth": "near-bright"}'},
                        "box": {
                            "type": "string",
                            "example": "[0.1, 0.2, 0.6, 0.9]",
                            "description": "the part of the pictures that counts, or of items where none is sent",
                        },
                        "mask": {
                            "type": "string",
                            "format": "binary",
                            "description": "instead of a box: a PNG of numbers or NPY, in which what is not 0 counts",
                        },
                    },
                }
            },
        },
    }
}
_BATCH = TypeAdapter(BatchBody)
_BATCH_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/BatchBody"}}},
    }
}


# The two routes that answer one query look up by themselves what others take from dependencies.
async def query(collection: str, request: Request) -> Response:
    """Find the items nearest to the weighted parts together, best first.

    As JSON, with files as base64, or as a form, with fields named by modality. There are `k` hits unless fewer items
    are left by filters, `offset`, `min_score`, `min_probability` or words.
    """
    service = get_service(request)
    service.check_ready()
    if is_form(request):
        read = partial(query_from_form, await read_form(request))
        return _json(await service.run(answer_alone, service, collection, read, may_see_paths(request)))
    return await _answer(collection, await read_json(request, QUERY), request)


router.add_api_route(
    "", query, methods=["POST"], openapi_extra=_BODY, response_model=Results, route_class_override=DirectRoute
)


@router.get("", response_model=Results)
async def simple_query(collection: str, request: Request, asked: Annotated[Query, Depends(query_of_url)]) -> Response:
    """Find the items nearest to texts, items and colours, and with words in them: a query that a URL can hold.

    Parts have no weights here, and there are no files; `POST` takes both.
    """
    get_service(request).check_ready()
    return await _answer(collection, asked, request)


@router.post("/batch", openapi_extra=_BATCH_BODY, response_model=BatchAnswer)
async def query_batch(collection: str, request: Request, service: ServiceDependency) -> Response:
    """Answer many queries in one model pass, in order; a wrong query gets an error in place of its answer."""
    body = await read_json(request, _BATCH, service.limits.batch_json)
    check_batch(body.queries, service.limits)
    service.check_ready()
    allow_batch(service.limits)
    return _json(await service.run(_answer_batch, service, collection, body.queries))


async def _answer(collection: str, asked: Query, request: Request) -> Response:
    """Together with like queries that wait, too, if it has any."""
    service, paths, alike = get_service(request), may_see_paths(request), like(collection, asked)
    gathering: QueryGathering = request.app.state.gathering
    if alike is not None:
        return _json(await gathering.ask(alike, asked_by_wire(asked, paths)))
    return _json(await service.run(answer_alone, service, collection, partial(query_from_wire, asked), paths))


def _json(content: bytes) -> Response:
    """An answer as it is: the framework would check it against the schema and write it a second time."""
    return Response(content, media_type="application/json")


def _answer_batch(service: Service, collection: str, queries: list[Any]) -> bytes:
    """The JSON of a `BatchAnswer`, written query by query: one of all hits would take several times its bytes."""
    pictures = service.pictures_of(collection)
    outcomes = service.runtime.all_through_switches(
        lambda: answer_batch(service.engine_for(collection), service.limits, collection, queries, pictures)
    )
    entries = (BatchEntry.of(outcome_to_wire(outcome)).model_dump_json() for outcome in outcomes)
    return b'{"results":[%b]}' % ",".join(entries).encode()
