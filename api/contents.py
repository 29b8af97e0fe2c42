"""Decoding of contents from JSON, forms and Python calls, and of the parts of queries."""

import base64
import binascii
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError

from anyseek.api.errors import describe
from anyseek.api.http.did_you_mean import adapter, add_suggestions
from anyseek.api.predictions.wire import Input
from anyseek.model.json_reader import check_unicode, read_json
from anyseek.model.modalities.reading.decode import decode, interpret, interpret_masked, known_modality
from anyseek.model.modalities.reading.documents import parse_classes, parse_legend, parse_palette, parse_text
from anyseek.model.modalities.reading.encoded import DecodedFile, read_file
from anyseek.model.modalities.registry import Content, Modality
from anyseek.model.seam import Embedder, Value
from anyseek.search.assets.pictures import PICTURE, PictureOf
from anyseek.search.errors import BadQuery, LimitExceeded
from anyseek.search.filters.from_text import filter_of
from anyseek.search.query.planning import check_taken
from anyseek.search.query.query import WORDS, Part, Query
from anyseek.search.settings import Limits

Q = TypeVar("Q", bound=Query)
QUERY: TypeAdapter[Query] = adapter(Query)

Region = Sequence[float] | bytes
"""A region of a picture: a box of left, top, right and bottom as fractions, or the bytes of a mask file."""

# Contents that are JSON documents.
_DOCUMENTS = (Content.BOXES, Content.METADATA, Content.POSES, Content.INSTANCES)
_WEIGHT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")


@dataclass(frozen=True)
class Upload:
    """One field of a multipart form: a file's bytes with its name, or a text."""

    field: str
    content: bytes | str
    filename: str | None = None


ContentSource = Part | Input
"""A part of a query or an input of a prediction, with its text, file or data not yet read."""


def content_value(source: ContentSource, kind: Modality, label: str, limits: Limits) -> Value:
    """The decoded value of a source; `label` names it in errors if it has no name.

    Raises `BadQuery`, `InputError`, `DecodeError`.
    """
    name = source.name or (str(source.file) if source.file else label)
    classes = parse_classes(source.classes, name) if source.classes else None
    return value_of(kind.name, _content(source, kind, name, limits), limits, name, classes)


def content_reading(
    source: ContentSource, kind: Modality, label: str, limits: Limits, form: str | None, region: Region | None
) -> DecodedFile:
    """The decoded value of a part, with how its file was interpreted; the map convention is guessed if `form` is
    None, and the whole picture is used if `region` is None.
    """
    name = source.name or (str(source.file) if source.file else label)
    classes = parse_legend(source.classes, name) if source.classes else None
    return reading_of(kind.name, _content(source, kind, name, limits), limits, name, classes, form, region)


def _content(source: ContentSource, kind: Modality, name: str, limits: Limits) -> bytes | str:
    if source.text is not None:
        return source.text
    if source.file is not None:
        return read_file(Path(source.file), limits, name)
    assert source.data is not None
    return source.data if isinstance(source.data, bytes) else decode_data(source.data, kind.content, name)


def decode_mask(mask: bytes | str, name: str) -> bytes:
    """The bytes of a mask, base64 in JSON. Raises `BadQuery`."""
    return mask if isinstance(mask, bytes) else _from_base64(mask, f"the mask of {name}")


def decode_data(data: str | Sequence[str], content: Content, name: str) -> bytes | str:
    """The bytes of base64 data, or the text of a caption or palette. Raises `BadQuery`."""
    text = data if isinstance(data, str) else ",".join(data)
    if content in (Content.TEXT, Content.PALETTE):
        return text
    return _from_base64(text, f"the data of {name}")


def _from_base64(text: str, label: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadQuery(f"{label} is not base64") from error


def check_map_fields(classes: Mapping[Any, str] | None, forms: Mapping[str, str], uploads: Sequence[Upload]) -> None:
    """Check that the form has the files that its fields classes and forms are about; `uploads` are named by modality.

    Raises `BadQuery`, `UnknownModality`.
    """
    named = [split_weight(upload.field)[0] for upload in uploads if isinstance(upload.content, bytes)]
    kinds = {kind.name: kind for kind in map(known_modality, named)}
    if classes is not None and not any(kind.content is Content.REGIONS for kind in kinds.values()):
        raise BadQuery("the form has classes, but no file of a segmentation (semseg), whose classes they name")
    missing = [name for name in forms if name not in kinds]
    if missing:
        raise BadQuery(f"the field forms names {missing[0]}, but the form has no file of it")


def reading_of(
    modality: str,
    content: bytes | str,
    limits: Limits,
    name: str,
    classes: dict[int, str] | None,
    form: str | None,
    region: Region | None = None,
) -> DecodedFile:
    """The value of a file's bytes or of a text, with how a file was interpreted. Raises `BadQuery`, `DecodeError`."""
    if isinstance(content, bytes) and isinstance(region, bytes):
        return interpret_masked(modality, content, limits, name, region, form)
    if isinstance(content, bytes):
        return interpret(modality, content, limits, name, classes, form, region)
    if form is not None or region is not None:
        what = "form" if region is None else "mask" if isinstance(region, bytes) else "box"
        raise BadQuery(f"{name} is a text and has no {what}; only a file has one")
    return DecodedFile(value_of(modality, content, limits, name, classes))


def value_of(modality: str, content: bytes | str, limits: Limits, name: str, classes: dict[int, str] | None) -> Value:
    """The value of a file's bytes, or of the text of a caption, palette or document.

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


def parse_json_field(text: str, field: str, limits: Limits) -> Any:
    """The value of a form's field that is JSON.

    Raises `NotJson`, `JsonTooDeep`, `JsonTooLarge`, and `BadInput` for unpaired surrogates.
    """
    name = f"the field {field}"
    value = read_json(text.encode("utf-8", "surrogatepass"), limits.json, name)
    check_unicode(value, name)
    return value


def classes_from_json(text: str, limits: Limits) -> dict[int, str]:
    """The class names of a segmentation map from a form's field. Raises as `parse_json_field` does, and `BadMap`."""
    return parse_classes(parse_class_names(text, limits), "the field classes")


def forms_from_json(text: str, limits: Limits) -> dict[str, str]:
    """The conventions of maps by modality, from a form's field. Raises `BadQuery`, `UnknownModality`."""
    members = parse_json_field(text, "forms", limits)
    if not isinstance(members, Mapping) or not all(isinstance(form, str) for form in members.values()):
        raise BadQuery('the field forms must be an object such as {"depth": "near-bright"}')
    return {known_modality(name).name: form for name, form in members.items()}


def parse_class_names(text: str, limits: Limits) -> dict[str, str]:
    """The class names of a form's field, unvalidated. Raises as `parse_json_field` does, and `BadQuery`."""
    names = parse_json_field(text, "classes", limits)
    if not isinstance(names, dict):
        raise BadQuery('the field classes must be an object such as {"0": "sky"}')
    return names


def split_weight(field: str) -> tuple[str, float | None]:
    """Split `rgb:0.7` into the field `rgb` and the weight 0.7, or None without a weight. Raises `BadQuery`."""
    name, colon, suffix = field.partition(":")
    if not colon:
        return name, None
    if not _WEIGHT.fullmatch(suffix):
        raise BadQuery(f"the weight {suffix[:20]!r} of the field {name!r} is not a number, as in {name}:0.7")
    if not math.isfinite(float(suffix)):
        raise BadQuery(f"the weight of the field {name!r} is too large")
    return name, float(suffix)


def attach_files(query: Q, files: Mapping[str, Upload]) -> Q:
    """The query with the contents of the files that its parts name. Raises `BadQuery` if a file was not sent."""
    if all(part.file is None for part in query.parts):
        return query
    return replace(query, parts=[_attach_file(part, number, files) for number, part in enumerate(query.parts, 1)])


def _attach_file(part: Part, number: int, files: Mapping[str, Upload]) -> Part:
    if part.file is None:
        return part
    _check_content(part, number)
    upload = files.get(str(part.file))
    if upload is None:
        raise BadQuery(f"part {number} names the file {str(part.file)[:40]!r}, but the form has no such field")
    data = upload.content.encode() if isinstance(upload.content, str) else upload.content
    return replace(part, file=None, data=data, name=part.name or upload.filename)


def read_query(members: Any, limits: Limits, embedder: Embedder, picture_of: PictureOf) -> Query:
    """Validate and decode a query given as JSON members. Raises `BadQuery`, and as `decode_query` does."""
    check_unicode(members, "the query")
    try:
        query = QUERY.validate_python(members)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)
        raise BadQuery(describe(add_suggestions(wrong, QUERY))) from error
    return decode_query(attach_files(query, {}), limits, embedder, picture_of)


def decode_query(query: Query, limits: Limits, embedder: Embedder, picture_of: PictureOf) -> Query:
    """The query with decoded parts and parsed filter; modalities that `embedder` does not take are refused before
    their contents are decoded.

    `picture_of` reads the pictures of parts that are a region of an item. Raises `BadQuery`, `BadFilter`,
    `LimitExceeded`, `InputError`, `DecodeError`, and what `picture_of` raises.
    """
    if len(query.parts) > limits.parts:
        raise LimitExceeded(f"a query has at most {limits.parts} parts; this one has {len(query.parts)}")
    parts = [_decode_part(part, limits, number, embedder, picture_of) for number, part in enumerate(query.parts, 1)]
    return replace(query, parts=tuple(parts), where=filter_of(query.where))


def _decode_part(part: Part, limits: Limits, number: int, embedder: Embedder, picture_of: PictureOf) -> Part:
    _check_content(part, number)
    _check_members(part, number)
    label = part.name or f"part {number}"
    region = part.box if part.mask is None else decode_mask(part.mask, label)
    if part.item is not None and region is None:
        return Part(item=part.item, weight=part.weight, collection=part.collection)
    if part.item is not None:
        check_taken(PICTURE, embedder)
        data = picture_of(part.item, part.collection)
        reading = reading_of(PICTURE, data, limits, f"the picture of {part.item!r}", None, None, region)
        return Part(PICTURE, reading.value, weight=part.weight, understood=reading.interpretation)
    if part.vector is not None:
        modality = None if part.modality is None else known_modality(part.modality).name
        with np.errstate(over="ignore"):  # the engine refuses infinite vectors
            return Part(modality, vector=np.asarray(part.vector, np.float32), weight=part.weight)
    if part.modality == WORDS:
        if part.text is None:
            raise BadQuery(f"{label} has the modality words, but no text")
        return Part(WORDS, parse_text(part.text, limits, label), weight=part.weight)
    if part.modality is None and part.text is None:
        raise BadQuery(f"part {number} has data but no modality; name one, such as rgb")
    kind = known_modality(part.modality or "caption")
    check_taken(kind.name, embedder)
    reading = content_reading(part, kind, f"part {number} ({part.modality or 'caption'})", limits, part.form, region)
    return Part(kind.name, reading.value, weight=part.weight, understood=reading.interpretation)


def _check_content(part: Part, number: int) -> None:
    """Raises `BadQuery` unless a part has exactly one content."""
    contents = {"text": part.text, "file": part.file, "data": part.data, "item": part.item, "vector": part.vector}
    given = [member for member, content in contents.items() if content is not None]
    if len(given) != 1:
        present = " and ".join(given) or "none"
        raise BadQuery(f"part {number} has {present} of text, file, data, item and vector; give exactly one")


def _check_members(part: Part, number: int) -> None:
    """Raises `BadQuery` for a member without effect."""
    is_file = part.data is not None
    if part.box is not None and part.mask is not None:
        raise BadQuery(f"part {number} has a box and a mask; give one or the other")
    for name, region in (("box", part.box), ("mask", part.mask)):
        if region is not None and not is_file and part.item is None:
            raise BadQuery(f"part {number} has a {name}, but neither data nor an item; a {name} is a part of a picture")
    if part.form is not None and (not is_file or part.modality == WORDS):
        raise BadQuery(f"part {number} has a form, but no data; a form is the convention of a file's numbers")
    is_map = is_file and part.modality not in (None, WORDS) and _is_segmentation(part.modality or "")
    if part.classes is not None and not is_map:
        raise BadQuery(f"part {number} has classes, but is no file of a segmentation (semseg), whose classes they name")
    if part.collection is not None and part.item is None:
        raise BadQuery(f"part {number} names a collection, but no item; add the key of one of its items")


def _is_segmentation(modality: str) -> bool:
    return known_modality(modality).content is Content.REGIONS
