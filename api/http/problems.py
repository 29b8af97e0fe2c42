"""Errors as HTTP answers: RFC 9457 problem details."""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from anyseek.api.errors import Busy, TooManyRequests, describe, own, status_of, wrong_places
from anyseek.api.http.did_you_mean import adapter, explained
from anyseek.api.http.security import Scope
from anyseek.api.places import without_places
from anyseek.model.errors import ModelError
from anyseek.search.errors import AnyseekError, DatabaseFailed, LimitExceeded

MEDIA_TYPE = "application/problem+json"

LONGEST_DETAIL = 1_000  # characters; a sentence may quote what was sent

# Errors of the web framework itself.
_FRAMEWORK_CODES = {
    HTTPStatus.BAD_REQUEST: "bad-request",
    HTTPStatus.NOT_FOUND: "route-not-found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method-not-allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: LimitExceeded.code,
    HTTPStatus.REQUEST_TIMEOUT: "request-timeout",
    HTTPStatus.SERVICE_UNAVAILABLE: Busy.code,
}


def problem(
    status: HTTPStatus,
    code: str,
    detail: str,
    request_id: str,
    errors: Sequence[dict[str, str]] = (),
    more: Mapping[str, Any] = MappingProxyType({}),
) -> JSONResponse:
    """An RFC 9457 answer; `type` is `urn:anyseek:` and a code that never changes its meaning.

    `more` are further members.
    """
    body: dict[str, Any] = {
        "type": f"urn:anyseek:{code}",
        "title": code.replace("-", " ").capitalize(),
        "status": int(status),
        "detail": detail if len(detail) <= LONGEST_DETAIL else f"{detail[:LONGEST_DETAIL]} …",
        "request_id": request_id,
        **more,
    }
    if errors:
        body["errors"] = list(errors)
    headers = {
        HTTPStatus.UNAUTHORIZED: {"www-authenticate": "Bearer"},
        HTTPStatus.SERVICE_UNAVAILABLE: {"retry-after": "1"},
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: {"connection": "close"},  # the rest of the body is not read
        HTTPStatus.REQUEST_TIMEOUT: {"connection": "close"},
    }.get(status)
    return JSONResponse(body, int(status), headers, MEDIA_TYPE)


def problem_of(
    error: Exception,
    request_id: str,
    more: Mapping[str, Any] = MappingProxyType({}),
    in_process: bool = False,
    hidden: Iterable[Path] = (),
) -> JSONResponse:
    """The answer to a domain error. A fault of the service shows its code, but no internals, unless `in_process`.

    The sentence does not say where the `hidden` places lie.
    """
    error = own(error)
    status, code = status_of(error), error.code if isinstance(error, AnyseekError | ModelError) else "error"
    if status == HTTPStatus.INTERNAL_SERVER_ERROR and not in_process:
        return problem(status, code, f"the service failed; its log tells more under request {request_id}", request_id)
    answer = problem(status, code, without_places(str(error), hidden), request_id, more=more)
    if isinstance(error, TooManyRequests):
        answer.headers["retry-after"] = str(error.retry_after)
    return answer


def _explained(request: Request, errors: Sequence[Any]) -> Sequence[Any]:
    """The errors, with the names of members that were probably meant; a body that FastAPI reads has its type."""
    body = request.scope["route"].body_field
    return errors if body is None else explained(errors, adapter(body.field_info.annotation), before=1)


def install_handlers(app: FastAPI, in_process: bool = False) -> None:
    """Turn every error inside a route into a problem; `anyseek.api.http.middleware.RequestContext` catches the rest."""

    async def refuse(request: Request, error: Exception) -> JSONResponse:
        if in_process:
            return problem_of(error, request.state.request_id, in_process=True)
        known = own(error)
        if status_of(known) == HTTPStatus.INTERNAL_SERVER_ERROR or isinstance(known, DatabaseFailed):
            request.state.failure = error  # for the log line
        is_admin = getattr(request.state, "granted", None) is Scope.ADMIN
        hidden = () if is_admin else request.app.state.service.places
        return problem_of(error, request.state.request_id, hidden=hidden)

    async def refuse_invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        wrong = _explained(request, error.errors())
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        return problem(status, "invalid-request", describe(wrong), request.state.request_id, wrong_places(wrong))

    async def refuse_by_framework(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        cause = error.__cause__  # the framework wraps what is raised while it reads a body
        if isinstance(cause, RequestValidationError):
            return await refuse_invalid(request, cause)
        if isinstance(cause, AnyseekError):
            return await refuse(request, cause)
        status = HTTPStatus(error.status_code)
        code = _FRAMEWORK_CODES.get(status, "bad-request")
        answer = problem(status, code, str(error.detail), request.state.request_id)
        answer.headers.update(error.headers or {})
        return answer

    app.add_exception_handler(AnyseekError, refuse)
    app.add_exception_handler(ModelError, refuse)
    app.add_exception_handler(SQLAlchemyError, refuse)
    app.add_exception_handler(OSError, refuse)
    app.add_exception_handler(RequestValidationError, refuse_invalid)
    app.add_exception_handler(HTTPException, refuse_by_framework)
