"""One record for each kind of content, with everything that is done with its values. Imports no torch.

How data sets keep, scale and vary values is in the records of `anyseek.model.data.contents`, what networks and
tokenizers see of them in those of `anyseek.model.tokenizers.inputs`; both are keyed by `Content` as well.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.formats.boxes import LabelledBox
from anyseek.model.modalities.formats.color_palette import MOST_COLOURS
from anyseek.model.modalities.formats.human_poses import HumanPose
from anyseek.model.modalities.formats.metadata import Metadata
from anyseek.model.modalities.formats.sam_instances import QueryPoint
from anyseek.model.modalities.formats.spans import FormatInvalid, TextStates
from anyseek.model.modalities.reading import arrays, documents, map_forms, pictures
from anyseek.model.modalities.reading.encoded import Encoded
from anyseek.model.modalities.registry import Content, Modality, resolve
from anyseek.model.modalities.rendering import files, looks
from anyseek.model.modalities.rendering.files import Predicted, PredictionFile
from anyseek.model.seam import Prediction, Regions, Value


@dataclass(frozen=True)
class ContentRecord:
    """All that is done with values of one content, each by its own function.

    - `words` and `holds` (check): what a value is, for errors, and a test of it.
    - `decode` (read): a user's file to a value; raises `DecodeError`.
    - `files` (write): what was predicted, and the picture that boxes are drawn on, to files; the one that says all of
      it comes first.
    - `members` (write): the value as JSON; None for pictures, maps and arrays.
    - `look`: what a value looks like, uint8 (H, W, 3), or None for one that shows nothing; None for contents without
      a look, such as words.
    """

    words: str
    holds: Callable[[object], bool]
    decode: Callable[[Encoded], Value]
    files: Callable[[Predicted], list[PredictionFile]]
    members: Callable[[Any], Any] | None = None
    look: Callable[[Any], ByteArray | None] | None = None


def check_value(modality: Modality, value: Value) -> None:
    """Raises `FormatInvalid` unless the value has the type, shape and kind of numbers of its modality."""
    record = CONTENTS[modality.content]
    if not record.holds(value):
        raise FormatInvalid(f"{modality.name} is {record.words}, not {_described(value)}")


def as_picture(modality: str, value: Value) -> ByteArray | None:
    """What a value of `modality` looks like: uint8 (H, W, 3), for an encoder that has only ever seen pictures.

    None for what has no look: words, numbers, vectors, a palette without a colour as models may predict it.
    """
    look = CONTENTS[resolve(modality).content].look
    return None if look is None else look(value)


def files_of(prediction: Prediction, picture: ByteArray | None = None) -> list[PredictionFile]:
    """The files of one prediction, the one that says all of it first.

    `picture` uint8 (H, W, 3) is what boxes, poses and instances are drawn on (its middle square, which is what the
    model sees); on grey without it. Arrays are NPY, depth also a 16-bit PNG from 1 (nearest) to 65535, 0 not measured.
    """
    shown = Predicted(prediction.modality, prediction.value, prediction.arrays, picture)
    return CONTENTS[resolve(prediction.modality).content].files(shown)


def members_of(prediction: Prediction) -> Any:
    """A prediction as JSON if it is a text or numbers (a list for a vector), None for pictures and maps."""
    members = CONTENTS[resolve(prediction.modality).content].members
    return None if members is None else members(prediction.value)


def _array(kinds: str, shape: str) -> Callable[[object], bool]:
    """A test for non-empty arrays of a dtype among `kinds` and a shape such as `HW3`, digits being fixed sides."""

    def holds(value: object) -> bool:
        if not isinstance(value, np.ndarray) or value.dtype.str[1:] not in kinds.split() or value.size == 0:
            return False
        fits = [letter.isalpha() or side == int(letter) for letter, side in zip(shape, value.shape, strict=False)]
        return value.ndim == len(shape) and all(fits)

    return holds


def _tuple(kind: type) -> Callable[[object], bool]:
    return lambda value: isinstance(value, tuple) and all(isinstance(item, kind) for item in value)


def _finite(kinds: str, shape: str) -> Callable[[object], bool]:
    is_array = _array(kinds, shape)
    return lambda value: is_array(value) and bool(np.isfinite(np.asarray(value)).all())


def _described(value: object) -> str:
    """A value's type, and the type and shape of an array."""
    if isinstance(value, Regions):
        return f"Regions of {_described(value.ids)}"
    if isinstance(value, np.ndarray):
        finite = value.dtype.kind != "f" or bool(np.isfinite(value).all())
        return f"{value.dtype} of shape {value.shape}" + ("" if finite else " with numbers that are not finite")
    return repr(value) if isinstance(value, str) else f"a {type(value).__name__}"


CONTENTS: Mapping[Content, ContentRecord] = {
    Content.PICTURE: ContentRecord(
        words="a uint8 array (height, width, 3)",
        holds=_array("u1", "HW3"),
        decode=pictures.decode_picture,
        files=lambda shown: [files.png(shown.name, shown.value)],
        look=looks.colour_look,
    ),
    Content.DRAWING: ContentRecord(
        words="a uint8 array (height, width)",
        holds=_array("u1", "HW"),
        decode=pictures.decode_drawing,
        files=lambda shown: [files.png(shown.name, shown.value)],
        look=looks.drawing_look,
    ),
    Content.DEPTH: ContentRecord(
        words="a float32 array (height, width) with a finite number in it",
        holds=lambda value: _array("f4", "HW")(value) and bool(np.isfinite(np.asarray(value)).any()),
        decode=map_forms.decode_depth,
        files=files.depth_files,
        look=looks.depth_look,
    ),
    Content.NORMAL: ContentRecord(
        words="a uint8 array (height, width, 3)",
        holds=_array("u1", "HW3"),
        decode=pictures.decode_normal,
        files=files.normal_files,
        look=looks.colour_look,
    ),
    Content.REGIONS: ContentRecord(
        words="Regions with integer ids (height, width)",
        holds=lambda value: isinstance(value, Regions) and _array("i1 i2 i4 i8 u1 u2 u4 u8", "HW")(value.ids),
        decode=arrays.decode_regions,
        files=files.regions_files,
        look=looks.regions_look,
    ),
    Content.TEXT: ContentRecord(
        words="a text of at least one character",
        holds=lambda value: isinstance(value, str) and bool(value.strip()),
        decode=documents.decode_text,
        files=files.text_files,
        members=str,
    ),
    Content.PALETTE: ContentRecord(
        words="a uint8 array (colours, 3) of 1 to 7 colours",
        holds=lambda value: _array("u1", "n3")(value) and len(np.asarray(value)) <= MOST_COLOURS,
        decode=documents.decode_palette,
        files=files.palette_files,
        members=documents.palette_members,
        look=looks.palette_look,
    ),
    Content.BOXES: ContentRecord(
        words="a tuple of LabelledBox",
        holds=_tuple(LabelledBox),
        decode=documents.decode_boxes,
        files=files.boxes_files,
        members=documents.box_members,
        look=looks.boxes_look,
    ),
    Content.METADATA: ContentRecord(
        words="Metadata",
        holds=lambda value: isinstance(value, Metadata),
        decode=documents.decode_metadata,
        files=files.metadata_files,
        members=documents.metadata_members,
    ),
    Content.POSES: ContentRecord(
        words="a tuple of HumanPose",
        holds=_tuple(HumanPose),
        decode=documents.decode_poses,
        files=files.poses_files,
        members=documents.pose_members,
    ),
    Content.INSTANCES: ContentRecord(
        words="a tuple of QueryPoint",
        holds=_tuple(QueryPoint),
        decode=documents.decode_instances,
        files=files.instances_files,
        members=documents.instance_members,
    ),
    Content.FEATURES: ContentRecord(
        words="a finite float32 array (channels, rows, columns)",
        holds=_finite("f4", "Chw"),
        decode=arrays.decode_features,
        files=files.features_files,
    ),
    Content.VECTOR: ContentRecord(
        words="a finite float32 array (length,)",
        holds=_finite("f4", "d"),
        decode=arrays.decode_vector,
        files=lambda shown: [files.npy(shown.name, shown.value)],
        members=np.ndarray.tolist,
    ),
    Content.TEXT_STATES: ContentRecord(
        words="TextStates",
        holds=lambda value: isinstance(value, TextStates),
        decode=arrays.decode_text_states,
        files=lambda shown: [files.npy(shown.name, shown.value.vectors)],
    ),
}
