"""Queries, one or many."""

from collections.abc import Callable
from functools import partial

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from api.answers import answer_batch
from api.dependencies import ServiceDependency, read_form, requires
from api.parts import query_from_json, query_from_uploads
from api.schemas import BatchAnswer, BatchBody, QueryAnswer, QueryBody
from api.security import Scope
from api.service import Service
from model.embedder import Embedder
from search.errors import LimitExceeded
from search.settings import Limits
from search.types import Query

router = APIRouter(prefix="/v1/collections/{collection}/query", tags=["queries"], dependencies=[requires(Scope.READ)])

_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/QueryBody"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "description": "A field for each part: its modality or `item`, and `:0.7` for a weight.",
                    "properties": {
                        "rgb": {"type": "string", "format": "binary"},
                        "sketch": {"type": "string", "format": "binary"},
                        "caption": {"type": "string", "example": "a red bicycle"},
                        "color_palette": {"type": "string", "example": "#ff0000,#ffffff"},
                        "item": {"type": "string", "example": "holiday/0042.jpg"},
                        "k": {"type": "integer", "minimum": 1, "maximum": 10000, "default": 10},
                        "space": {"type": "string"},
                        "fusion": {"type": "string", "enum": ["joint", "late"]},
                        "where": {"type": "string", "example": "width >= 1000 and label in (cat, dog)"},
                        "classes": {"type": "string", "example": '{"0": "sky"}'},
                    },
                }
            },
        },
    }
}


@router.post("", openapi_extra=_BODY)
async def query(collection: str, request: Request, service: ServiceDependency) -> QueryAnswer:
    """The items nearest to the weighted parts together, best first.

    As JSON, with files as base64, or as a form, with fields named by modality. Fewer than `k` hits only when the
    collection is smaller.
    """
    service.check_ready()
    if request.headers.get("content-type", "").startswith("multipart/"):
        uploads = await read_form(request)
        return await service.run(_answer, service, collection, partial(query_from_uploads, uploads))
    body = await _read_query(request)
    return await service.run(_answer, service, collection, partial(query_from_json, body))


@router.post("/batch")
async def query_batch(collection: str, body: BatchBody, service: ServiceDependency) -> BatchAnswer:
    """Many queries in one model pass; answers come in their order, an error in place of a query that is wrong."""
    most = service.limits.queries_per_batch
    if len(body.queries) > most:
        raise LimitExceeded(f"a batch has at most {most:,} queries; this one has {len(body.queries):,}")
    service.check_ready()
    return await service.run(
        lambda: answer_batch(service.engine_for(collection), service.limits, collection, body.queries)
    )


def _answer(service: Service, collection: str, read: Callable[[Limits, Embedder], Query]) -> QueryAnswer:
    engine = service.engine_for(collection)
    return QueryAnswer.of(engine.query(collection, read(service.limits, engine.embedder)))


async def _read_query(request: Request) -> QueryBody:
    try:
        return QueryBody.model_validate_json(await request.body())
    except ValidationError as error:
        raise RequestValidationError(
            error.errors(include_url=False, include_input=False, include_context=False)
        ) from error
