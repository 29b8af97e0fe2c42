"""Storage of each kind of content in data sets, and conversion of samples to entries of shards. No torch.

A sample may have several captions and palettes, of which training draws one; all other values are as the modality
defines them. A field is a modality, one of the few names that only data sets have (`field_content` in
`anyseek.model.modalities.registry`), or an array made for a network and named after it.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from anyseek.model.data import encodings, perturbations
from anyseek.model.data.encodings import to_json
from anyseek.model.data.errors import SampleInvalid
from anyseek.model.data.samples import Caption, DataSample, Origin
from anyseek.model.data.shards import ATTRIBUTES, Entry
from anyseek.model.errors import BadInput
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.formats.spans import FormatInvalid
from anyseek.model.modalities.reading import documents
from anyseek.model.modalities.reading.arrays import read_npy
from anyseek.model.modalities.reading.documents import palette_from_json, parse_json, parse_palette, parse_text, utf8
from anyseek.model.modalities.reading.encoded import EncodedFile, FileLimits, read_file
from anyseek.model.modalities.reading.errors import DecodeError, InputError
from anyseek.model.modalities.registry import PICTURE_SUFFIXES, Content, field_content
from anyseek.model.modalities.values import CONTENTS
from anyseek.model.seam import Regions

Shape = tuple[int, int]  # height, width


@dataclass(frozen=True)
class StoredContent:
    """How data sets store, scale, perturb and read the values of one content.

    - `suffixes`: endings of users' files, lower case, with the dot.
    - `encode`: from a value to the ending and the bytes of its file in a shard; `decode`: from the bytes to the value.
    - `fit`: scales a value down to a height and a width; None for values without pixels.
    - `perturb`: a random variation of a value with the same meaning; None for values that are never varied.
    - `read`: from a user's file to a value; None if files are decoded like those of queries.
    """

    suffixes: tuple[str, ...]
    encode: Callable[[Any], tuple[str, bytes]]
    decode: Callable[[bytes], Any]
    fit: Callable[[Any, Shape], Any] | None = None
    perturb: Callable[[Any, np.random.Generator], Any] | None = None
    read: Callable[[EncodedFile], Any] | None = None


def stored_content(field: str) -> StoredContent:
    """The record of a field's content. Raises `SampleInvalid` for an unknown field."""
    content = field_content(field)
    if content is not None:
        return STORED[content]
    if _ARRAY_NAME.fullmatch(field):
        return ARRAYS
    raise SampleInvalid(
        f"{field!r} is no modality: declare it in modalities.yaml, or name an array that was made for a network "
        f"tok_… or …_{', …_'.join(_ARRAY_ENDINGS)}"
    )


def downscale(sample: DataSample, size: int) -> DataSample:
    """Scale a sample so that no short side exceeds `size` pixels, keeping proportions; smaller values are unchanged.

    Raises `SampleInvalid` for an unknown field.
    """
    values = dict(sample.values)
    for field, value in sample.values.items():
        if (fit := stored_content(field).fit) is not None:
            shape = (value.ids if isinstance(value, Regions) else value).shape[:2]
            scale = size / min(shape)
            if scale < 1:
                height, width = (max(round(side * scale), size) for side in shape)
                values[field] = fit(value, (height, width))
    return replace(sample, values=values)


def perturb(field: str, value: Any, generator: np.random.Generator) -> Any:
    """A random variation of a field's value with the same meaning.

    Raises `SampleInvalid` for a field whose values are never varied, such as captions.
    """
    perturb_value = stored_content(field).perturb
    if perturb_value is None:
        raise SampleInvalid(f"values of {field!r} are not varied; only pictures, drawings, depth and regions are")
    return perturb_value(value, generator)


def _resize(picture: ByteArray, shape: Shape, resample: Image.Resampling = Image.Resampling.BOX) -> ByteArray:
    return np.asarray(Image.fromarray(picture).resize(shape[::-1], resample))


def _pick(values: npt.NDArray[Any], shape: Shape) -> npt.NDArray[Any]:
    """Nearest-neighbour resampling, since measurements and ids must not be blended."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(shape, values.shape, strict=True)
    )
    subsample: npt.NDArray[Any] = values[rows[:, None], columns]
    return subsample


def _read_captions(file: EncodedFile) -> tuple[Caption, ...]:
    """Captions of a text file, one per line, or of JSON as in shards."""
    text = utf8(file)
    if file.name.lower().endswith(".json"):
        return encodings.decode_captions(file.data)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    captions = [parse_text(line, file.limits, file.name) for line in lines if line]
    return tuple(Caption(line, Origin.HUMAN) for line in captions or [parse_text(text, file.limits, file.name)])


def _read_palettes(file: EncodedFile) -> tuple[ByteArray, ...]:
    """One palette as in queries, or a list of several as in shards."""
    text = utf8(file)
    if re.match(r"\s*\[\s*\[", text):
        return tuple(palette_from_json(colours, file.name) for colours in parse_json(text, file.name))
    return (parse_palette(text, file.name),)


def _document(content: Content, members: Callable[[Any], Any]) -> StoredContent:
    """The record of a content that is the same JSON in users' files and in shards."""
    read = CONTENTS[content].decode

    def encode(value: Any) -> tuple[str, bytes]:
        data = encodings.to_json(members(value))
        read(EncodedFile(data, "it"))
        return "json", data

    return StoredContent((".json",), encode, lambda data: read(EncodedFile(data, "it")))


# Arrays are recognised by these endings of their names, or by `tok_`.
_ARRAY_ENDINGS = (
    *("features", "pooled", "states", "vectors", "vector"),
    *("lengths", "global", "rotations", "views", "array"),
)
_ARRAY_NAME = re.compile(rf"tok_\w+|(\w+_)?({'|'.join(_ARRAY_ENDINGS)})")
_MAPS = (".png", ".npy")

ARRAYS = StoredContent((".npy",), encodings.encode_array, encodings.decode_array, read=read_npy)
STORED: Mapping[Content, StoredContent] = {
    Content.PICTURE: StoredContent(
        PICTURE_SUFFIXES,
        encodings.encode_picture,
        encodings.decode_picture,
        fit=partial(_resize, resample=Image.Resampling.LANCZOS),
        perturb=perturbations.perturb_rgb,
    ),
    Content.DRAWING: StoredContent(
        PICTURE_SUFFIXES,
        encodings.encode_drawing,
        encodings.decode_drawing,
        fit=_resize,
        perturb=perturbations.perturb_ink,
    ),
    Content.DEPTH: StoredContent(
        _MAPS, encodings.encode_depth, encodings.decode_depth, fit=_pick, perturb=perturbations.perturb_depth
    ),
    Content.NORMAL: StoredContent((".png",), encodings.encode_normal, encodings.decode_picture, fit=_resize),
    Content.REGIONS: StoredContent(
        _MAPS,
        encodings.encode_regions,
        encodings.decode_regions,
        fit=lambda regions, shape: Regions(_pick(regions.ids, shape), regions.classes),
        perturb=perturbations.perturb_regions,
    ),
    Content.TEXT: StoredContent(
        (".txt", ".json"), encodings.encode_captions, encodings.decode_captions, read=_read_captions
    ),
    Content.PALETTE: StoredContent(
        (".json", ".txt"), encodings.encode_palettes, encodings.decode_palettes, read=_read_palettes
    ),
    Content.BOXES: _document(Content.BOXES, documents.boxes_to_json),
    Content.METADATA: _document(Content.METADATA, documents.metadata_to_json),
    Content.POSES: _document(Content.POSES, documents.poses_to_json),
    Content.INSTANCES: _document(Content.INSTANCES, documents.instances_to_json),
    # Other networks' vectors have any shape in data sets, because a sample may have several views.
    **dict.fromkeys((Content.FEATURES, Content.VECTOR, Content.TEXT_STATES), ARRAYS),
}

# Pillow raises SyntaxError for some broken PNG files.
_UNREADABLE: tuple[type[Exception], ...] = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, SyntaxError),
    *(BadInput, FormatInvalid, Image.DecompressionBombError),
)


def read_file_value(field: str, path: Path, classes: Mapping[int, str]) -> Any:
    """The value in a user's file, by `read_value`. Raises `SampleInvalid`, naming the file."""
    try:
        data = read_file(path, FileLimits(), str(path))
    except InputError as error:
        raise SampleInvalid(str(error)) from error
    return read_value(field, data, str(path), classes)


def read_value(field: str, data: bytes, name: str, classes: Mapping[int, str] | None = None) -> Any:
    """The value in a user's file, decoded like that of a query, but at the file's own size.

    `name` names the file in errors; `classes` names the ids of a region map. Raises `SampleInvalid`.
    """
    content = field_content(field)
    read = stored_content(field).read or CONTENTS[cast(Content, content)].decode
    try:
        return read(EncodedFile(data, name, classes=classes or {}, side=None))
    except DecodeError as error:
        raise SampleInvalid(str(error)) from error
    except _UNREADABLE as error:
        raise SampleInvalid(f"{name} is no {field}: {error}") from error


def encode_value(field: str, value: Any) -> tuple[str, bytes]:
    """Encode a value as a file: its name `<field>.<ending>` and its bytes.

    Raises `SampleInvalid`, also for a field that is neither a modality nor named as an array.
    """
    encode = stored_content(field).encode
    try:
        ending, data = encode(value)
    except _UNREADABLE as error:
        raise SampleInvalid(f"a value of {field} cannot be stored: {error}") from error
    return f"{field}.{ending}", data


def decode_value(name: str, data: bytes) -> Any:
    """Decode the value of a file named `<field>.<ending>`; a file ending in `.npy` is an array, whatever its field.

    Raises `SampleInvalid`.
    """
    field, _, ending = name.partition(".")
    decode = (ARRAYS if ending == "npy" else stored_content(field)).decode
    try:
        return decode(data)
    except _UNREADABLE as error:
        raise SampleInvalid(f"{name} cannot be read: {error}") from error


def entry_of(key: str, sample: DataSample) -> Entry:
    """A sample as files under `key`. Raises `SampleInvalid`."""
    files = dict(encode_value(field, value) for field, value in sample.values.items())
    return Entry(key, {**files, ATTRIBUTES: to_json({**sample.attributes, "key": sample.key})})


def sample_of(entry: Entry) -> DataSample:
    """The sample in an entry; its key is the one in its source. Raises `SampleInvalid`."""
    values = {n.partition(".")[0]: decode_value(n, data) for n, data in entry.files.items() if n != ATTRIBUTES}
    attributes = attributes_of(entry)
    return DataSample(attributes.pop("key", entry.key), values, attributes)


def attributes_of(entry: Entry) -> dict[str, Any]:
    """An entry's attributes, `key` among them; empty if it has none. Raises `SampleInvalid`."""
    return json_object(entry.files.get(ATTRIBUTES, b"{}"), f"{ATTRIBUTES} of {entry.key}")


def json_object(data: bytes, name: str) -> dict[str, Any]:
    """The members of a JSON object. Raises `SampleInvalid`, which names it `name`."""
    try:
        members = json.loads(data)
    except ValueError as error:
        raise SampleInvalid(f"{name} is not JSON: {error}") from error
    if not isinstance(members, dict):
        raise SampleInvalid(f"{name} is not a JSON object")
    return members
