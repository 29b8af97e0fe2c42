"""Every format of a sequence modality by its checkpoint key: value -> text -> value."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from model.formats.boxes import boxes_from_text, boxes_to_text
from model.formats.captions import caption_from_text, caption_to_text
from model.formats.color_palette import palette_from_text, palette_to_text
from model.formats.human_poses import poses_from_text, poses_to_text
from model.formats.metadata import metadata_from_text, metadata_to_text
from model.formats.sam_instances import instances_from_text, instances_to_text


@dataclass(frozen=True)
class SequenceFormat:
    """`to_text` writes a value and raises `FormatInvalid` for one that has no text; `from_text` reads what a text
    holds of the format and leaves out the rest, since a network may predict anything.
    """

    to_text: Callable[[Any], str]
    from_text: Callable[[str], Any]


FORMATS: Mapping[str, SequenceFormat] = {
    "caption": SequenceFormat(caption_to_text, caption_from_text),  # str
    "det": SequenceFormat(boxes_to_text, boxes_from_text),  # list of LabelledBox
    "metadata": SequenceFormat(metadata_to_text, metadata_from_text),  # Metadata
    "color_palette": SequenceFormat(palette_to_text, palette_from_text),  # uint8 (n, 3)
    "human_poses": SequenceFormat(poses_to_text, poses_from_text),  # list of HumanPose
    "sam_instance": SequenceFormat(instances_to_text, instances_from_text),  # list of QueryPoint
}
