"""Read untrusted JSON. Its size, depth and number of values are checked before it is parsed.

A value costs up to a hundred times as much memory as its two bytes (`{}`), and Python's own parser stops with a
RecursionError where a text is nested too deeply.
"""

import json
import re
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NoReturn

from anyseek.model.errors import BadInput, LimitExceeded

DEEPEST = 100
# A file as base64 in a member of this name; everything else is written by the caller.
_UPLOAD = re.compile(rb'"(?:data|picture|mask)"\s*:\s*"')
_CONTENT = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)
_TEXT = re.compile(b'"' + _CONTENT.pattern + b'"', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_MAX_DIGITS = 400  # digits; a longer number is infinite, which everybody refuses


class NotJson(BadInput):
    code = "not-json"


class JsonTooDeep(BadInput):
    code = "json-too-deep"


class JsonTooLarge(LimitExceeded):
    code = "json-too-large"


@dataclass(frozen=True)
class JsonLimits:
    """The limits of a JSON document: `size` in bytes, and `values`, the total of its lists and objects.

    Files as base64, in members called data, picture or mask, count for neither, as far as there are `uploads`.
    """

    size: int = 1024 * 1024
    values: int = 100_000
    uploads: int = 0


def read_json(data: bytes, most: JsonLimits, name: str) -> Any:
    """The value; errors call the JSON `name`. Texts may have unpaired surrogates, see `check_unicode`.

    Raises `NotJson`, `JsonTooDeep`, `JsonTooLarge`.
    """
    check_shape(data, most, name)
    try:
        return json.loads(data.decode("utf-8"), parse_int=_parse_int, parse_constant=refuse_constant)
    except ValueError as error:
        raise NotJson(f"{name} is not JSON: {_reason(error)}") from error


def refuse_constant(constant: str) -> NoReturn:
    """Given to `json.loads` as `parse_constant`: NaN and Infinity, which JSON does not allow, are a `ValueError`."""
    raise ValueError(f"{constant} is not a number that JSON allows")


def check_unicode(value: Any, name: str) -> None:
    """Raises `BadInput` if any text in JSON has half of a surrogate pair, which can be neither stored nor sent."""
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, str) and not item.isascii() and any("\ud800" <= letter <= "\udfff" for letter in item):
            raise BadInput(f"{name} has a text with an unpaired surrogate, which is not Unicode")
        if isinstance(item, dict):
            left += [*item, *item.values()]
        elif isinstance(item, list):
            left += item


def check_shape(data: bytes, most: JsonLimits, name: str) -> None:
    """Measure what may be JSON; its texts do not count as values. Raises `JsonTooDeep`, `JsonTooLarge`."""
    written = _without_uploads(data, most.uploads)
    if len(written) > most.size:
        beside = " beside its files" if most.uploads else ""
        raise JsonTooLarge(f"{name} has {len(written):,} bytes of JSON{beside}; at most {most.size:,} are taken")
    bare = _TEXT.sub(b"", written)
    opening = bare.count(b"[") + bare.count(b"{")
    if opening > DEEPEST and (depth := _depth(bare)) > DEEPEST:
        raise JsonTooDeep(f"{name} is nested {depth:,} deep; at most {DEEPEST} are taken")
    values = bare.count(b",") + opening
    if values > most.values:
        raise JsonTooLarge(f"{name} has about {values:,} values; at most {most.values:,} are taken")


def _without_uploads(data: bytes, most: int) -> bytes:
    """The JSON without the content of its first `most` uploads."""
    pieces, start = [], 0
    for _ in range(most):
        begin = _UPLOAD.search(data, start)
        end = _end_of_text(data, begin.end()) if begin else -1
        if begin is None or end < 0:
            break
        pieces.append(data[start : begin.end()])
        start = end
    return b"".join([*pieces, data[start:]]) if pieces else data


def _end_of_text(data: bytes, start: int) -> int:
    """The place of the quote that ends the text whose content begins at `start`; -1 if there is none."""
    end = data.find(b'"', start)
    if data.find(b"\\", start, end) < 0:
        return end
    found = _CONTENT.match(data, start)
    return found.end() if found and data[found.end() : found.end() + 1] == b'"' else -1


def _depth(bare: bytes) -> int:
    """The deepest nesting in JSON without its texts."""
    brackets = bare.translate(None, _NOT_BRACKETS)
    return max(accumulate(1 if bracket in b"[{" else -1 for bracket in brackets), default=0)


def _parse_int(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


def _reason(error: ValueError) -> str:
    return f"byte {error.start} is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)[:200]
