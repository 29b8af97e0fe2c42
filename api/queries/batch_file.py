"""Many queries from a JSONL file: `{"id", "parts"}` with any other members of a query in, `{"id", "hits"}` or
`{"id", "error"}` out.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol

from anyseek.api.errors import ApiError
from anyseek.api.queries.wire import query_json
from anyseek.model.json_reader import check_unicode, refuse_constant
from anyseek.search.answers.results import Hit, Refusal, Results
from anyseek.search.errors import BadInput, BadQuery
from anyseek.search.settings import Limits

_LIMITS = Limits()
# The queries in one model pass: enough to keep it busy, few enough to answer soon and to fit in a request.
_CHUNK_QUERIES = 256
_CHUNK_BYTES = 32 * 1024 * 1024
_SPACES = ("space", "spaces")
_LINE_BYTES = _LIMITS.bytes_per_request - _CHUNK_BYTES - 1024 * 1024


class Searcher(Protocol):
    """Answers queries: the client of a service, or the model in this process."""

    def query_batch(self, collection: str, queries: list[dict[str, Any]]) -> list[Results | Refusal]: ...


@dataclass(frozen=True)
class _Line:
    """A line's query, or the error in it; `id_text` is its id as JSON, `size` the bytes that are sent."""

    id_text: str
    query: dict[str, Any] | None = None
    error: str | None = None
    size: int = 0


def answer_lines(
    lines: Iterable[bytes], folder: Path, searcher: Searcher, collection: str, defaults: Mapping[str, Any]
) -> Iterator[str]:
    """An output line for each line that is not blank, in order, as soon as its chunk is answered.

    Files are relative to `folder`; `defaults` are the members `k`, `space`, `where` and `fusion` of lines without them.
    Raises only what concerns every line, such as `CollectionNotFound`.
    """
    chunk: list[_Line] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            chunk.append(_read_line(line, number, folder, defaults))
        if _is_full(chunk):
            yield from _answer(chunk, searcher, collection)
            chunk = []
    yield from _answer(chunk, searcher, collection)


def _is_full(chunk: list[_Line]) -> bool:
    return len(chunk) >= _CHUNK_QUERIES or sum(line.size for line in chunk) >= _CHUNK_BYTES


def _answer(chunk: list[_Line], searcher: Searcher, collection: str) -> Iterator[str]:
    queries = [line.query for line in chunk if line.query is not None]
    outcomes = iter(_outcomes(queries, searcher, collection) if queries else [])
    for line in chunk:
        outcome = Refusal(line.error or "") if line.query is None else next(outcomes)
        yield f'{{"id": {line.id_text}, {_members(outcome)}}}'


def _outcomes(queries: list[dict[str, Any]], searcher: Searcher, collection: str) -> list[Results | Refusal]:
    """The answers to queries; where these are too much for one request, to half of them at a time."""
    try:
        return searcher.query_batch(collection, queries)
    except ApiError as error:
        if error.status != HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            raise
        if len(queries) == 1:
            return [Refusal(str(error))]
        halves = queries[: len(queries) // 2], queries[len(queries) // 2 :]
        return [answer for half in halves for answer in _outcomes(half, searcher, collection)]


def _members(outcome: Results | Refusal) -> str:
    if isinstance(outcome, Refusal):
        return f'"error": {json.dumps(outcome.error)}'
    hits = [_brief(hit) for hit in outcome.hits]
    return f'"hits": {json.dumps(hits)}'


def _brief(hit: Hit) -> dict[str, Any]:
    brief = {"key": hit.key, "score": hit.score, "rank": hit.rank}
    more = {"group": hit.group, "probability": hit.probability}
    return brief | {name: value for name, value in more.items() if value is not None}


def _read_line(line: bytes, number: int, folder: Path, defaults: Mapping[str, Any]) -> _Line:
    try:
        members = json.loads(line, parse_float=_finite, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        return _Line("null", error=f"line {number} is not JSON: {error}")
    if not isinstance(members, dict) or type(members.get("id")) not in (str, int, float):
        return _Line("null", error=f"line {number} is not an object with an id that is a string or a number")
    id_text = json.dumps(members.pop("id"))
    try:
        check_unicode(members, f"line {number}")
        query = query_json(_with_defaults(_located(members, folder), defaults), _LIMITS)
    except (BadInput, RecursionError) as error:
        return _Line(id_text, error=str(error))
    size = len(json.dumps(query))
    parts = [part for part in query["parts"] if isinstance(part, dict)]
    files = [part.get(name) for part in parts for name in ("data", "mask")]
    written = size - sum(len(file) for file in files if isinstance(file, str))
    for what, found, most in (("without", written, _LIMITS.bytes_per_query), ("with", size, _LINE_BYTES)):
        if found > most:
            said = f"line {number} has {found:,} bytes {what} its files; at most {most:,} are allowed"
            return _Line(id_text, error=said)
    return _Line(id_text, query, size=size)


def _with_defaults(query: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The query with `defaults` for what it leaves open; one that names a space or spaces leaves neither open."""
    chosen = _SPACES if any(name in query for name in _SPACES) else ()
    return {name: value for name, value in defaults.items() if name not in chosen} | query


def _located(members: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The given members of a line's query, its files in `folder`. Raises `BadQuery`."""
    if not isinstance(members.get("parts"), list):
        raise BadQuery("a line needs parts, a list")
    parts = []
    for part in members["parts"]:
        file = part.get("file") if isinstance(part, dict) else None
        if file is not None and (not isinstance(file, str) or "\0" in file):
            raise BadQuery("the file of a part is a path")
        parts.append(part if file is None else part | {"file": folder / file})
    return {name: value for name, value in members.items() if value is not None} | {"parts": parts}


def _finite(text: str) -> float:
    """Raises `ValueError` for a number that JSON could not hold again."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is too large")
    return value
