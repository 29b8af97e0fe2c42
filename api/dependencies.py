"""Dependencies of routes: the service, the required scope, and the body as JSON or as the fields of a form."""

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Annotated, Any, TypeVar, cast

from fastapi import Depends, Query, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError
from starlette.convertors import Convertor, register_url_convertor
from starlette.datastructures import UploadFile

from anyseek.api.contents import Upload
from anyseek.api.errors import ScopeMissing, UnexpectedBody, UnknownParameter
from anyseek.api.http.did_you_mean import add_suggestions
from anyseek.api.http.security import Scope
from anyseek.api.schemas import ProblemAnswer
from anyseek.api.service import Service
from anyseek.model.json_reader import JsonLimits, NotJson, check_unicode
from anyseek.model.json_reader import read_json as read_limited
from anyseek.model.spelling import unknown
from anyseek.search.errors import BadInput

T = TypeVar("T")
Check = Callable[[Request], Coroutine[Any, Any, None]]

BODY = "the body"
_MAX_INLINE_BYTES = 64 * 1024  # bytes of JSON that are parsed on the event loop

PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"model": ProblemAnswer, "description": text, "content": {"application/problem+json": {}}}
    for code, text in (
        ("4XX", "The request was refused; `type` and `detail` tell why"),
        ("5XX", "The service failed or is not ready"),
    )
}


class KeyConvertor(Convertor[str]):
    """An item's key at the end of a path: any text, including slashes and line ends."""

    regex = "(?s:.+)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("key", KeyConvertor())


def get_service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


# Dependencies are coroutines, which run on the event loop: FastAPI runs each plain function in a thread.
async def _service(request: Request) -> Service:
    return get_service(request)


ServiceDependency = Annotated[Service, Depends(_service)]


def requires(scope: Scope) -> Any:
    """A dependency that refuses requests whose key does not include `scope`."""

    async def check(request: Request) -> None:
        granted: Scope = request.state.granted
        if not granted.includes(scope):
            raise ScopeMissing(f"this needs an API key with the scope {scope}; the one sent has {granted}")

    return Depends(check)


async def _hold_write_slot(service: ServiceDependency) -> AsyncIterator[None]:
    async with service.writes.slot():
        yield


# The dependency of routes that write in a thread, so that waiting writes leave threads for reads.
WRITE_SLOT = Depends(_hold_write_slot)


async def refuse_unknown_input(request: Request) -> None:
    """A dependency that refuses parameters and bodies that the route ignores.

    Raises `UnknownParameter`, `UnexpectedBody` for more than an empty object where no body is read, and `BadInput` for
    a NUL, which PostgreSQL does not store.
    """
    if "\0" in request.scope["path"] or any("\0" in value for value in request.query_params.values()):
        raise BadInput("the address has a NUL (%00), which no name, key or filter can have")
    route = request.scope["route"]
    known = _query_parameters(route.dependant) if request.query_params else []
    for name in request.query_params:
        if name not in known:
            raise UnknownParameter(unknown("parameter", name, known))
    reads_body = route.body_field is not None or "requestBody" in (route.openapi_extra or {})
    if not reads_body and (await request.body()).strip() not in (b"", b"{}"):
        raise UnexpectedBody("this request takes no body; leave it out")


def _query_parameters(dependant: Dependant) -> list[str]:
    """The query parameters of a route and of all its dependencies."""
    inherited = [name for inner in dependant.dependencies for name in _query_parameters(inner)]
    return [field.alias for field in dependant.query_params] + inherited


def may_see_paths(request: Request) -> bool:
    """Whether the caller may see paths of the service's machine: with the scope admin, or as the service's user."""
    return request.state.granted is Scope.ADMIN


async def _may_see_paths(request: Request) -> bool:
    return may_see_paths(request)


MaySeePaths = Annotated[bool, Depends(_may_see_paths)]

# The filter of a listing or a count; `anyseek.api.schemas.parse_filter` parses it.
Where = Annotated[str | None, Query(description="a filter as queries take it", examples=["width >= 1000"])]


def is_form(request: Request) -> bool:
    """Whether files were sent as a form rather than in JSON."""
    return request.headers.get("content-type", "").startswith("multipart/")


async def read_json(request: Request, kind: TypeAdapter[T], limits: JsonLimits | None = None) -> T:
    """The validated JSON body of a request; by default with the service's limits of a query.

    Raises `RequestValidationError`, `JsonTooDeep`, `JsonTooLarge`, and `BadInput` for a text that is not Unicode.
    """
    # In a batch each query is checked separately.
    value = await _read_unicode(request) if limits is None else await read_body(request, limits)
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False, include_context=False)
        raise RequestValidationError(add_suggestions(wrong, kind)) from error


async def read_body(request: Request, limits: JsonLimits | None = None) -> Any:
    """The parsed JSON body of a request; a long one is parsed in a thread. Raises as `read_json` does."""
    service, data = get_service(request), await request.body()
    if len(data) <= _MAX_INLINE_BYTES:
        return _parse(data, limits or service.limits.json)
    return await service.pool.run(_parse, data, limits or service.limits.json)


async def _read_unicode(request: Request) -> Any:
    """The parsed JSON body. Raises as `read_body` does, and `BadInput` for unpaired surrogates."""
    value = await read_body(request)
    if b"\\u" in await request.body():  # UTF-8 has no surrogates, so only an escape can be one
        check_unicode(value, BODY)
    return value


def _parse(data: bytes, limits: JsonLimits) -> Any:
    try:
        return read_limited(data, limits, BODY)
    except NotJson as error:
        raise RequestValidationError([{"loc": ("body",), "msg": str(error), "type": "json_invalid"}]) from error


class JsonRoute(APIRoute):
    """A route that parses its JSON body as `read_body` does."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_limited(request: Request) -> Response:
            return await handle(_LimitedRequest(request.scope, request.receive))

        return handle_limited


class _LimitedRequest(Request):
    async def json(self) -> Any:
        return await _read_unicode(self)


class DirectRoute(APIRoute):
    """A route without FastAPI's dependency resolution, which costs a tenth of a query.

    The endpoint takes the parameters of its path and the request; its dependencies take the request, and are called
    in order, and then `refuse_unknown_input`.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        checks = [cast(Check, each.call) for each in self.dependant.dependencies]
        endpoint = cast(Callable[..., Coroutine[Any, Any, Response]], self.endpoint)
        if refuse_unknown_input not in checks:
            checks.append(refuse_unknown_input)

        async def handle(request: Request) -> Response:
            for check in checks:
                await check(request)
            return await endpoint(request=request, **request.path_params)

        return handle


async def read_form(request: Request) -> list[Upload]:
    """The fields of a multipart form, in order. Raises `BadInput` for any other content type."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise BadInput("send the parts as multipart/form-data, each field named by its modality")
    async with request.form(max_files=64, max_fields=64) as form:
        uploads = []
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                uploads.append(Upload(name, await value.read(), value.filename))
            else:
                uploads.append(Upload(name, value))
        return uploads
