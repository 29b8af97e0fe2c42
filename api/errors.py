"""From an error of any folder to an HTTP status: one table. `api.problems` makes the answer.

ServiceError                 what the service itself refuses, before any domain code runs
├── NotReady                 the model is still being loaded, or could not be
├── Busy                     too many requests are waiting
├── TookTooLong              a prediction was stopped
├── Unauthenticated          no API key was sent, or not a valid one
├── ScopeMissing             the key is valid but may not do this
├── OriginRefused            the request came from another site's page, or to a foreign host name
└── RootRefused              a folder outside the configured roots
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from model.errors import ModelError, RequestInvalid, UnknownModel, UnsupportedModality
from search.errors import AnyseekError, BadInput, Conflict, IndexUnavailable, LeaseLost, LimitExceeded, NotFound


class ServiceError(AnyseekError):
    code = "service-error"


class NotReady(ServiceError):
    code = "not-ready"


class Busy(ServiceError):
    code = "busy"


class TookTooLong(ServiceError):
    code = "took-too-long"


class Unauthenticated(ServiceError):
    code = "unauthenticated"


class ScopeMissing(ServiceError):
    code = "scope-missing"


class OriginRefused(ServiceError):
    code = "origin-refused"


class RootRefused(ServiceError):
    code = "root-refused"


# The closest class of an error's ancestry decides; what is not here is a fault of the service (500).
STATUS: dict[type[Exception], HTTPStatus] = {
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    LeaseLost: HTTPStatus.CONFLICT,
    IndexUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    BadInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    LimitExceeded: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnsupportedModality: HTTPStatus.UNPROCESSABLE_ENTITY,
    RequestInvalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    UnknownModel: HTTPStatus.NOT_FOUND,
    ModelError: HTTPStatus.SERVICE_UNAVAILABLE,
    NotReady: HTTPStatus.SERVICE_UNAVAILABLE,
    Busy: HTTPStatus.SERVICE_UNAVAILABLE,
    TookTooLong: HTTPStatus.SERVICE_UNAVAILABLE,
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    ScopeMissing: HTTPStatus.FORBIDDEN,
    OriginRefused: HTTPStatus.FORBIDDEN,
    RootRefused: HTTPStatus.FORBIDDEN,
}


def status_of(error: Exception) -> HTTPStatus:
    """The HTTP status of a domain error."""
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return HTTPStatus.INTERNAL_SERVER_ERROR


def describe(errors: Sequence[Any]) -> str:
    """The first wrong places of a request in one sentence; what was sent there is left out."""
    places = [f"{'.'.join(str(step) for step in error['loc'])}: {error['msg']}" for error in errors]
    more = f"; and {len(places) - 3} more" if len(places) > 3 else ""
    return "; ".join(places[:3]) + more
