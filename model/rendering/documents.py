"""Values as JSON members, as `indexer.structured` reads them back; docs/predicting.md shows each."""

from collections.abc import Sequence
from typing import Any

from model.drawing import ByteArray
from model.formats.boxes import LabelledBox
from model.formats.human_poses import HumanPose
from model.formats.metadata import Metadata
from model.formats.sam_instances import QueryPoint


def palette_members(palette: ByteArray) -> list[str]:
    """Each colour as #rrggbb."""
    return [f"#{bytes(colour).hex()}" for colour in palette]


def box_members(boxes: Sequence[LabelledBox]) -> list[dict[str, Any]]:
    """Each box with corners in [0, 1], its label and its score."""
    return [{"box": list(one.box.corners), "label": one.label, "score": one.score} for one in boxes]


def metadata_members(metadata: Metadata) -> dict[str, float]:
    """Each field with its number."""
    return dict(metadata.values)


def pose_members(people: Sequence[HumanPose]) -> list[dict[str, Any]]:
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


def instance_members(points: Sequence[QueryPoint]) -> list[dict[str, Any]]:
    """Each query point in pixels with its masks: a box in pixels and 16 codes."""
    return [
        {
            "point": {"x": point.x, "y": point.y},
            "masks": [{"box": list(mask.box.corners), "tokens": list(mask.tokens)} for mask in point.masks],
        }
        for point in points
    ]
