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

from anyseek.api.errors import Busy, TooManyRequests, describe, domain_error, error_locations, status_of
from anyseek.api.http.did_you_mean import adapter, add_suggestions
from anyseek.api.http.security import Scope
from anyseek.api.redaction import redact_paths
from anyseek.model.errors import ModelError
from anyseek.search.errors import AnyseekError, DatabaseFailed, LimitExceeded

MEDIA_TYPE = "application/problem+json"

MAX_DETAIL_LENGTH = 1_000  # characters; a sentence may quote what was sent

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
    extensions: Mapping[str, Any] = MappingProxyType({}),
) -> JSONResponse:
    """An RFC 9457 answer; `type` is `urn:anyseek:` and a stable code.

    `extensions` are additional members.
    """
    body: dict[str, Any] = {
        "type": f"urn:anyseek:{code}",
        "title": code.replace("-", " ").capitalize(),
        "status": int(status),
        "detail": detail if len(detail) <= MAX_DETAIL_LENGTH else f"{detail[:MAX_DETAIL_LENGTH]} …",
        "request_id": request_id,
        **extensions,
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
    extensions: Mapping[str, Any] = MappingProxyType({}),
    in_process: bool = False,
    private_paths: Iterable[Path] = (),
) -> JSONResponse:
    """The answer to a domain error. An internal error shows its code but no details unless `in_process`.

    `private_paths` are redacted from the message.
    """
    error = domain_error(error)
    status, code = status_of(error), error.code if isinstance(error, AnyseekError | ModelError) else "error"
    if status == HTTPStatus.INTERNAL_SERVER_ERROR and not in_process:
        return problem(status, code, f"the service failed; its log tells more under request {request_id}", request_id)
    answer = problem(status, code, redact_paths(str(error), private_paths), request_id, extensions=extensions)
    if isinstance(error, TooManyRequests):
        answer.headers["retry-after"] = str(error.retry_after)
    return answer


def _with_suggestions(request: Request, errors: Sequence[Any]) -> Sequence[Any]:
    """The errors with suggestions for unknown members, where FastAPI knows the type of the body."""
    body = request.scope["route"].body_field
    return errors if body is None else add_suggestions(errors, adapter(body.field_info.annotation), prefix=1)


def install_handlers(app: FastAPI, in_process: bool = False) -> None:
    """Turn errors inside routes into problem details; `anyseek.api.http.middleware.RequestContext` catches the rest."""

    async def refuse(request: Request, error: Exception) -> JSONResponse:
        if in_process:
            return problem_of(error, request.state.request_id, in_process=True)
        translated = domain_error(error)
        if status_of(translated) == HTTPStatus.INTERNAL_SERVER_ERROR or isinstance(translated, DatabaseFailed):
            request.state.failure = error  # for the log line
        is_admin = getattr(request.state, "granted", None) is Scope.ADMIN
        private_paths = () if is_admin else request.app.state.service.private_paths
        return problem_of(error, request.state.request_id, private_paths=private_paths)

    async def refuse_invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        errors = _with_suggestions(request, error.errors())
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        return problem(status, "invalid-request", describe(errors), request.state.request_id, error_locations(errors))

    async def refuse_by_framework(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        cause = error.__cause__  # the framework wraps exceptions raised while it reads a body
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
