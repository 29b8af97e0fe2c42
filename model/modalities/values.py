"""The operations on values of each content: validation, decoding, files, JSON and rendering. Imports no torch.

`anyseek.model.data.contents` has those of data sets (storing, scaling, augmentation), and
`anyseek.model.tokenizers.inputs` those of networks and tokenizers; both are keyed by `Content` as well.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.formats.boxes import LabelledBox
from anyseek.model.modalities.formats.color_palette import MAX_COLOURS
from anyseek.model.modalities.formats.human_poses import HumanPose
from anyseek.model.modalities.formats.metadata import Metadata
from anyseek.model.modalities.formats.sam_instances import QueryPoint
from anyseek.model.modalities.formats.spans import FormatInvalid, TextStates
from anyseek.model.modalities.reading import arrays, documents, map_forms, pictures
from anyseek.model.modalities.reading.encoded import EncodedFile
from anyseek.model.modalities.registry import Content, Modality, resolve
from anyseek.model.modalities.rendering import files, renderers
from anyseek.model.modalities.rendering.files import PredictionFile, RenderInput
from anyseek.model.seam import Prediction, Regions, Value


@dataclass(frozen=True)
class ContentRecord:
    """The operations on values of one content.

    - `description` and `is_valid`: what a value must be, for error messages, and the check of it.
    - `decode`: a user's file to a value; raises `DecodeError`.
    - `to_files`: a prediction to files, the complete one first.
    - `to_json`: a value as JSON; None for pictures, maps and arrays.
    - `render`: a value as a picture uint8 (H, W, 3), None for an empty value; None for contents that cannot be
      rendered, such as text.
    """

    description: str
    is_valid: Callable[[object], bool]
    decode: Callable[[EncodedFile], Value]
    to_files: Callable[[RenderInput], list[PredictionFile]]
    to_json: Callable[[Any], Any] | None = None
    render: Callable[[Any], ByteArray | None] | None = None


def check_value(modality: Modality, value: Value) -> None:
    """Raises `FormatInvalid` unless the value has the type, shape and dtype of its modality."""
    record = CONTENTS[modality.content]
    if not record.is_valid(value):
        raise FormatInvalid(f"{modality.name} is {record.description}, not {_describe(value)}")


def render_value(modality: str, value: Value) -> ByteArray | None:
    """A value of `modality` rendered as a picture uint8 (H, W, 3), for an encoder that was trained on pictures.

    None for what cannot be rendered: text, numbers, vectors, and a palette without colours, which models may predict.
    """
    render = CONTENTS[resolve(modality).content].render
    return None if render is None else render(value)


def prediction_files(prediction: Prediction, picture: ByteArray | None = None) -> list[PredictionFile]:
    """The files of one prediction, the complete one first.

    `picture` uint8 (H, W, 3) is what boxes, poses and instances are drawn on (its middle square, which is what the
    model sees); on grey without it. Arrays are NPY, depth also a 16-bit PNG from 1 (nearest) to 65535, 0 not measured.
    """
    source = RenderInput(prediction.modality, prediction.value, prediction.arrays, picture)
    return CONTENTS[resolve(prediction.modality).content].to_files(source)


def prediction_to_json(prediction: Prediction) -> Any:
    """A text or numbers as JSON (a vector as a list); None for pictures and maps."""
    to_json = CONTENTS[resolve(prediction.modality).content].to_json
    return None if to_json is None else to_json(prediction.value)


def _array_check(kinds: str, shape: str) -> Callable[[object], bool]:
    """A check for non-empty arrays of a dtype in `kinds` and a shape such as `HW3`, where a digit is a fixed size."""

    def is_valid(value: object) -> bool:
        if not isinstance(value, np.ndarray) or value.dtype.str[1:] not in kinds.split() or value.size == 0:
            return False
        fits = [letter.isalpha() or side == int(letter) for letter, side in zip(shape, value.shape, strict=False)]
        return value.ndim == len(shape) and all(fits)

    return is_valid


def _tuple_check(kind: type) -> Callable[[object], bool]:
    return lambda value: isinstance(value, tuple) and all(isinstance(item, kind) for item in value)


def _finite_array_check(kinds: str, shape: str) -> Callable[[object], bool]:
    is_array = _array_check(kinds, shape)
    return lambda value: is_array(value) and bool(np.isfinite(np.asarray(value)).all())


def _describe(value: object) -> str:
    """A value's type, or an array's dtype and shape."""
    if isinstance(value, Regions):
        return f"Regions of {_describe(value.ids)}"
    if isinstance(value, np.ndarray):
        finite = value.dtype.kind != "f" or bool(np.isfinite(value).all())
        return f"{value.dtype} of shape {value.shape}" + ("" if finite else " with numbers that are not finite")
    return repr(value) if isinstance(value, str) else f"a {type(value).__name__}"


CONTENTS: Mapping[Content, ContentRecord] = {
    Content.PICTURE: ContentRecord(
        description="a uint8 array (height, width, 3)",
        is_valid=_array_check("u1", "HW3"),
        decode=pictures.decode_picture,
        to_files=lambda source: [files.png_file(source.name, source.value)],
        render=renderers.render_colours,
    ),
    Content.DRAWING: ContentRecord(
        description="a uint8 array (height, width)",
        is_valid=_array_check("u1", "HW"),
        decode=pictures.decode_drawing,
        to_files=lambda source: [files.png_file(source.name, source.value)],
        render=renderers.render_drawing,
    ),
    Content.DEPTH: ContentRecord(
        description="a float32 array (height, width) with a finite number in it",
        is_valid=lambda value: _array_check("f4", "HW")(value) and bool(np.isfinite(np.asarray(value)).any()),
        decode=map_forms.decode_depth,
        to_files=files.depth_files,
        render=renderers.render_depth,
    ),
    Content.NORMAL: ContentRecord(
        description="a uint8 array (height, width, 3)",
        is_valid=_array_check("u1", "HW3"),
        decode=pictures.decode_normal,
        to_files=files.normal_files,
        render=renderers.render_colours,
    ),
    Content.REGIONS: ContentRecord(
        description="Regions with integer ids (height, width)",
        is_valid=lambda value: isinstance(value, Regions) and _array_check("i1 i2 i4 i8 u1 u2 u4 u8", "HW")(value.ids),
        decode=arrays.decode_regions,
        to_files=files.regions_files,
        render=renderers.render_regions,
    ),
    Content.TEXT: ContentRecord(
        description="a text of at least one character",
        is_valid=lambda value: isinstance(value, str) and bool(value.strip()),
        decode=documents.decode_text,
        to_files=files.text_files,
        to_json=str,
    ),
    Content.PALETTE: ContentRecord(
        description="a uint8 array (colours, 3) of 1 to 7 colours",
        is_valid=lambda value: _array_check("u1", "n3")(value) and len(np.asarray(value)) <= MAX_COLOURS,
        decode=documents.decode_palette,
        to_files=files.palette_files,
        to_json=documents.palette_to_json,
        render=renderers.render_palette,
    ),
    Content.BOXES: ContentRecord(
        description="a tuple of LabelledBox",
        is_valid=_tuple_check(LabelledBox),
        decode=documents.decode_boxes,
        to_files=files.boxes_files,
        to_json=documents.boxes_to_json,
        render=renderers.render_boxes,
    ),
    Content.METADATA: ContentRecord(
        description="Metadata",
        is_valid=lambda value: isinstance(value, Metadata),
        decode=documents.decode_metadata,
        to_files=files.metadata_files,
        to_json=documents.metadata_to_json,
    ),
    Content.POSES: ContentRecord(
        description="a tuple of HumanPose",
        is_valid=_tuple_check(HumanPose),
        decode=documents.decode_poses,
        to_files=files.poses_files,
        to_json=documents.poses_to_json,
    ),
    Content.INSTANCES: ContentRecord(
        description="a tuple of QueryPoint",
        is_valid=_tuple_check(QueryPoint),
        decode=documents.decode_instances,
        to_files=files.instances_files,
        to_json=documents.instances_to_json,
    ),
    Content.FEATURES: ContentRecord(
        description="a finite float32 array (channels, rows, columns)",
        is_valid=_finite_array_check("f4", "Chw"),
        decode=arrays.decode_features,
        to_files=files.features_files,
    ),
    Content.VECTOR: ContentRecord(
        description="a finite float32 array (length,)",
        is_valid=_finite_array_check("f4", "d"),
        decode=arrays.decode_vector,
        to_files=lambda source: [files.npy_file(source.name, source.value)],
        to_json=np.ndarray.tolist,
    ),
    Content.TEXT_STATES: ContentRecord(
        description="TextStates",
        is_valid=lambda value: isinstance(value, TextStates),
        decode=arrays.decode_text_states,
        to_files=lambda source: [files.npy_file(source.name, source.value.vectors)],
    ),
}
