"""Handling of each kind of content by data sets: one record each, alongside those of `anyseek.model.modalities.values`.

A sample may hold several captions and palettes, and training draws one at a time; all other values are as the modality
defines them. A field is a modality, one of the few names that only data sets have (`field_content` in
`anyseek.model.modalities.registry`), or an array made for a network and named after it. No torch.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from anyseek.model.data import encodings, perturbations
from anyseek.model.data.errors import SampleInvalid
from anyseek.model.data.samples import Caption, DataSample, Origin
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.reading.arrays import read_npy
from anyseek.model.modalities.reading.documents import palette_of_members, parse_json, parse_palette, parse_text, utf8
from anyseek.model.modalities.reading.encoded import Encoded
from anyseek.model.modalities.registry import PICTURE_SUFFIXES, Content, field_content
from anyseek.model.modalities.rendering import documents
from anyseek.model.modalities.values import CONTENTS
from anyseek.model.seam import Regions

Shape = tuple[int, int]  # height, width


@dataclass(frozen=True)
class StoredContent:
    """What data sets do with values of one content.

    - `suffixes`: endings of users' files, lower case, with the dot; `read`: such a file to a value.
    - `encode`: a value to its file's ending in a shard and its bytes; `decode`: these bytes to the value.
    - `fit`: a value scaled down to a height and a width; None for what has no pixels.
    - `change`: another value that should be found by, and find, the same things; None for what is never varied.
    """

    suffixes: tuple[str, ...]
    read: Callable[[Encoded], Any]
    encode: Callable[[Any], tuple[str, bytes]]
    decode: Callable[[bytes], Any]
    fit: Callable[[Any, Shape], Any] | None = None
    change: Callable[[Any, np.random.Generator], Any] | None = None


def stored_content(field: str) -> StoredContent:
    """The record of a field's content. Raises `SampleInvalid` for a name that says nothing of what it holds."""
    content = field_content(field)
    if content is not None:
        return STORED[content]
    if _ARRAY_NAME.fullmatch(field):
        return ARRAYS
    raise SampleInvalid(
        f"{field!r} is no modality: declare it in modalities.yaml, or call an array that was made for a network "
        f"tok_… or …_{', …_'.join(_ARRAY_ENDINGS)}"
    )


def fitted(sample: DataSample, size: int) -> DataSample:
    """Scale a sample so that no short side exceeds `size` pixels, keeping proportions; smaller values are unchanged.

    Raises `SampleInvalid` for an unknown field.
    """
    return replace(sample, values={field: _fit(field, value, size) for field, value in sample.values.items()})


def _fit(field: str, value: Any, size: int) -> Any:
    fit = stored_content(field).fit
    if fit is None:
        return value
    height, width = (value.ids if isinstance(value, Regions) else value).shape[:2]
    scale = size / min(height, width)
    return value if scale >= 1 else fit(value, (max(round(height * scale), size), max(round(width * scale), size)))


def changed(field: str, value: Any, generator: np.random.Generator) -> Any:
    """Make another value of the same field that should be found by, and find, the same things.

    Raises `SampleInvalid` for a field whose values are never varied, such as captions.
    """
    change = stored_content(field).change
    if change is None:
        raise SampleInvalid(f"values of {field!r} are not varied; only those with pixels, boxes and palettes are")
    return change(value, generator)


def _blend(picture: ByteArray, shape: Shape) -> ByteArray:
    return np.asarray(Image.fromarray(picture).resize(shape[::-1], Image.Resampling.LANCZOS))


def _mean(drawing: ByteArray, shape: Shape) -> ByteArray:
    return np.asarray(Image.fromarray(drawing).resize(shape[::-1], Image.Resampling.BOX))


def _pick(values: npt.NDArray[Any], shape: Shape) -> npt.NDArray[Any]:
    """The value in the middle of each new pixel: measurements and ids are never blended."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(shape, values.shape, strict=True)
    )
    picked: npt.NDArray[Any] = values[rows[:, None], columns]
    return picked


def _pick_ids(regions: Regions, shape: Shape) -> Regions:
    return Regions(_pick(regions.ids, shape), regions.classes)


def _read_captions(file: Encoded) -> tuple[Caption, ...]:
    """One caption a line, or JSON as shards have it."""
    text = utf8(file)
    if file.name.lower().endswith(".json"):
        return encodings.decode_captions(file.data)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    found = [parse_text(line, file.limits, file.name) for line in lines if line]
    return tuple(Caption(line, Origin.HUMAN) for line in found or [parse_text(text, file.limits, file.name)])


def _read_palettes(file: Encoded) -> tuple[ByteArray, ...]:
    """One palette as queries have it, or a list of several as shards do."""
    text = utf8(file)
    if re.match(r"\s*\[\s*\[", text):
        return tuple(palette_of_members(colours, file.name) for colours in parse_json(text, file.name))
    return (parse_palette(text, file.name),)


def _document(content: Content, members: Callable[[Any], Any], change: Any = None) -> StoredContent:
    """A content that is JSON of the same form in users' files and in shards."""
    read = CONTENTS[content].decode
    return StoredContent(
        suffixes=(".json",),
        read=read,
        encode=lambda value: encodings.encode_document(members(value), read),
        decode=partial(encodings.decode_document, read=read),
        change=change,
    )


# What the names of arrays begin with or end in.
_ARRAY_ENDINGS = (
    "features",
    "pooled",
    "states",
    "vectors",
    "vector",
    "lengths",
    "global",
    "rotations",
    "views",
    "array",
)
_ARRAY_NAME = re.compile(rf"tok_\w+|(\w+_)?({'|'.join(_ARRAY_ENDINGS)})")

ARRAYS = StoredContent((".npy",), read_npy, encodings.encode_array, encodings.decode_array)
STORED: Mapping[Content, StoredContent] = {
    Content.PICTURE: StoredContent(
        suffixes=PICTURE_SUFFIXES,
        read=CONTENTS[Content.PICTURE].decode,
        encode=encodings.encode_picture,
        decode=encodings.decode_picture,
        fit=_blend,
        change=perturbations.change_rgb,
    ),
    Content.DRAWING: StoredContent(
        suffixes=PICTURE_SUFFIXES,
        read=CONTENTS[Content.DRAWING].decode,
        encode=encodings.encode_drawing,
        decode=encodings.decode_drawing,
        fit=_mean,
        change=perturbations.change_ink,
    ),
    Content.DEPTH: StoredContent(
        suffixes=(".png", ".npy"),
        read=CONTENTS[Content.DEPTH].decode,
        encode=encodings.encode_depth,
        decode=encodings.decode_depth,
        fit=_pick,
        change=perturbations.change_depth,
    ),
    Content.NORMAL: StoredContent(
        suffixes=(".png",),
        read=CONTENTS[Content.NORMAL].decode,
        encode=encodings.encode_normal,
        decode=encodings.decode_picture,
        fit=_mean,
        change=perturbations.change_normal,
    ),
    Content.REGIONS: StoredContent(
        suffixes=(".png", ".npy"),
        read=CONTENTS[Content.REGIONS].decode,
        encode=encodings.encode_regions,
        decode=encodings.decode_regions,
        fit=_pick_ids,
        change=perturbations.change_regions,
    ),
    Content.TEXT: StoredContent(
        suffixes=(".txt", ".json"),
        read=_read_captions,
        encode=encodings.encode_captions,
        decode=encodings.decode_captions,
    ),
    Content.PALETTE: StoredContent(
        suffixes=(".json", ".txt"),
        read=_read_palettes,
        encode=encodings.encode_palettes,
        decode=encodings.decode_palettes,
        change=perturbations.change_palettes,
    ),
    Content.BOXES: _document(Content.BOXES, documents.box_members, perturbations.change_boxes),
    Content.METADATA: _document(Content.METADATA, documents.metadata_members),
    Content.POSES: _document(Content.POSES, documents.pose_members),
    Content.INSTANCES: _document(Content.INSTANCES, documents.instance_members),
    # Other networks' vectors: in data sets of any shape, as there may be several views of a sample.
    Content.FEATURES: ARRAYS,
    Content.VECTOR: ARRAYS,
    Content.TEXT_STATES: ARRAYS,
}
