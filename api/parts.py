"""From what was sent, as JSON or as uploaded files, to the values of a `search.types.Query`."""

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api.schemas import PartBody, QueryBody
from indexer.decode import decode, known_modality, parse_classes, parse_palette, parse_text
from model.embedder import Embedder, Fusion, Value
from model.modality import Content
from search.errors import BadQuery, LimitExceeded
from search.filters.from_json import filter_from_json
from search.filters.from_text import filter_from_text
from search.filters.tree import Filter
from search.planning import check_taken
from search.settings import Limits
from search.types import Part, Query

_SETTINGS = ("k", "space", "fusion", "where", "classes")
# Contents that are JSON documents.
_DOCUMENTS = (Content.BOXES, Content.METADATA, Content.POSES, Content.INSTANCES)
_WEIGHT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")


@dataclass(frozen=True)
class Upload:
    """One field of a multipart form: a file's bytes with its name, or a text."""

    field: str
    content: bytes | str
    filename: str | None = None


def query_from_json(body: QueryBody, limits: Limits, embedder: Embedder) -> Query:
    """Decode a query; what `embedder` does not take is refused undecoded.

    Raises `BadQuery`, `BadFilter`, `LimitExceeded`, `DecodeError`.
    """
    _check_count(len(body.parts), limits)
    parts = [_part_from_json(part, limits, number, embedder) for number, part in enumerate(body.parts, 1)]
    return Query(tuple(parts), body.k, body.space, _filter(body.where), body.fusion)


def query_from_uploads(uploads: Sequence[Upload], limits: Limits, embedder: Embedder) -> Query:
    """A query from a form whose fields are modalities or `item`, with `:0.7` for a weight, and those of `_SETTINGS`.

    Raises `BadQuery`, `BadFilter`, `LimitExceeded`, `DecodeError`.
    """
    settings = {one.field: str(one.content) for one in uploads if one.field in _SETTINGS}
    contents = [one for one in uploads if one.field not in _SETTINGS]
    _check_count(len(contents), limits)
    classes = classes_from_json(settings["classes"]) if "classes" in settings else None
    parts = [_part_from_upload(one, limits, classes, embedder) for one in contents]
    if not parts:
        raise BadQuery("the form has no part; name a field by its modality, such as caption or rgb, or item")
    k = _hits(settings.get("k", "10"), limits)
    where, fusion = _filter(settings.get("where")), _fusion(settings.get("fusion"))
    return Query(tuple(parts), k, settings.get("space"), where, fusion)


def classes_from_json(text: str) -> dict[int, str]:
    """The class names of a segmentation map from a form's field. Raises `BadQuery`, `BadMap`."""
    try:
        names = json.loads(text)
    except ValueError as error:
        raise BadQuery("the field classes is not JSON") from error
    if not isinstance(names, Mapping):
        raise BadQuery('the field classes is written {"0": "sky"}')
    return parse_classes(names, "the field classes")


def value_of(modality: str, content: bytes | str, limits: Limits, name: str, classes: dict[int, str] | None) -> Value:
    """The value of a file's bytes, or of a text for captions, palettes and documents.

    Raises `BadQuery`, `DecodeError`.
    """
    kind = known_modality(modality)
    if isinstance(content, bytes):
        return decode(kind.name, content, limits, name, classes)
    if kind.content is Content.TEXT:
        return parse_text(content, limits, name)
    if kind.content is Content.PALETTE:
        return parse_palette(content, name)
    if kind.content in _DOCUMENTS:
        return decode(kind.name, content.encode("utf-8", "surrogatepass"), limits, name)
    raise BadQuery(f"{name} is a text, but {kind.name} is {kind.describes}: send a file")


def _filter(where: Any) -> Filter | None:
    """A filter as it was sent, written or as JSON."""
    if where is None:
        return None
    return filter_from_text(where) if isinstance(where, str) else filter_from_json(where)


def _fusion(text: str | None) -> Fusion | None:
    """A form's field. Raises `BadQuery`."""
    if text is None:
        return None
    try:
        return Fusion(text)
    except ValueError:
        raise BadQuery(f"fusion is {' or '.join(Fusion)}, not {text[:20]!r}") from None


def _part_from_json(body: PartBody, limits: Limits, number: int, embedder: Embedder) -> Part:
    contents = {"text": body.text, "data": body.data, "item": body.item}
    found = [member for member, content in contents.items() if content is not None]
    if len(found) != 1:
        raise BadQuery(f"part {number} has {' and '.join(found) or 'none'} of text, data and item; give exactly one")
    if body.item is not None:
        return Part(item=body.item, weight=body.weight)
    if body.modality is None and body.data is not None:
        raise BadQuery(f"part {number} has data but no modality, such as rgb")
    kind = known_modality(body.modality or "caption")
    check_taken(kind.name, embedder)
    name = body.name or f"part {number} ({body.modality or 'caption'})"
    classes = parse_classes(body.classes, name) if body.classes else None
    content = body.text if body.text is not None else sent_data(body.data, kind.content, name)
    return Part(kind.name, value_of(kind.name, content, limits, name, classes), weight=body.weight)


def sent_data(data: str | list[str] | None, content: Content, name: str) -> bytes | str:
    """The bytes behind base64, or the value itself of a caption or palette."""
    if isinstance(data, list):
        data = ",".join(data)
    assert data is not None
    if content in (Content.TEXT, Content.PALETTE):
        return data
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadQuery(f"the data of {name} is not base64") from error


def _part_from_upload(upload: Upload, limits: Limits, classes: dict[int, str] | None, embedder: Embedder) -> Part:
    name, given = weight_of_field(upload.field)
    weight = 1.0 if given is None else given
    if name == "item":
        return Part(item=str(upload.content), weight=weight)
    kind = known_modality(name)
    check_taken(kind.name, embedder)
    value = value_of(kind.name, upload.content, limits, upload.filename or f"the field {name}", classes)
    return Part(kind.name, value, weight=weight)


def weight_of_field(field: str) -> tuple[str, float | None]:
    """`rgb:0.7` is the field `rgb` with the weight 0.7; None where there is none. Raises `BadQuery`."""
    name, colon, suffix = field.partition(":")
    if not colon:
        return name, None
    if not _WEIGHT.fullmatch(suffix):
        raise BadQuery(f"the weight {suffix[:20]!r} of the field {name!r} is not a number, as in {name}:0.7")
    if not math.isfinite(float(suffix)):
        raise BadQuery(f"the weight of the field {name!r} is too large")
    return name, float(suffix)


def _check_count(count: int, limits: Limits) -> None:
    if count > limits.parts:
        raise LimitExceeded(f"a query has at most {limits.parts} parts; this one has {count}")


def _hits(text: str, limits: Limits) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or not 1 <= int(text) <= limits.hits:
        raise BadQuery(f"k is a whole number from 1 to {limits.hits:,}, not {text[:20]!r}")
    return int(text)
