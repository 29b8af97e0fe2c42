"""The format of each sequence modality, by checkpoint key: value -> text -> value."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from anyseek.model.modalities.formats.bins import SPECIAL_TOKEN
from anyseek.model.modalities.formats.boxes import boxes_from_text, boxes_to_text
from anyseek.model.modalities.formats.color_palette import palette_from_text, palette_to_text
from anyseek.model.modalities.formats.human_poses import poses_from_text, poses_to_text
from anyseek.model.modalities.formats.metadata import metadata_from_text, metadata_to_text
from anyseek.model.modalities.formats.sam_instances import instances_from_text, instances_to_text


@dataclass(frozen=True)
class SequenceFormat:
    """`to_text` writes a value and raises `FormatInvalid` for one that has no text; `from_text` reads what a text
    holds of the format and leaves out the rest, since a network may predict anything.
    """

    to_text: Callable[[Any], str]
    from_text: Callable[[str], Any]


def caption_to_text(caption: str) -> str:
    """The caption itself; sentinels in it keep their meaning. The vocabulary lowercases it."""
    return caption


def caption_from_text(text: str) -> str:
    """The text without special tokens, one space between words."""
    return " ".join(SPECIAL_TOKEN.sub(" ", text).split())


FORMATS: Mapping[str, SequenceFormat] = {
    "caption": SequenceFormat(caption_to_text, caption_from_text),  # str
    "det": SequenceFormat(boxes_to_text, boxes_from_text),  # list of LabelledBox
    "metadata": SequenceFormat(metadata_to_text, metadata_from_text),  # Metadata
    "color_palette": SequenceFormat(palette_to_text, palette_from_text),  # uint8 (n, 3)
    "human_poses": SequenceFormat(poses_to_text, poses_from_text),  # list of HumanPose
    "sam_instance": SequenceFormat(instances_to_text, instances_from_text),  # list of QueryPoint
}
