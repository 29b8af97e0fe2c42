"""Values that are written as text or JSON: words, palettes, boxes, metadata, human poses and instances.

docs/predicting.md shows each. Nothing in a document is guessed, cut or ignored: an unknown member is refused like a
missing one.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from anyseek.model.json_reader import JsonLimits, JsonTooDeep, JsonTooLarge, check_shape, refuse_constant
from anyseek.model.modalities.class_tables import COLOUR
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.formats.bins import LARGEST_BIN
from anyseek.model.modalities.formats.boxes import Box, LabelledBox
from anyseek.model.modalities.formats.color_palette import MOST_COLOURS
from anyseek.model.modalities.formats.human_poses import HumanPose
from anyseek.model.modalities.formats.metadata import FIELDS, Metadata
from anyseek.model.modalities.formats.sam_instances import MaskInstance, QueryPoint
from anyseek.model.modalities.formats.spans import FormatInvalid
from anyseek.model.modalities.reading.encoded import Encoded, FileLimits
from anyseek.model.modalities.reading.errors import (
    BadDocument,
    BadMap,
    BadPalette,
    BadText,
    EmptyInput,
    TextTooLong,
)

T = TypeVar("T")

MOST_ENTRIES = 1_000  # boxes, people, points, or masks of one point
_LARGEST_CODE = 1_023
# A thousand points of a thousand masks have at most as many values as fit; no real document comes near.
_DOCUMENT = JsonLimits(size=64 * 1024 * 1024, values=1_000_000)
_LARGEST_NUMBER = 1e300
_CORNERS = 4
# The names of a person's groups of numbers, and the count of each.
_POSE_NUMBERS = {"rotation": 9, "camera": 3, "shape": 10}
_POSE_CODES, _MASK_CODES = 8, 16


def decode_text(file: Encoded) -> str:
    """Words in UTF-8 without spaces at the ends. Raises `DecodeError`."""
    return parse_text(utf8(file), file.limits, file.name)


def decode_palette(file: Encoded) -> ByteArray:
    """One to seven colours, see `parse_palette`: uint8 (n, 3). Raises `DecodeError`."""
    return parse_palette(utf8(file), file.name)


def decode_boxes(file: Encoded) -> tuple[LabelledBox, ...]:
    """`[{"box": [xmin, ymin, xmax, ymax], "label": "dog", "score": 0.9}]`, corners and score in [0, 1], the score 1
    where it is not given. Raises `DecodeError`.
    """
    return _list(parse_json(utf8(file), file.name), file.name, _box)


def decode_metadata(file: Encoded) -> Metadata:
    """`{"original_width": 640, "brightness": 120.5}`, fields as in `formats.metadata`. Raises `DecodeError`."""
    name, members = file.name, parse_json(utf8(file), file.name)
    if not isinstance(members, dict):
        raise BadDocument(f"{name} is {_kind(members)}; metadata is an object of numbers by field name")
    if unknown := [field for field in members if field not in FIELDS]:
        raise BadDocument(
            f"{name} has {_short(unknown[0])}, which is not a field of metadata; the fields are {', '.join(FIELDS)}"
        )
    return Metadata({field: _number(number, f"{name}: {field}") for field, number in members.items()})


def decode_poses(file: Encoded) -> tuple[HumanPose, ...]:
    """`[{"box": [...], "pose": [8 codes], "rotation": [9], "camera": [3], "shape": [10]}]`, the box in [0, 1]. Raises
    `DecodeError`.
    """
    members = parse_json(utf8(file), file.name)
    listed = members.get("annotations", [members]) if isinstance(members, dict) else members
    of_coco = isinstance(listed, list) and any(isinstance(entry, dict) and "keypoints" in entry for entry in listed)
    if of_coco or (isinstance(members, dict) and "people" in members):
        raise BadDocument(
            f"{file.name} holds key points, as of COCO or OpenPose, of which no pose codes can be made; human_pose is "
            "what a model predicts of a picture (box, pose, rotation, camera and shape), so send the picture"
        )
    return _list(members, file.name, _person)


def decode_instances(file: Encoded) -> tuple[QueryPoint, ...]:
    """`[{"point": {"x": 60, "y": 40}, "masks": [{"box": [...], "tokens": [16 codes]}]}]`, all in pixels of the 224 x
    224 picture. Raises `DecodeError`.
    """
    return _list(parse_json(utf8(file), file.name), file.name, _point)


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
            return palette_of_members(parse_json(text, name), name)
        except (BadDocument, EmptyInput) as error:
            raise BadPalette(str(error)) from error
    return palette_of_members([colour.strip() for colour in text.split(",")], name)


def palette_of_members(colours: Any, name: str) -> ByteArray:
    """A list of one to seven `#rrggbb`: uint8 (n, 3). Raises `BadPalette`."""
    if not isinstance(colours, list) or not colours or not all(isinstance(colour, str) for colour in colours):
        raise BadPalette(f'{name} is not a list of colours; write a palette in JSON as ["#rrggbb", "#rrggbb"]')
    if bad := [colour for colour in colours if not re.fullmatch("#[0-9a-fA-F]{6}", colour)]:
        raise BadPalette(f"{name} has the colour {bad[0][:40]!r}; write a palette as #rrggbb,#rrggbb")
    if len(colours) > MOST_COLOURS:
        raise BadPalette(f"{name} has {len(colours)} colours; at most {MOST_COLOURS} are allowed")
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


def utf8(file: Encoded) -> str:
    """A file's text. Raises `BadText`."""
    try:
        return file.data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadText(f"{file.name} is not UTF-8 text (byte {error.start})") from error


def parse_json(text: str, name: str) -> Any:
    """JSON without the numbers that only some programs write. Raises `EmptyInput`, `BadDocument`."""
    if not text.strip():
        raise EmptyInput(f"{name} is empty; it must be a JSON document")
    try:
        check_shape(text.encode("utf-8", "surrogatepass"), _DOCUMENT, name)
        return json.loads(text, parse_constant=refuse_constant, object_pairs_hook=_members)
    except (JsonTooDeep, JsonTooLarge) as error:
        raise BadDocument(str(error)) from error
    except ValueError as error:
        raise BadDocument(f"{name} is not JSON: {_short(str(error))}") from error


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("an object has the same member twice")
    return members


def _list(members: Any, place: str, read: Callable[[Any, str], T]) -> tuple[T, ...]:
    if not isinstance(members, list):
        raise BadDocument(f"{place} is {_kind(members)}; it must be a list")
    if len(members) > MOST_ENTRIES:
        raise BadDocument(f"{place} has {len(members):,} entries; at most {MOST_ENTRIES:,} are allowed")
    return tuple(read(member, f"{place}: [{number}]") for number, member in enumerate(members))


def _box(members: Any, place: str) -> LabelledBox:
    found = _object(members, place, {"box", "label"}, "score")
    box = Box(*_numbers(found["box"], _CORNERS, f"{place}.box", 0, 1))
    score = _number(found.get("score", 1.0), f"{place}.score", 0, 1)
    label = found["label"]
    if not isinstance(label, str) or re.search("[\0\ud800-\udfff]", label):
        raise BadDocument(f"{place}.label is {_kind(label)}; it must be the name of a class")
    try:
        return LabelledBox(box, label, score)
    except FormatInvalid as error:
        raise BadDocument(f"{place}.label: {error}") from error


def _person(members: Any, place: str) -> HumanPose:
    found = _object(members, place, {"box", "pose", *_POSE_NUMBERS})
    numbers = {group: _numbers(found[group], count, f"{place}.{group}") for group, count in _POSE_NUMBERS.items()}
    box = Box(*_numbers(found["box"], _CORNERS, f"{place}.box", 0, 1))
    return HumanPose(box, _codes(found["pose"], _POSE_CODES, f"{place}.pose"), **numbers)


def _point(members: Any, place: str) -> QueryPoint:
    found = _object(members, place, {"point", "masks"})
    point = _object(found["point"], f"{place}.point", {"x", "y"})
    x, y = (_whole(point[axis], f"{place}.point.{axis}", LARGEST_BIN) for axis in ("x", "y"))
    return QueryPoint(y, x, _list(found["masks"], f"{place}.masks", _mask))


def _mask(members: Any, place: str) -> MaskInstance:
    found = _object(members, place, {"box", "tokens"})
    box = Box(*_numbers(found["box"], _CORNERS, f"{place}.box", 0, LARGEST_BIN))
    return MaskInstance(box, _codes(found["tokens"], _MASK_CODES, f"{place}.tokens"))


def _object(members: Any, place: str, wanted: set[str], optional: str | None = None) -> dict[str, Any]:
    if not isinstance(members, dict):
        raise BadDocument(f"{place} is {_kind(members)}; it must be an object with {', '.join(sorted(wanted))}")
    if missing := sorted(wanted - members.keys()):
        raise BadDocument(f"{place} has no {missing[0]}; it needs {', '.join(sorted(wanted))}")
    if unknown := sorted(members.keys() - wanted - {optional}):
        raise BadDocument(f"{place} has an unknown member {_short(unknown[0])}")
    return members


def _numbers(values: Any, count: int, place: str, low: float = -math.inf, high: float = math.inf) -> tuple[float, ...]:
    _check_count(values, count, place)
    return tuple(_number(value, f"{place}[{number}]", low, high) for number, value in enumerate(values))


def _codes(values: Any, count: int, place: str) -> tuple[int, ...]:
    _check_count(values, count, place)
    return tuple(_whole(value, f"{place}[{number}]", _LARGEST_CODE) for number, value in enumerate(values))


def _check_count(values: Any, count: int, place: str) -> None:
    if not isinstance(values, list) or len(values) != count:
        found = f"{len(values)} entries" if isinstance(values, list) else _kind(values)
        raise BadDocument(f"{place} is {found}; it must be a list of {count} numbers")


def _number(value: Any, place: str, low: float = -math.inf, high: float = math.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadDocument(f"{place} is {_kind(value)}; it must be a number")
    if not low <= value <= high or not abs(value) <= _LARGEST_NUMBER:
        between = f" from {low:g} to {high:g}" if math.isfinite(low) else ""
        raise BadDocument(f"{place} is {_short(str(value))}; it must be a finite number{between}")
    return float(value)


def _whole(value: Any, place: str, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= high:
        raise BadDocument(f"{place} is {_short(str(value))}; it must be a whole number from 0 to {high}")
    return value


def _kind(value: Any) -> str:
    """What a JSON value is, in words."""
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def _short(text: str) -> str:
    return ascii(text[:40])
