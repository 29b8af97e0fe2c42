"""One query of several collections."""

from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from pydantic import TypeAdapter

from anyseek.api.dependencies import MaySeePaths, ServiceDependency, is_form, read_form, read_json, requires
from anyseek.api.http.security import Scope
from anyseek.api.queries.conversion import (
    ReadQuery,
    check_answer,
    query_from_wire,
    results_to_wire,
)
from anyseek.api.queries.forms import collections_of_form, query_from_form
from anyseek.api.queries.wire import QueryOfSeveral, Results
from anyseek.api.service import Service
from anyseek.search.engine import SearchEngine
from anyseek.search.query.multi_collection import query_several
from anyseek.search.telemetry.metrics import Stage, timed
from anyseek.search.types import Query

router = APIRouter(prefix="/v1/query", tags=["queries"], dependencies=[requires(Scope.READ)])

_QUERY: TypeAdapter[QueryOfSeveral] = TypeAdapter(QueryOfSeveral)
_FORM: dict[str, Any] = {
    "type": "object",
    "description": "The fields of a query of one collection, and `collections`.",
    "properties": {"collections": {"type": "string", "example": '["photos", "scans"]'}},
    "required": ["collections"],
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/QueryOfSeveral"}},
            "multipart/form-data": {"schema": _FORM},
        },
    }
}


@router.post("", openapi_extra=_BODY)
async def query_collections(request: Request, service: ServiceDependency, paths: MaySeePaths) -> Results:
    """Find the items of several collections that are nearest to the weighted parts together, best first.

    Hits of one space are merged by score, those of different spaces by rank; each names its collection.
    """
    service.check_ready()
    if is_form(request):
        names, uploads = collections_of_form(await read_form(request))
        read: ReadQuery = partial(query_from_form, uploads)
    else:
        body = await read_json(request, _QUERY)
        names, read = tuple(body.collections), partial(query_from_wire, body)
    return await service.run(_answer, service, names, read, paths)


def _answer(service: Service, names: tuple[str, ...], read: ReadQuery, paths: bool) -> Results:
    asked: list[Query] = []

    def decoded(engine: SearchEngine) -> Query:
        with timed(Stage.DECODE):
            asked.append(read(service.limits, engine.embedder, service.pictures_of(names[0])))
        return asked[-1]

    results = service.runtime.through_switches(lambda: query_several(names, service.engine_for, decoded))
    check_answer(results, service.limits)
    return results_to_wire(results, paths, asked[0])
