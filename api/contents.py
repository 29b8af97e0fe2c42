"""Decodes what was sent for one modality, in JSON, in a form's field or by a Python caller, to its value."""

import base64
import binascii
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from model.json_reader import check_unicode, read_json
from model.modalities.reading.decode import decode, known_modality
from model.modalities.reading.documents import parse_classes, parse_palette, parse_text
from model.modalities.reading.files import read_file
from model.modalities.registry import Content, Modality
from model.seam import Value
from search.errors import BadQuery
from search.settings import Limits

# Contents that are JSON documents.
_DOCUMENTS = (Content.BOXES, Content.METADATA, Content.POSES, Content.INSTANCES)
_WEIGHT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")


@dataclass(frozen=True)
class Upload:
    """One field of a multipart form: a file's bytes with its name, or a text."""

    field: str
    content: bytes | str
    filename: str | None = None


class Sent(Protocol):
    """A part of a query or an input of a prediction, with its text, file or data not yet read."""

    @property
    def text(self) -> str | None: ...
    @property
    def file(self) -> Path | None: ...
    @property
    def data(self) -> bytes | str | Sequence[str] | None: ...
    @property
    def classes(self) -> Mapping[str, str] | None: ...
    @property
    def name(self) -> str | None: ...


def sent_value(sent: Sent, kind: Modality, called: str, limits: Limits) -> Value:
    """The value of what was sent; errors call it `called` if it has no name.

    Raises `BadQuery`, `InputError`, `DecodeError`.
    """
    name = sent.name or (str(sent.file) if sent.file else called)
    classes = parse_classes(sent.classes, name) if sent.classes else None
    return value_of(kind.name, _content(sent, kind, name, limits), limits, name, classes)


def _content(sent: Sent, kind: Modality, name: str, limits: Limits) -> bytes | str:
    if sent.text is not None:
        return sent.text
    if sent.file is not None:
        return read_file(sent.file, limits, name)
    assert sent.data is not None
    return sent.data if isinstance(sent.data, bytes) else sent_data(sent.data, kind.content, name)


def sent_data(data: str | Sequence[str], content: Content, name: str) -> bytes | str:
    """The bytes behind base64, or the value itself of a caption or palette. Raises `BadQuery`."""
    text = data if isinstance(data, str) else ",".join(data)
    if content in (Content.TEXT, Content.PALETTE):
        return text
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadQuery(f"the data of {name} is not base64") from error


def uploaded_value(upload: Upload, kind: Modality, limits: Limits, classes: dict[int, str] | None) -> Value:
    """The value of a field of a form. Raises `BadQuery`, `DecodeError`."""
    name = upload.filename or f"the field {upload.field.partition(':')[0]}"
    return value_of(kind.name, upload.content, limits, name, classes)


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


def json_of_field(text: str, field: str, limits: Limits) -> Any:
    """The value that the JSON in a field of a form is.

    Raises `NotJson`, `JsonTooDeep`, `JsonTooLarge`, and `BadInput` for a text that is not Unicode.
    """
    name = f"the field {field}"
    value = read_json(text.encode("utf-8", "surrogatepass"), limits.json, name)
    check_unicode(value, name)
    return value


def classes_from_json(text: str, limits: Limits) -> dict[int, str]:
    """The class names of a segmentation map from a form's field. Raises as `json_of_field` does, and `BadMap`."""
    names = json_of_field(text, "classes", limits)
    if not isinstance(names, Mapping):
        raise BadQuery('the field classes must be an object such as {"0": "sky"}')
    return parse_classes(names, "the field classes")


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
