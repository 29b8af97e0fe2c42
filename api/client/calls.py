"""Requests as the clients describe them, how their answers are read, and what both clients share."""

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
LONG = 3_600.0  # seconds; the service itself limits what takes long, and others may be before it in the queue
NOT_READY = "not-ready"
_JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request and how to read its successful answer; `options` are those of `httpx.Client.request`."""

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    options: Mapping[str, Any] = field(default_factory=dict)

    def answer(self, response: httpx.Response) -> T:
        """Read an answer. Raises `ApiError`."""
        if not response.is_success:
            raise refusal(response)
        try:
            return self.read(response)
        except (ValueError, KeyError, TypeError) as error:
            raise _unexpected_answer(response) from error


def refusal(response: httpx.Response) -> ApiError:
    """The error in an answer whose body has been read."""
    try:
        members = response.json()
        return ApiError(response.status_code, str(members["type"]), str(members["detail"]))
    except (ValueError, KeyError, TypeError):
        return _unexpected_answer(response)


def _unexpected_answer(response: httpx.Response) -> ApiError:
    status = response.status_code
    said = f"{response.url.host} answered {status} {response.reason_phrase}"
    return ApiError(status, "about:blank", f"{said}: is it an Anyseek service?")


def json_call(
    method: str, path: str, read: Callable[[Any], T], body: Mapping[str, Any] | None = None, **options: Any
) -> Call[T]:
    """A request, with a `body` of JSON if there is one, whose JSON answer `read` takes."""
    if body is not None:
        # In ASCII, so that half a surrogate pair reaches the service, which reports it.
        content = json.dumps(body, allow_nan=False).encode("ascii")
        options = {**options, "content": content, "headers": _JSON | options.get("headers", {})}
    return Call(method, path, lambda response: read(response.json()), options)


def list_of(read: Callable[[Any], T], member: str) -> Callable[[Any], list[T]]:
    """Reads the list that is a member of an answer."""
    return lambda body: [read(value) for value in body[member]]


def without_none(**parameters: Any) -> dict[str, Any]:
    """Those parameters that are not None."""
    return {name: value for name, value in parameters.items() if value is not None}


def query_call(collection: str | Sequence[str], parts: Parts, **members: Any) -> Call[Results]:
    """The request of a query of one collection or of several: the one place where it becomes JSON."""
    if isinstance(collection, str):
        body = query_json(Query(parts_of(parts), **members), LIMITS)
        return json_call("POST", f"{at(collection)}/query", results_of, body)
    several = QueryOfSeveral(parts_of(parts), collections=list(collection), **members)
    return json_call("POST", "/v1/query", results_of, query_json(several, LIMITS))


def content(response: httpx.Response) -> bytes:
    """The bytes of an answer."""
    return response.content


def no_body(response: httpx.Response) -> None:
    """Ignore an answer."""


def file_bytes(file: bytes | str | Path) -> bytes:
    """The bytes themselves, or those of the file at a path."""
    return file if isinstance(file, bytes) else Path(file).read_bytes()


def if_match(etag: str | None) -> dict[str, str]:
    """The header of a change that is made only to the version `etag` of an item."""
    return {} if etag is None else {"if-match": f'"{etag}"'}


def at(collection: str, *segments: str) -> str:
    """The path of a collection, or of what `segments` name below it: slashes in names are encoded."""
    encoded = (quote(segment, safe="", errors="surrogatepass") for segment in (collection, *segments))
    return f"/v1/collections/{'/'.join(encoded)}"


class EventReader:
    """Parser of server-sent events: an `event:` line, a `data:` line of JSON, an empty line. Comments are skipped."""

    def __init__(self) -> None:
        self._name = ""

    def read(self, line: str) -> Iterator[tuple[str, Any]]:
        """The (name, data) of the event that `line` completes, if it does."""
        field, _, value = line.partition(": ")
        if field == "event":
            self._name = value
        elif field == "data":
            yield self._name, json.loads(value)


def events_path(job: int) -> str:
    """The path of a job's server-sent events."""
    return f"/v1/jobs/{job}/events"


@contextmanager
def translated_errors(url: str) -> Iterator[None]:
    """Turn failures to connect to a service, or to read what it sends, into `ServiceUnreachable`."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise ServiceUnreachable(f"the service at {url} did not answer in time") from error
    except httpx.TransportError as error:
        raise ServiceUnreachable(f"nothing answers at {url}: {error}") from error


def is_address(location: str | Path | None) -> bool:
    """Return whether a client's location is a service rather than a folder.

    Raises `ServiceUnreachable` for a strange one.
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
    # Certificates take 20 ms to load, and proxies are for other machines.
    is_here = urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
    return {
        "base_url": url,
        "headers": {"authorization": f"Bearer {key}"} if key else {},
        "timeout": httpx.Timeout(timeout, connect=5.0),
        "verify": url.startswith("https:"),
        "trust_env": not is_here,
    }
