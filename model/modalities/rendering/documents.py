"""Values as JSON members; `model.modalities.reading.documents` reads them back. See docs/predicting.md for each."""

from collections.abc import Sequence
from typing import Any

from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.formats.boxes import LabelledBox
from anyseek.model.modalities.formats.human_poses import HumanPose
from anyseek.model.modalities.formats.metadata import Metadata
from anyseek.model.modalities.formats.sam_instances import QueryPoint
from anyseek.model.seam import FloatArray


def text_members(words: str) -> str:
    """The words themselves."""
    return words


def vector_members(vector: FloatArray) -> list[float]:
    """Each number."""
    numbers: list[float] = vector.tolist()
    return numbers


def palette_members(palette: ByteArray) -> list[str]:
    """Each colour as #rrggbb."""
    return [f"#{bytes(colour).hex()}" for colour in palette]


def box_members(boxes: Sequence[LabelledBox]) -> list[dict[str, Any]]:
    """Each box with corners in [0, 1], its label and its score."""
    return [{"box": list(item.box.corners), "label": item.label, "score": item.score} for item in boxes]


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
