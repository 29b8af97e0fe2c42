"""Human poses and SAM instances as JSON, in the forms that `anyseek index` takes too. No torch.

A person is `{"box": [xmin, ymin, xmax, ymax], "pose": [8 codes], "rotation": [9], "camera": [3], "shape": [10]}`, the
box in [0, 1]. A point is `{"point": {"x", "y"}, "masks": [{"box": [...], "tokens": [16 codes]}]}` in pixels of the
224 x 224 picture. Codes are those of the published tokenizers, 0 to 1023.
"""

import json
from typing import Any

from model.formats.boxes import Box
from model.formats.human_poses import HumanPose, poses_to_text
from model.formats.sam_instances import MaskInstance, QueryPoint, instances_to_text

_GROUPS = ("rotation", "camera", "shape")


def plain_poses(people: tuple[HumanPose, ...]) -> list[dict[str, Any]]:
    """People as plain JSON values. Raises `FormatInvalid` for a number that the format cannot write."""
    poses_to_text(people)
    return [
        {
            "box": list(one.box.corners),
            "pose": list(one.pose),
            **{group: list(getattr(one, group)) for group in _GROUPS},
        }
        for one in people
    ]


def read_poses(data: bytes) -> tuple[HumanPose, ...]:
    """The people in a file. Raises `FormatInvalid`, `ValueError`, `KeyError`, `TypeError` for what holds none."""
    people = tuple(
        HumanPose(_box(one), _codes(one["pose"]), *(tuple(map(float, one[group])) for group in _GROUPS))
        for one in json.loads(data)
    )
    poses_to_text(people)
    return people


def plain_instances(points: tuple[QueryPoint, ...]) -> list[dict[str, Any]]:
    """Points and their masks as plain JSON values. Raises as `plain_poses`."""
    instances_to_text(points)
    return [
        {
            "point": {"x": one.x, "y": one.y},
            "masks": [{"box": list(mask.box.corners), "tokens": list(mask.tokens)} for mask in one.masks],
        }
        for one in points
    ]


def read_instances(data: bytes) -> tuple[QueryPoint, ...]:
    """The points in a file. Raises as `read_poses`."""
    points = tuple(
        QueryPoint(
            _whole(one["point"]["y"]),
            _whole(one["point"]["x"]),
            tuple(MaskInstance(_box(mask), _codes(mask["tokens"])) for mask in one["masks"]),
        )
        for one in json.loads(data)
    )
    instances_to_text(points)
    return points


def _box(members: Any) -> Box:
    return Box(*(float(corner) for corner in members["box"]))


def _codes(numbers: Any) -> tuple[int, ...]:
    return tuple(_whole(number) for number in numbers)


def _whole(number: Any) -> int:
    if type(number) is not int:
        raise ValueError(f"{number!r} is no whole number")
    return number
