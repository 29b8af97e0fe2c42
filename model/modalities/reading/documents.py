"""Values that are text or JSON, read and written: words, palettes, boxes, metadata, human poses and instances.

docs/predicting.md shows each. Documents are validated strictly: unknown members are refused like missing ones.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from anyseek.model.config import Config, sentence
from anyseek.model.json_reader import JsonLimits, JsonTooDeep, JsonTooLarge, check_shape, refuse_constant
from anyseek.model.modalities.class_tables import COLOUR
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.formats.bins import MAX_BIN
from anyseek.model.modalities.formats.boxes import Box, LabelledBox
from anyseek.model.modalities.formats.color_palette import MAX_COLOURS
from anyseek.model.modalities.formats.human_poses import HumanPose
from anyseek.model.modalities.formats.metadata import Metadata
from anyseek.model.modalities.formats.sam_instances import MaskInstance, QueryPoint
from anyseek.model.modalities.formats.spans import FormatInvalid
from anyseek.model.modalities.reading.encoded import EncodedFile, FileLimits
from anyseek.model.modalities.reading.errors import (
    BadDocument,
    BadMap,
    BadPalette,
    BadText,
    EmptyInput,
    TextTooLong,
)

MAX_ENTRIES = 1_000  # boxes, people, points, or masks of one point
# A thousand points of a thousand masks have at most as many values as fit; no real document comes near.
_DOCUMENT = JsonLimits(size=64 * 1024 * 1024, values=1_000_000)

_Number = Annotated[float, Field(ge=-1e300, le=1e300)]
_Share = Annotated[float, Field(ge=0, le=1)]
_Code = Annotated[int, Field(ge=0, le=1_023)]
_Pixel = Annotated[int, Field(ge=0, le=MAX_BIN)]
_Corners = Annotated[list[_Share], Field(min_length=4, max_length=4)]
_Entry = TypeVar("_Entry")
_Entries = Annotated[list[_Entry], Field(max_length=MAX_ENTRIES)]


class _BoxEntry(Config, strict=True):
    """`score` is 1 by default."""

    box: _Corners
    label: Annotated[str, Field(pattern=r"^[^\x00]*$")]
    score: _Share = 1.0


class _PersonEntry(Config, strict=True):
    box: _Corners
    pose: Annotated[list[_Code], Field(min_length=8, max_length=8)]
    rotation: Annotated[list[_Number], Field(min_length=9, max_length=9)]
    camera: Annotated[list[_Number], Field(min_length=3, max_length=3)]
    shape: Annotated[list[_Number], Field(min_length=10, max_length=10)]


class _Place(Config, strict=True):
    x: _Pixel
    y: _Pixel


class _MaskEntry(Config, strict=True):
    box: Annotated[list[Annotated[float, Field(ge=0, le=MAX_BIN)]], Field(min_length=4, max_length=4)]
    tokens: Annotated[list[_Code], Field(min_length=16, max_length=16)]


class _PointEntry(Config, strict=True):
    point: _Place
    masks: _Entries[_MaskEntry]


_BOXES = TypeAdapter(_Entries[_BoxEntry])
_PEOPLE = TypeAdapter(_Entries[_PersonEntry])
_POINTS = TypeAdapter(_Entries[_PointEntry])
_METADATA = TypeAdapter(dict[str, Annotated[_Number, Field(strict=True)]])


def decode_text(file: EncodedFile) -> str:
    """Words in UTF-8 without spaces at the ends. Raises `DecodeError`."""
    return parse_text(utf8(file), file.limits, file.name)


def decode_palette(file: EncodedFile) -> ByteArray:
    """One to seven colours, see `parse_palette`: uint8 (n, 3). Raises `DecodeError`."""
    return parse_palette(utf8(file), file.name)


def decode_boxes(file: EncodedFile) -> tuple[LabelledBox, ...]:
    """`[{"box": [xmin, ymin, xmax, ymax], "label": "dog", "score": 0.9}]`, corners and score in [0, 1], the score 1
    by default. Raises `DecodeError`.
    """
    entries = _validate(_BOXES, parse_json(utf8(file), file.name), file.name)
    try:
        return tuple(LabelledBox(Box(*entry.box), entry.label, entry.score) for entry in entries)
    except FormatInvalid as error:
        raise BadDocument(f"{file.name}: {error}") from error


def decode_metadata(file: EncodedFile) -> Metadata:
    """`{"original_width": 640, "brightness": 120.5}`, fields as in `formats.metadata`. Raises `DecodeError`."""
    values = _validate(_METADATA, parse_json(utf8(file), file.name), file.name)
    try:
        return Metadata(values)
    except FormatInvalid as error:
        raise BadDocument(f"{file.name}: {error}") from error


def decode_poses(file: EncodedFile) -> tuple[HumanPose, ...]:
    """`[{"box": [...], "pose": [8 codes], "rotation": [9], "camera": [3], "shape": [10]}]`, the box in [0, 1]. Raises
    `DecodeError`.
    """
    members = parse_json(utf8(file), file.name)
    listed = members.get("annotations", [members]) if isinstance(members, dict) else members
    has_keypoints = isinstance(listed, list) and any(
        isinstance(entry, dict) and "keypoints" in entry for entry in listed
    )
    if has_keypoints or (isinstance(members, dict) and "people" in members):
        raise BadDocument(
            f"{file.name} holds key points as COCO or OpenPose write them, which cannot be converted to pose codes; "
            "human_pose is what a model predicts (box, pose, rotation, camera and shape), so send the picture"
        )
    return tuple(
        HumanPose(Box(*it.box), tuple(it.pose), tuple(it.rotation), tuple(it.camera), tuple(it.shape))
        for it in _validate(_PEOPLE, members, file.name)
    )


def decode_instances(file: EncodedFile) -> tuple[QueryPoint, ...]:
    """`[{"point": {"x": 60, "y": 40}, "masks": [{"box": [...], "tokens": [16 codes]}]}]`, all in pixels of the 224 x
    224 picture. Raises `DecodeError`.
    """
    return tuple(
        QueryPoint(
            entry.point.y,
            entry.point.x,
            tuple(MaskInstance(Box(*mask.box), tuple(mask.tokens)) for mask in entry.masks),
        )
        for entry in _validate(_POINTS, parse_json(utf8(file), file.name), file.name)
    )


def _validate(kind: TypeAdapter[_Entry], members: Any, name: str) -> _Entry:
    """The validated members. Raises `BadDocument` naming the first invalid one."""
    try:
        return kind.validate_python(members)
    except ValidationError as error:
        raise BadDocument(f"{name}: {sentence(error).removeprefix('the config ')}") from error


def parse_text(text: str, limits: FileLimits, name: str) -> str:
    """A caption or a query's words without spaces at the ends. Raises `EmptyInput`, `TextTooLong`, `BadText`."""
    words = text.strip()
    if not words:
        raise EmptyInput(f"{name} is empty; a text needs at least one character")
    if len(words) > limits.text_characters:
        most = limits.text_characters
        raise TextTooLong(f"{name} has {len(words):,} characters; at most {most:,} are allowed")
    if re.search("[\0\ud800-\udfff]", words):
        raise BadText(f"{name} holds a NUL or an unpaired surrogate, which are not allowed in text")
    return words


def parse_palette(text: str, name: str) -> ByteArray:
    """`#rrggbb,#rrggbb` or the same colours as a JSON list, one to seven: uint8 (n, 3). Raises `BadPalette`."""
    if text.lstrip().startswith("["):
        try:
            return palette_from_json(parse_json(text, name), name)
        except (BadDocument, EmptyInput) as error:
            raise BadPalette(str(error)) from error
    return palette_from_json([colour.strip() for colour in text.split(",")], name)


def palette_from_json(colours: Any, name: str) -> ByteArray:
    """A list of one to seven `#rrggbb`: uint8 (n, 3). Raises `BadPalette`."""
    if not isinstance(colours, list) or not colours or not all(isinstance(colour, str) for colour in colours):
        raise BadPalette(f'{name} is not a list of colours; write a palette in JSON as ["#rrggbb", "#rrggbb"]')
    if bad := [colour for colour in colours if not re.fullmatch("#[0-9a-fA-F]{6}", colour)]:
        raise BadPalette(f"{name} has the colour {bad[0][:40]!r}; write a palette as #rrggbb,#rrggbb")
    if len(colours) > MAX_COLOURS:
        raise BadPalette(f"{name} has {len(colours)} colours; at most {MAX_COLOURS} are allowed")
    return np.array([list(bytes.fromhex(colour[1:])) for colour in colours], np.uint8)


def parse_legend(names: Mapping[str, str], name: str) -> dict[int, str]:
    """Class names of a query's map by id or by colour, `{"0": "sky"}` or `{"#87ceeb": "sky"}`. Raises `BadMap`.

    A colour is the id `COLOUR` + 0xrrggbb.
    """
    coloured = {key: label for key, label in names.items() if re.fullmatch("#[0-9a-fA-F]{6}", key)}
    numbered = parse_classes({key: label for key, label in names.items() if key not in coloured}, name)
    if not all(isinstance(label, str) for label in coloured.values()):
        raise BadMap(f'the classes of {name} must be written {{"#87ceeb": "sky"}}: colours to names')
    return numbered | {COLOUR + int(key[1:], 16): label for key, label in coloured.items()}


def parse_classes(names: Mapping[str, str], name: str) -> dict[int, str]:
    """The JSON form `{"0": "sky"}` of a region map's class names, ids as numbers. Raises `BadMap`."""
    if not all(re.fullmatch("[0-9]{1,9}", number) and isinstance(label, str) for number, label in names.items()):
        raise BadMap(f'the classes of {name} must be written {{"0": "sky", "1": "tree"}}: ids to names')
    return {int(number): label for number, label in names.items()}


def utf8(file: EncodedFile) -> str:
    """A file's text. Raises `BadText`."""
    try:
        return file.data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadText(f"{file.name} is not UTF-8 text (byte {error.start})") from error


def parse_json(text: str, name: str) -> Any:
    """JSON without NaN and Infinity. Raises `EmptyInput`, `BadDocument`."""
    if not text.strip():
        raise EmptyInput(f"{name} is empty; it must be a JSON document")
    try:
        check_shape(text.encode("utf-8", "surrogatepass"), _DOCUMENT, name)
        return json.loads(text, parse_constant=refuse_constant, object_pairs_hook=_unique_members)
    except (JsonTooDeep, JsonTooLarge) as error:
        raise BadDocument(str(error)) from error
    except ValueError as error:
        raise BadDocument(f"{name} is not JSON: {_short(str(error))}") from error


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("an object has the same member twice")
    return members


def _short(text: str) -> str:
    return ascii(text[:40])


def palette_to_json(palette: ByteArray) -> list[str]:
    """Each colour as #rrggbb."""
    return [f"#{bytes(colour).hex()}" for colour in palette]


def boxes_to_json(boxes: Sequence[LabelledBox]) -> list[dict[str, Any]]:
    """Each box with corners in [0, 1], its label and its score."""
    return [{"box": list(item.box.corners), "label": item.label, "score": item.score} for item in boxes]


def metadata_to_json(metadata: Metadata) -> dict[str, float]:
    """Each field with its number."""
    return dict(metadata.values)


def poses_to_json(people: Sequence[HumanPose]) -> list[dict[str, Any]]:
    """Each person's box in [0, 1], pose codes, rotation of the whole body, camera and shape."""
    return [
        {
            "box": list(person.box.corners),
            "pose": list(person.pose),
            "rotation": list(person.rotation),
            "camera": list(person.camera),
            "shape": list(person.shape),
        }
        for person in people
    ]


def instances_to_json(points: Sequence[QueryPoint]) -> list[dict[str, Any]]:
    """Each query point in pixels with its masks: a box in pixels and 16 codes."""
    return [
        {
            "point": {"x": point.x, "y": point.y},
            "masks": [{"box": list(mask.box.corners), "tokens": list(mask.tokens)} for mask in point.masks],
        }
        for point in points
    ]
