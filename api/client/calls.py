"""The requests of both clients, the parsing of responses, and what the clients share."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlsplit

import httpx

from anyseek.api.errors import ApiError, ServiceUnreachable
from anyseek.api.queries.wire import query_json, results_of
from anyseek.search.answers.results import Results
from anyseek.search.query.query import Parts, Query, QueryOfSeveral, parts_of
from anyseek.search.settings import Limits

T = TypeVar("T")

LIMITS = Limits()
LONG = 3_600.0  # seconds; the service has its own limits for slow requests, and they may wait in a queue
NOT_READY = "not-ready"
_JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request and the parser of its response; `options` are those of `httpx.Client.request`."""

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    options: Mapping[str, Any] = field(default_factory=dict)

    def answer(self, response: httpx.Response) -> T:
        """Parse a response. Raises `ApiError` for an error or an unexpected response."""
        if not response.is_success:
            raise response_error(response)
        try:
            return self.read(response)
        except (ValueError, KeyError, TypeError) as error:
            raise _unexpected_response(response) from error


def response_error(response: httpx.Response) -> ApiError:
    """The error of an unsuccessful response whose body has been read."""
    try:
        members = response.json()
        return ApiError(response.status_code, str(members["type"]), str(members["detail"]))
    except (ValueError, KeyError, TypeError):
        return _unexpected_response(response)


def _unexpected_response(response: httpx.Response) -> ApiError:
    status = response.status_code
    status_line = f"{response.url.host} answered {status} {response.reason_phrase}"
    return ApiError(status, "about:blank", f"{status_line}: is it an Anyseek service?")


def json_call(
    method: str, path: str, read: Callable[[Any], T], body: Mapping[str, Any] | None = None, **options: Any
) -> Call[T]:
    """A call with an optional JSON `body`; `read` parses the JSON of its response."""
    if body is not None:
        # In ASCII, so that half a surrogate pair reaches the service, which reports it.
        content = json.dumps(body, allow_nan=False).encode("ascii")
        options = {**options, "content": content, "headers": _JSON | options.get("headers", {})}
    return Call(method, path, lambda response: read(response.json()), options)


def list_of(read: Callable[[Any], T], member: str) -> Callable[[Any], list[T]]:
    """A parser of the list in a `member` of a JSON response; `read` parses each element."""
    return lambda body: [read(value) for value in body[member]]


def without_none(**parameters: Any) -> dict[str, Any]:
    """The parameters that are not None."""
    return {name: value for name, value in parameters.items() if value is not None}


def query_call(collection: str | Sequence[str], parts: Parts, **members: Any) -> Call[Results]:
    """The call of a query of one or of several collections; the only place where a query becomes JSON."""
    if isinstance(collection, str):
        body = query_json(Query(parts_of(parts), **members), LIMITS)
        return json_call("POST", f"{path_of(collection)}/query", results_of, body)
    query = QueryOfSeveral(parts_of(parts), collections=list(collection), **members)
    return json_call("POST", "/v1/query", results_of, query_json(query, LIMITS))


def content(response: httpx.Response) -> bytes:
    """The body of a response as bytes."""
    return response.content


def no_body(response: httpx.Response) -> None:
    """Ignore the body of a response."""


def file_bytes(file: bytes | str | Path) -> bytes:
    """The bytes of a file, given as bytes or as a path."""
    return file if isinstance(file, bytes) else Path(file).read_bytes()


def if_match(etag: str | None) -> dict[str, str]:
    """The header that makes a change conditional on the version `etag` of an item."""
    return {} if etag is None else {"if-match": f'"{etag}"'}


def path_of(collection: str, *segments: str) -> str:
    """The URL path of a collection, or of the resource `segments` below it, with slashes in names encoded."""
    encoded = (quote(segment, safe="", errors="surrogatepass") for segment in (collection, *segments))
    return f"/v1/collections/{'/'.join(encoded)}"


class EventReader:
    """Parser of server-sent events: an `event:` line, a `data:` line of JSON, an empty line. Comments are skipped."""

    def __init__(self) -> None:
        self._name = ""

    def read(self, line: str) -> Iterator[tuple[str, Any]]:
        """The (name, data) of the event that `line` completes, if any."""
        field, _, value = line.partition(": ")
        if field == "event":
            self._name = value
        elif field == "data":
            yield self._name, json.loads(value)


def events_path(job: int) -> str:
    """The path of a job's server-sent events."""
    return f"/v1/jobs/{job}/events"


@contextmanager
def translate_errors(url: str) -> Iterator[None]:
    """Raise `ServiceUnreachable` for httpx's errors of connecting to a service, or of reading its response."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise ServiceUnreachable(f"the service at {url} did not answer in time") from error
    except httpx.TransportError as error:
        raise ServiceUnreachable(f"nothing answers at {url}: {error}") from error


def is_address(location: str | Path | None) -> bool:
    """Whether a client's location is the URL of a service rather than a path.

    Raises `ServiceUnreachable` for what looks like another address.
    """
    if not isinstance(location, str):
        return False
    if urlsplit(location).scheme in ("http", "https"):
        return True
    if "://" in location or re.fullmatch(r"[\w.-]+:\d+", location):
        raise ServiceUnreachable(f"{location!r} is not the address of a service, such as http://127.0.0.1:8765")
    return False


def service_options(url: str, key: str | None, timeout: float) -> dict[str, Any]:
    """The options of an httpx client of a service."""
    # Loading certificates takes 20 ms, and a service on this machine needs no proxy.
    is_here = urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
    return {
        "base_url": url,
        "headers": {"authorization": f"Bearer {key}"} if key else {},
        "timeout": httpx.Timeout(timeout, connect=5.0),
        "verify": url.startswith("https:"),
        "trust_env": not is_here,
    }
