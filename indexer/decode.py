"""One modality's bytes to its value, the same way for items and for queries.

`decode` is all that others need; what each modality's value is says `model.modality.Content`.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from indexer import structured
from indexer.arrays import FEATURE_AXES, VECTOR_AXES, decode_array, decode_text_states
from indexer.errors import (
    BadMap,
    BadPalette,
    BadText,
    DecodeError,
    EmptyInput,
    TextTooLong,
    TooManyBytes,
    UnknownModality,
)
from indexer.files import read_file
from indexer.maps import decode_depth, decode_regions
from indexer.pictures import ByteArray, decode_drawing, decode_normal, decode_picture, thumbnail
from model.embedder import Value
from model.modality import MODALITIES, Content, Modality, resolve
from search.settings import Limits

__all__ = ["decode", "decode_file", "known_modality", "parse_classes", "parse_palette", "parse_text", "thumbnail"]

MOST_COLOURS = 7

_Decoder = Callable[[bytes, Limits, str], Value]


def decode(modality: str, data: bytes, limits: Limits, name: str, classes: Mapping[int, str] | None = None) -> Value:
    """The value that `data` stands for as `modality` (a name or an alias); `name` is what errors call the input.

    Pictures and maps come with sides of at most `indexer.pictures.WORKING_SIDE`; `classes` names the ids of a
    region map. Raises a `DecodeError`, and nothing else whatever the bytes.
    """
    kind = known_modality(modality)
    if len(data) > limits.bytes_per_file:
        raise TooManyBytes(f"{name} has {len(data):,} bytes; at most {limits.bytes_per_file:,} are allowed")
    if kind.content is Content.REGIONS:
        return decode_regions(data, limits, name, classes or {})
    return _DECODERS[kind.content](data, limits, name)


def decode_file(modality: str, path: Path, limits: Limits, classes: Mapping[int, str] | None = None) -> Value:
    """Read and decode a file. Raises `InputError` if it cannot be had, `DecodeError` if it is not `modality`."""
    known_modality(modality)
    return decode(modality, read_file(path, limits, str(path)), limits, str(path), classes)


def known_modality(name: str) -> Modality:
    """The modality of that name or alias. Raises `UnknownModality`, naming the known ones."""
    try:
        return resolve(name)
    except KeyError as error:
        raise UnknownModality(f"{name!r} is not a modality; known ones are {', '.join(MODALITIES)}") from error


def parse_text(text: str, limits: Limits, name: str) -> str:
    """A caption or a query's words without spaces at the ends. Raises `EmptyInput`, `TextTooLong`, `BadText`."""
    words = text.strip()
    if not words:
        raise EmptyInput(f"{name} is empty; a text of at least one character was expected")
    if len(words) > limits.text_characters:
        most = limits.text_characters
        raise TextTooLong(f"{name} has {len(words):,} characters; at most {most:,} are allowed")
    if re.search("[\0\ud800-\udfff]", words):
        raise BadText(f"{name} holds a NUL or half of a surrogate pair, which no text can have")
    return words


def parse_palette(text: str, name: str) -> ByteArray:
    """`#rrggbb,#rrggbb` or the same colours as a JSON list, one to seven: uint8 (n, 3). Raises `BadPalette`."""
    colours = _listed(text, name) if text.lstrip().startswith("[") else [one.strip() for one in text.split(",")]
    bad = [colour for colour in colours if not re.fullmatch("#[0-9a-fA-F]{6}", colour)]
    if bad:
        raise BadPalette(f"{name} has {bad[0][:40]!r} for a colour; a palette is written #rrggbb,#rrggbb")
    if len(colours) > MOST_COLOURS:
        raise BadPalette(f"{name} has {len(colours)} colours; at most {MOST_COLOURS} are allowed")
    return np.array([list(bytes.fromhex(colour[1:])) for colour in colours], np.uint8)


def _listed(text: str, name: str) -> list[str]:
    try:
        colours = structured.parse_json(text, name)
    except DecodeError as error:
        raise BadPalette(str(error)) from error
    if not colours or not all(isinstance(colour, str) for colour in colours):
        raise BadPalette(f'{name} is no list of colours; a palette in JSON is written ["#rrggbb", "#rrggbb"]')
    return list(colours)


def parse_classes(names: Mapping[str, str], name: str) -> dict[int, str]:
    """The JSON form `{"0": "sky"}` of a region map's class names, ids as numbers. Raises `BadMap`."""
    if not all(re.fullmatch("[0-9]{1,9}", number) and isinstance(label, str) for number, label in names.items()):
        raise BadMap(f'the classes of {name} must be written {{"0": "sky", "1": "tree"}}: ids to names')
    return {int(number): label for number, label in names.items()}


def _utf8(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadText(f"{name} is not UTF-8 text (byte {error.start})") from error


def _document(parse: Callable[[str, str], Value]) -> _Decoder:
    return lambda data, limits, name: parse(_utf8(data, name), name)


def _array(axes: tuple[str, ...]) -> _Decoder:
    return lambda data, limits, name: decode_array(data, limits, name, axes)


_DECODERS: dict[Content, _Decoder] = {
    Content.PICTURE: decode_picture,
    Content.DRAWING: decode_drawing,
    Content.DEPTH: decode_depth,
    Content.NORMAL: decode_normal,
    Content.TEXT: lambda data, limits, name: parse_text(_utf8(data, name), limits, name),
    Content.PALETTE: _document(parse_palette),
    Content.BOXES: _document(structured.decode_boxes),
    Content.METADATA: _document(structured.decode_metadata),
    Content.POSES: _document(structured.decode_poses),
    Content.INSTANCES: _document(structured.decode_instances),
    Content.FEATURES: _array(FEATURE_AXES),
    Content.VECTOR: _array(VECTOR_AXES),
    Content.TEXT_STATES: decode_text_states,
}
