"""Queries, one or many."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import TypeAdapter

from api.dependencies import MaySeePaths, ServiceDependency, is_form, read_form, read_json, requires
from api.queries.conversion import (
    QUERY,
    answer_batch,
    check_answer,
    check_batch,
    query_from_form,
    query_from_wire,
    results_to_wire,
)
from api.queries.parameters import query_of_url
from api.queries.schemas import BatchAnswer, BatchBody, BatchEntry
from api.queries.wire import Query, Results
from api.security import Scope
from api.service import Service
from model.seam import Embedder
from search.metrics import Stage, timed
from search.settings import Limits
from search.types import Query as EngineQuery

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
                        "vectors": {"type": "boolean", "default": False},
                        "group_by": {"type": "string", "example": "album"},
                        "group_size": {"type": "integer", "minimum": 1, "maximum": 10000, "default": 1},
                        "vector": {"type": "string", "example": "[0.1, -0.2]", "description": "an item's vector"},
                        "classes": {"type": "string", "example": '{"0": "sky"}'},
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


@router.post("", openapi_extra=_BODY)
async def query(collection: str, request: Request, service: ServiceDependency, paths: MaySeePaths) -> Results:
    """Find the items nearest to the weighted parts together, best first.

    As JSON, with files as base64, or as a form, with fields named by modality. There are `k` hits unless fewer items
    are left by filters, `offset`, `min_score` or words.
    """
    service.check_ready()
    if is_form(request):
        read = partial(query_from_form, await read_form(request))
    else:
        read = partial(query_from_wire, await read_json(request, QUERY))
    return await service.run(_answer, service, collection, read, paths)


@router.get("")
async def simple_query(
    collection: str, asked: Annotated[Query, Depends(query_of_url)], service: ServiceDependency, paths: MaySeePaths
) -> Results:
    """Find the items nearest to texts, items and colours, and with words in them: a query that a URL can hold.

    Parts have no weights here, and there are no files; `POST` takes both.
    """
    service.check_ready()
    return await service.run(_answer, service, collection, partial(query_from_wire, asked), paths)


@router.post("/batch", openapi_extra=_BATCH_BODY)
async def query_batch(collection: str, request: Request, service: ServiceDependency) -> BatchAnswer:
    """Answer many queries in one model pass, in order; a wrong query gets an error in place of its answer."""
    body = await read_json(request, _BATCH, service.limits.batch_json)
    check_batch(body.queries, service.limits)
    service.check_ready()
    return await service.run(_answer_batch, service, collection, body.queries)


def _answer(service: Service, collection: str, read: Callable[[Limits, Embedder], EngineQuery], paths: bool) -> Results:
    engine = service.engine_for(collection)
    with timed(Stage.DECODE):
        asked = read(service.limits, engine.embedder)
    results = engine.query(collection, asked)
    check_answer(results, service.limits)
    return results_to_wire(results, paths)


def _answer_batch(service: Service, collection: str, queries: list[Any]) -> BatchAnswer:
    outcomes = answer_batch(service.engine_for(collection), service.limits, collection, queries)
    return BatchAnswer(results=[BatchEntry.of(outcome) for outcome in outcomes])
