"""Values that are JSON documents: boxes, metadata, human poses and instances. docs/predicting.md shows each.

Nothing in a document is guessed, cut or ignored: a member too many is refused like one that is missing.
"""

import json
import math
import re
from collections.abc import Callable
from typing import Any, TypeVar

from indexer.errors import BadDocument, EmptyInput
from model.formats.bins import LARGEST_BIN
from model.formats.boxes import Box, LabelledBox
from model.formats.human_poses import HumanPose
from model.formats.metadata import FIELDS, Metadata
from model.formats.sam_instances import MaskInstance, QueryPoint
from model.formats.spans import FormatInvalid

T = TypeVar("T")

MOST_ENTRIES = 1_000  # boxes, people, points, or masks of one point
_LARGEST_CODE = 1_023
_LARGEST_NUMBER = 1e300
_CORNERS = 4
# What the numbers of a person are called, and how many there are.
_POSE_NUMBERS = {"rotation": 9, "camera": 3, "shape": 10}
_POSE_CODES, _MASK_CODES = 8, 16


def decode_boxes(text: str, name: str) -> tuple[LabelledBox, ...]:
    """`[{"box": [xmin, ymin, xmax, ymax], "label": "dog", "score": 0.9}]`, corners and score in [0, 1], the score 1
    where it is not given. Raises `DecodeError`.
    """
    return _list(parse_json(text, name), name, _box)


def decode_metadata(text: str, name: str) -> Metadata:
    """`{"original_width": 640, "brightness": 120.5}`, fields as in `model.formats.metadata`. Raises `DecodeError`."""
    members = parse_json(text, name)
    if not isinstance(members, dict):
        raise BadDocument(f"{name} is {_kind(members)}; metadata is an object of numbers by field name")
    unknown = [field for field in members if field not in FIELDS]
    if unknown:
        raise BadDocument(
            f"{name} has {_short(unknown[0])}, which is no field of metadata; those are {', '.join(FIELDS)}"
        )
    return Metadata({field: _number(number, f"{name}: {field}") for field, number in members.items()})


def decode_poses(text: str, name: str) -> tuple[HumanPose, ...]:
    """`[{"box": [...], "pose": [8 codes], "rotation": [9], "camera": [3], "shape": [10]}]`, the box in [0, 1]. Raises
    `DecodeError`.
    """
    return _list(parse_json(text, name), name, _person)


def decode_instances(text: str, name: str) -> tuple[QueryPoint, ...]:
    """`[{"point": {"x": 60, "y": 40}, "masks": [{"box": [...], "tokens": [16 codes]}]}]`, all in pixels of the 224 x
    224 picture. Raises `DecodeError`.
    """
    return _list(parse_json(text, name), name, _point)


def parse_json(text: str, name: str) -> Any:
    """JSON without the numbers that only some programs write. Raises `EmptyInput`, `BadDocument`."""
    if not text.strip():
        raise EmptyInput(f"{name} is empty; a JSON document was expected")
    try:
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_members)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise BadDocument(f"{name} is not JSON: {_short(reason)}") from error


def _refuse_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON number")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("an object has a member twice")
    return members


def _list(members: Any, place: str, read: Callable[[Any, str], T]) -> tuple[T, ...]:
    if not isinstance(members, list):
        raise BadDocument(f"{place} is {_kind(members)}; a list was expected")
    if len(members) > MOST_ENTRIES:
        raise BadDocument(f"{place} has {len(members):,} entries; at most {MOST_ENTRIES:,} are allowed")
    return tuple(read(member, f"{place}: [{number}]") for number, member in enumerate(members))


def _box(members: Any, place: str) -> LabelledBox:
    found = _object(members, place, {"box", "label"}, "score")
    box = Box(*_numbers(found["box"], _CORNERS, f"{place}.box", 0, 1))
    score = _number(found.get("score", 1.0), f"{place}.score", 0, 1)
    label = found["label"]
    if not isinstance(label, str) or re.search("[\0\ud800-\udfff]", label):
        raise BadDocument(f"{place}.label is {_kind(label)}; the name of a class was expected")
    try:
        return LabelledBox(box, label, score)
    except FormatInvalid as error:
        raise BadDocument(f"{place}.label: {error}") from error


def _person(members: Any, place: str) -> HumanPose:
    found = _object(members, place, {"box", "pose", *_POSE_NUMBERS})
    box = Box(*_numbers(found["box"], _CORNERS, f"{place}.box", 0, 1))
    pose = _codes(found["pose"], _POSE_CODES, f"{place}.pose")
    numbers = {group: _numbers(found[group], count, f"{place}.{group}") for group, count in _POSE_NUMBERS.items()}
    return HumanPose(box, pose, **numbers)


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
        raise BadDocument(f"{place} is {_kind(members)}; an object with {', '.join(sorted(wanted))} was expected")
    missing = sorted(wanted - members.keys())
    if missing:
        raise BadDocument(f"{place} has no {missing[0]}; it needs {', '.join(sorted(wanted))}")
    unknown = sorted(members.keys() - wanted - {optional})
    if unknown:
        raise BadDocument(f"{place} has a member {_short(unknown[0])}, which it must not have")
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
        raise BadDocument(f"{place} is {found}; a list of {count} numbers was expected")


def _number(value: Any, place: str, low: float = -math.inf, high: float = math.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadDocument(f"{place} is {_kind(value)}; a number was expected")
    if not low <= value <= high or not abs(value) <= _LARGEST_NUMBER:
        between = f" from {low:g} to {high:g}" if math.isfinite(low) else ""
        raise BadDocument(f"{place} is {_short(str(value))}; a finite number{between} was expected")
    return float(value)


def _whole(value: Any, place: str, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= high:
        raise BadDocument(f"{place} is {_short(str(value))}; a whole number from 0 to {high} was expected")
    return value


def _kind(value: Any) -> str:
    """What a JSON value is, in words."""
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def _short(text: str) -> str:
    return ascii(text[:40])
