"""Errors of the service and of clients, and the HTTP status and exit code of every error.

`anyseek.api.http.problems` makes the HTTP answer.

ServiceError                 what the service itself refuses, before any domain code runs
├── NotReady                 the model is still loading, or could not be loaded
├── Busy                     too many requests are waiting
├── TooManyRequests          an API key or an address sends too many requests, or an address too many wrong keys
├── TookTooLong              a prediction was stopped
├── Unauthenticated          no API key was sent, or not a valid one
├── ScopeMissing             the key is valid but may not do this
├── OriginRefused            the request came from another site's page, or to a foreign host name
├── ProxyRefused             a proxy forwarded the request before the first key was created
├── RootRefused              a folder outside the configured roots
├── UnknownParameter         a URL parameter that the route does not have
├── UnexpectedBody           a body that the route does not take
└── RangeUnsatisfiable       a range of bytes that a file does not have

ClientError
├── ServiceUnreachable       no service answers at that address
└── ApiError                 the service refused; `type` is the stable part of its problem details
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from anyseek.model.errors import BadDevice, DeviceInName, ModelError, RequestInvalid, UnknownModel, UnsupportedModality
from anyseek.search.errors import (
    AnyseekError,
    AssetChanged,
    BadInput,
    Conflict,
    IndexUnavailable,
    ItemChanged,
    LeaseLost,
    LimitExceeded,
    NotFound,
    QuotaExceeded,
    StorageFull,
    StorageUnavailable,
)


class ServiceError(AnyseekError):
    code = "service-error"


class NotReady(ServiceError):
    code = "not-ready"


class Busy(ServiceError):
    code = "busy"


class TooManyRequests(ServiceError):
    """`retry_after`: seconds until the request may be repeated."""

    code = "too-many-requests"

    def __init__(self, sentence: str, retry_after: int) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after


class TookTooLong(ServiceError):
    code = "took-too-long"


class Unauthenticated(ServiceError):
    code = "unauthenticated"


class ScopeMissing(ServiceError):
    code = "scope-missing"


class OriginRefused(ServiceError):
    code = "origin-refused"


class ProxyRefused(ServiceError):
    code = "proxy-refused"


class RootRefused(ServiceError):
    code = "root-refused"


class UnknownParameter(ServiceError):
    code = "unknown-parameter"


class UnexpectedBody(ServiceError):
    code = "unexpected-body"


class RangeUnsatisfiable(ServiceError):
    code = "range-unsatisfiable"


class ClientError(AnyseekError):
    """Base of the errors of a client."""

    code = "client-error"


class ServiceUnreachable(ClientError):
    """No service answers at that address, or not in time."""

    code = "service-unreachable"


class ApiError(ClientError):
    """A refusal by the service.

    `code` is stable, such as `collection-not-found`; `status` is that of HTTP, `type` the URN of the code; the text is
    one sentence.
    """

    code: str = "api-error"  # type: ignore[misc]

    def __init__(self, status: int, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.type = kind
        self.code = kind.removeprefix("urn:anyseek:")


# The closest class in an error's MRO decides; other errors are internal (500).
STATUS: dict[type[Exception], HTTPStatus] = {
    NotFound: HTTPStatus.NOT_FOUND,
    AssetChanged: HTTPStatus.GONE,
    Conflict: HTTPStatus.CONFLICT,
    ItemChanged: HTTPStatus.PRECONDITION_FAILED,
    LeaseLost: HTTPStatus.CONFLICT,
    IndexUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    StorageUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    StorageFull: HTTPStatus.INSUFFICIENT_STORAGE,
    QuotaExceeded: HTTPStatus.INSUFFICIENT_STORAGE,
    BadInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    LimitExceeded: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnsupportedModality: HTTPStatus.UNPROCESSABLE_ENTITY,
    RequestInvalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    UnknownModel: HTTPStatus.NOT_FOUND,
    DeviceInName: HTTPStatus.UNPROCESSABLE_ENTITY,
    ModelError: HTTPStatus.SERVICE_UNAVAILABLE,
    NotReady: HTTPStatus.SERVICE_UNAVAILABLE,
    Busy: HTTPStatus.SERVICE_UNAVAILABLE,
    TooManyRequests: HTTPStatus.TOO_MANY_REQUESTS,
    TookTooLong: HTTPStatus.SERVICE_UNAVAILABLE,
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    ScopeMissing: HTTPStatus.FORBIDDEN,
    OriginRefused: HTTPStatus.FORBIDDEN,
    ProxyRefused: HTTPStatus.FORBIDDEN,
    RootRefused: HTTPStatus.FORBIDDEN,
    UnknownParameter: HTTPStatus.UNPROCESSABLE_ENTITY,
    UnexpectedBody: HTTPStatus.UNPROCESSABLE_ENTITY,
    RangeUnsatisfiable: HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
}

# Exit codes of commands.
FAILED, WRONG_USAGE = 1, 2
_REFUSED_INPUT = (400, 413, 422)


def domain_error(error: Exception) -> Exception:
    """The error itself, or the domain error for a failure of the database or the disk."""
    if isinstance(error, AnyseekError | ModelError):
        return error
    from anyseek.search.catalogue.failures import (
        translate_error,  # a command that asks a service starts without a database
    )

    return translate_error(error) or error


def status_of(error: Exception) -> HTTPStatus:
    """The HTTP status of a domain error."""
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return HTTPStatus.INTERNAL_SERVER_ERROR


MAX_ERRORS_SHOWN, _MAX_LOCATION_LENGTH = 100, 200  # the input is not echoed in full


def error_locations(errors: Sequence[Any]) -> list[dict[str, str]]:
    """The location and message of the first pydantic errors, without the values that were sent."""
    located = ((".".join(map(str, error["loc"])), str(error["msg"])) for error in errors[:MAX_ERRORS_SHOWN])
    return [{"where": where[:_MAX_LOCATION_LENGTH], "detail": detail} for where, detail in located]


def describe(errors: Sequence[Any]) -> str:
    """The first errors of a request in one sentence, with their locations."""
    located = [f"{error['where']}: {error['detail']}" for error in error_locations(errors)]
    more = f"; and {len(errors) - 3} more" if len(errors) > 3 else ""
    return "; ".join(located[:3]) + more


def exit_code_of(error: Exception) -> int | None:
    """The exit code of an expected error; None for a bug, which should show its traceback."""
    if isinstance(error, ApiError):
        return WRONG_USAGE if error.status in _REFUSED_INPUT else FAILED
    if isinstance(error, BadInput | UnsupportedModality | UnknownModel | BadDevice | RequestInvalid):
        return WRONG_USAGE
    return FAILED if isinstance(error, AnyseekError | ModelError | OSError) else None
