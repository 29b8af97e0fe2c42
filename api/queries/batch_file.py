"""Many queries from a JSONL file: `{"id", "parts"}` with any other members of a query in, `{"id", "hits"}` or
`{"id", "error"}` out.

An id comes back byte for byte as it was written if it is a number, so that neither 2**70 nor 1.10 changes.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

from anyseek.api.queries.wire import DEFAULT_HITS, MOST_HITS, Hit, Query, Refusal, Results
from anyseek.model.json_reader import check_unicode, refuse_constant
from anyseek.model.modalities.reading.encoded import read_file
from anyseek.model.spelling import unknown
from anyseek.search.errors import BadInput, BadQuery
from anyseek.search.settings import Limits

_LIMITS = Limits()
# The queries in one model pass: enough to keep it busy, few enough to answer soon and to fit in a request.
_CHUNK_QUERIES = 256
_CHUNK_BYTES = 32 * 1024 * 1024
# A line may be added to a chunk that is almost full, and both must fit in one request, also by their number of values.
_CHUNK_WRITTEN = 512 * 1024
_CHUNK_HITS = _LIMITS.hits_per_batch - MOST_HITS
_SPACES = ("space", "spaces")
_LINE_BYTES = _LIMITS.bytes_per_request - _CHUNK_BYTES - 1024 * 1024


class Searcher(Protocol):
    """Answers queries: the client of a service, or the model in this process."""

    def query_batch(self, collection: str, queries: list[dict[str, Any]]) -> list[Results | Refusal]: ...


class _Number(str):
    """A JSON number as it was written."""


@dataclass(frozen=True)
class _Line:
    """A line's query, or the error in it; `id_text` is its id as JSON, `size` the bytes that are sent, `written` those
    without files.
    """

    id_text: str
    query: dict[str, Any] | None = None
    error: str | None = None
    written: int = 0
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
    return (
        len(chunk) >= _CHUNK_QUERIES
        or sum(line.size for line in chunk) >= _CHUNK_BYTES
        or sum(line.written for line in chunk) >= _CHUNK_WRITTEN
        or sum(hits_of(line.query) for line in chunk if line.query) > _CHUNK_HITS
    )


def hits_of(query: Mapping[str, Any]) -> int:
    """How many hits a query in JSON may have, before it is checked."""
    wanted = query.get("k", DEFAULT_HITS), query.get("group_size", 1)
    return math.prod(number if isinstance(number, int) and number > 0 else 0 for number in wanted)


def _answer(chunk: list[_Line], searcher: Searcher, collection: str) -> Iterator[str]:
    queries = [line.query for line in chunk if line.query is not None]
    outcomes = iter(searcher.query_batch(collection, queries) if queries else [])
    for line in chunk:
        outcome = Refusal(line.error or "") if line.query is None else next(outcomes)
        yield f'{{"id": {line.id_text}, {_members(outcome)}}}'


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
        members = json.loads(line, parse_int=_Number, parse_float=_Number, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        return _Line("null", error=f"line {number} is not JSON: {error}")
    if not isinstance(members, dict) or not isinstance(members.get("id"), str):
        return _Line("null", error=f"line {number} is not an object with an id that is a string or a number")
    identifier = members.pop("id")
    id_text = str(identifier) if isinstance(identifier, _Number) else json.dumps(identifier)
    try:
        check_unicode(members, f"line {number}")
        query = _with_defaults(_query(_plain(members), folder), defaults)
    except (BadInput, RecursionError) as error:
        return _Line(id_text, error=str(error))
    written, size = _sizes(query)
    if written > _LIMITS.bytes_per_query:
        most = _LIMITS.bytes_per_query
        return _Line(
            id_text, error=f"line {number} has {written:,} bytes without its files; at most {most:,} are allowed"
        )
    if size > _LINE_BYTES:
        return _Line(
            id_text, error=f"line {number} has {size:,} bytes with its files; at most {_LINE_BYTES:,} are allowed"
        )
    return _Line(id_text, query, written=written, size=size)


def _with_defaults(query: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The query with `defaults` for what it leaves open; one that names a space or spaces leaves neither open."""
    chosen = _SPACES if any(name in query for name in _SPACES) else ()
    return {name: value for name, value in defaults.items() if name not in chosen} | query


def _sizes(query: Mapping[str, Any]) -> tuple[int, int]:
    """The bytes of a query in a request, without its files and with them as base64."""
    parts = [part for part in query["parts"] if isinstance(part, dict)]
    read = [part["data"] for part in parts if isinstance(part.get("data"), bytes)]
    files = [part.get(name) for part in parts for name in ("data", "mask")]
    sent = sum(len(file) for file in files if isinstance(file, str))
    written = len(json.dumps(query, default=lambda data: ""))
    return written - sent, written + sum(-(-len(data) // 3) * 4 for data in read)


def _query(members: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A line's query with its files read. Raises `BadQuery`, `InputError`."""
    known = [each.name for each in fields(Query)]
    for name in members:
        if name not in known:
            raise BadQuery(unknown("member", name, ["id", *known]))
    if not isinstance(members.get("parts"), list):
        raise BadQuery("a line needs parts, a list")
    query = {"parts": [_with_file(part, folder) for part in members["parts"]]}
    return {name: value for name, value in members.items() if value is not None} | query


def _with_file(part: Any, folder: Path) -> Any:
    """The part with the bytes of its file in place of the file's name. Raises `BadQuery`, `InputError`."""
    if not isinstance(part, dict) or part.get("file") is None:
        return part
    rest = {name: value for name, value in part.items() if name != "file"}
    others = [name for name in ("text", "data", "item", "vector") if rest.get(name) is not None]
    if others or not isinstance(part["file"], str):
        raise BadQuery("a part needs exactly one of text, file, data, item and vector; file is a path")
    if "\0" in part["file"]:
        raise BadQuery("a part's file has a NUL in its name")
    path = folder / part["file"]
    return rest | {"data": read_file(path, Limits(), str(path)), "name": str(path)}


def _plain(value: Any) -> Any:
    """JSON with its numbers as numbers. Raises `BadQuery` for one that is too large for a float."""
    if isinstance(value, _Number):
        return _number(value)
    if isinstance(value, dict):
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_plain(element) for element in value]
    return value


def _number(text: str) -> int | float:
    if len(text) < 20 and text.lstrip("-").isdigit():
        return int(text)
    value = float(text)
    if not math.isfinite(value):
        raise BadQuery(f"the number {text[:20]} is too large")
    return value
