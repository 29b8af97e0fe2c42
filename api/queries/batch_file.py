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
# The queries of one request: enough for an efficient model pass, few enough for an early answer.
_CHUNK_QUERIES = 256
_CHUNK_BYTES = 32 * 1024 * 1024
_SPACES = ("space", "spaces")
_LINE_BYTES = _LIMITS.bytes_per_request - _CHUNK_BYTES - 1024 * 1024


class Searcher(Protocol):
    """Answers queries: the client of a service, or the model in this process."""

    def query_batch(self, collection: str, queries: list[dict[str, Any]]) -> list[Results | Refusal]: ...


@dataclass(frozen=True)
class _Line:
    """The query of a line, or its error; `id_text` is its id as JSON, `size` the bytes to send."""

    id_text: str
    query: dict[str, Any] | None = None
    error: str | None = None
    size: int = 0


def answer_lines(
    lines: Iterable[bytes], folder: Path, searcher: Searcher, collection: str, defaults: Mapping[str, Any]
) -> Iterator[str]:
    """Yield an output line for each line that is not blank, in order, as soon as its chunk is answered.

    Files are relative to `folder`; `defaults` are the members `k`, `space`, `where` and `fusion` of lines without them.
    Raises only errors of the whole file, such as `CollectionNotFound`.
    """
    chunk: list[_Line] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            chunk.append(_read_line(line, number, folder, defaults))
        if _is_full(chunk):
            yield from _answer_chunk(chunk, searcher, collection)
            chunk = []
    yield from _answer_chunk(chunk, searcher, collection)


def _is_full(chunk: list[_Line]) -> bool:
    return len(chunk) >= _CHUNK_QUERIES or sum(line.size for line in chunk) >= _CHUNK_BYTES


def _answer_chunk(chunk: list[_Line], searcher: Searcher, collection: str) -> Iterator[str]:
    queries = [line.query for line in chunk if line.query is not None]
    outcomes = iter(_query_chunk(queries, searcher, collection) if queries else [])
    for line in chunk:
        outcome = Refusal(line.error or "") if line.query is None else next(outcomes)
        yield f'{{"id": {line.id_text}, {_outcome_json(outcome)}}}'


def _query_chunk(queries: list[dict[str, Any]], searcher: Searcher, collection: str) -> list[Results | Refusal]:
    """The answers to queries, in two requests where they are too large for one."""
    try:
        return searcher.query_batch(collection, queries)
    except ApiError as error:
        if error.status != HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            raise
        if len(queries) == 1:
            return [Refusal(str(error))]
        halves = queries[: len(queries) // 2], queries[len(queries) // 2 :]
        return [answer for half in halves for answer in _query_chunk(half, searcher, collection)]


def _outcome_json(outcome: Results | Refusal) -> str:
    if isinstance(outcome, Refusal):
        return f'"error": {json.dumps(outcome.error)}'
    hits = [_hit_members(hit) for hit in outcome.hits]
    return f'"hits": {json.dumps(hits)}'


def _hit_members(hit: Hit) -> dict[str, Any]:
    brief = {"key": hit.key, "score": hit.score, "rank": hit.rank}
    more = {"group": hit.group, "probability": hit.probability}
    return brief | {name: value for name, value in more.items() if value is not None}


def _read_line(line: bytes, number: int, folder: Path, defaults: Mapping[str, Any]) -> _Line:
    try:
        members = json.loads(line, parse_float=_parse_finite, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        return _Line("null", error=f"line {number} is not JSON: {error}")
    if not isinstance(members, dict) or type(members.get("id")) not in (str, int, float):
        return _Line("null", error=f"line {number} is not an object with an id that is a string or a number")
    id_text = json.dumps(members.pop("id"))
    try:
        check_unicode(members, f"line {number}")
        query = query_json(_with_defaults(_resolve_files(members, folder), defaults), _LIMITS)
    except (BadInput, RecursionError) as error:
        return _Line(id_text, error=str(error))
    size = len(json.dumps(query))
    parts = [part for part in query["parts"] if isinstance(part, dict)]
    files = [part.get(name) for part in parts for name in ("data", "mask")]
    written = size - sum(len(file) for file in files if isinstance(file, str))
    for what, found, most in (("without", written, _LIMITS.bytes_per_query), ("with", size, _LINE_BYTES)):
        if found > most:
            message = f"line {number} has {found:,} bytes {what} its files; at most {most:,} are allowed"
            return _Line(id_text, error=message)
    return _Line(id_text, query, size=size)


def _with_defaults(query: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The query with `defaults` for missing members; `space` and `spaces` replace each other's default."""
    overridden = _SPACES if any(name in query for name in _SPACES) else ()
    return {name: value for name, value in defaults.items() if name not in overridden} | query


def _resolve_files(members: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The members of a line's query that are not null, with files resolved against `folder`. Raises `BadQuery`."""
    if not isinstance(members.get("parts"), list):
        raise BadQuery("a line needs a list of parts")
    parts = []
    for part in members["parts"]:
        file = part.get("file") if isinstance(part, dict) else None
        if file is not None and (not isinstance(file, str) or "\0" in file):
            raise BadQuery("the file of a part must be a path")
        parts.append(part if file is None else part | {"file": folder / file})
    return {name: value for name, value in members.items() if value is not None} | {"parts": parts}


def _parse_finite(text: str) -> float:
    """The number of a JSON literal. Raises `ValueError` if it is infinite."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is too large")
    return value
