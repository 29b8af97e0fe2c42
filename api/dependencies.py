"""Dependencies of routes: the service, a granted scope, and the body, as JSON or as the fields of a form."""

from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError
from starlette.convertors import Convertor, register_url_convertor
from starlette.datastructures import UploadFile

from api.contents import Upload
from api.errors import ScopeMissing, UnknownParameter
from api.schemas import ProblemAnswer
from api.security import Scope
from api.service import Service
from search.errors import BadInput

T = TypeVar("T")

PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"model": ProblemAnswer, "description": text, "content": {"application/problem+json": {}}}
    for code, text in (
        ("4XX", "The request was refused; `type` and `detail` tell why"),
        ("5XX", "The service failed or is not ready"),
    )
}


class KeyConvertor(Convertor[str]):
    """An item's key at the end of a path: anything at all, slashes and line ends included."""

    regex = "(?s:.+)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("key", KeyConvertor())


def get_service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceDependency = Annotated[Service, Depends(get_service)]


def requires(scope: Scope) -> Any:
    """Make a dependency that refuses callers whose key does not include `scope`."""

    def check(request: Request) -> None:
        granted: Scope = request.state.granted
        if not granted.includes(scope):
            raise ScopeMissing(f"this needs an API key with the scope {scope}; the one sent has {granted}")

    return Depends(check)


def refuse_unknown_parameters(request: Request) -> None:
    """A dependency that refuses what the route does not know, so that nobody believes it was heeded.

    Raises `UnknownParameter`.
    """
    known = _parameters(request.scope["route"].dependant)
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        takes = f"it takes {', '.join(known)}" if known else "it takes none"
        raise UnknownParameter(f"this request has no parameter {unknown[0][:40]!r}; {takes}")


def _parameters(dependant: Dependant) -> list[str]:
    """The query parameters of a route and of all that it depends on."""
    below = [name for inner in dependant.dependencies for name in _parameters(inner)]
    return [field.alias for field in dependant.query_params] + below


def may_see_paths(request: Request) -> bool:
    """Whether the caller may see where files lie on the service's machine: with the scope admin, or as its user."""
    granted: Scope = request.state.granted
    return granted.includes(Scope.ADMIN)


MaySeePaths = Annotated[bool, Depends(may_see_paths)]


def is_form(request: Request) -> bool:
    """Whether files were sent as a form rather than in JSON."""
    return request.headers.get("content-type", "").startswith("multipart/")


async def read_json(request: Request, kind: TypeAdapter[T]) -> T:
    """The body of a request that may be a form, as JSON. Raises `RequestValidationError`."""
    try:
        return kind.validate_json(await request.body())
    except ValidationError as error:
        raise RequestValidationError(
            error.errors(include_url=False, include_input=False, include_context=False)
        ) from error


async def read_form(request: Request) -> list[Upload]:
    """The fields of a multipart form in their order. Raises `BadInput` if there is none."""
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
