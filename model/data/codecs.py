"""Values to files and back: what `model.data.samples` lists, one file a modality. NumPy and Pillow only.

Pictures are PNG, or JPEG of quality 95 where that is smaller; all else is kept exactly, but for arrays of floats, which
become float16, and depth, which is rounded to 65,535 steps. The same value always gives the same bytes.
"""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin

from model.data.errors import SampleInvalid
from model.data.instances import plain_instances, plain_poses, read_instances, read_poses
from model.data.samples import Caption, DataSample, Origin
from model.data.shards import ATTRIBUTES, Entry
from model.drawing import ByteArray
from model.embedder import FloatArray, Regions
from model.formats.boxes import Box, LabelledBox
from model.formats.metadata import Metadata
from model.formats.spans import FormatInvalid
from model.modality import DECLARED, Content

_STEPS = 65535
_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    SyntaxError,  # what Pillow raises for some broken PNG files
    FormatInvalid,
    Image.DecompressionBombError,
)


@dataclass(frozen=True)
class Codec:
    """How values of one kind become files: `encode` gives the file's ending and its bytes."""

    encode: Callable[[Any], tuple[str, bytes]]
    decode: Callable[[bytes], Any]


def encode_value(modality: str, value: Any) -> tuple[str, bytes]:
    """The file of a value: its name `<modality>.<ending>` and its bytes. Raises `SampleInvalid`."""
    try:
        ending, data = CODECS.get(modality, ARRAYS).encode(value)
    except _UNREADABLE as error:
        raise SampleInvalid(f"a value of {modality} cannot be stored: {error}") from error
    return f"{modality}.{ending}", data


def decode_value(name: str, data: bytes) -> Any:
    """The value of a file named `<modality>.<ending>`. Raises `SampleInvalid`."""
    modality = name.partition(".")[0]
    try:
        return CODECS.get(modality, ARRAYS).decode(data)
    except _UNREADABLE as error:
        raise SampleInvalid(f"{name} cannot be read: {error}") from error


def entry_of(key: str, sample: DataSample) -> Entry:
    """A sample as files under `key`. Raises `SampleInvalid`."""
    files = dict(encode_value(modality, value) for modality, value in sample.values.items())
    return Entry(key, {**files, ATTRIBUTES: to_json({**sample.attributes, "key": sample.key})})


def sample_of(entry: Entry) -> DataSample:
    """The sample in an entry; its key is the one in its source. Raises `SampleInvalid`."""
    values = {n.partition(".")[0]: decode_value(n, data) for n, data in entry.files.items() if n != ATTRIBUTES}
    attributes = attributes_of(entry)
    return DataSample(attributes.pop("key", entry.key), values, attributes)


def attributes_of(entry: Entry) -> dict[str, Any]:
    """An entry's attributes, `key` among them; empty if it has none. Raises `SampleInvalid`."""
    try:
        found = json.loads(entry.files.get(ATTRIBUTES, b"{}"))
    except ValueError as error:
        raise SampleInvalid(f"{ATTRIBUTES} of {entry.key} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise SampleInvalid(f"{ATTRIBUTES} of {entry.key} is no JSON object")
    return found


def to_json(value: Any) -> bytes:
    """JSON in UTF-8, always the same bytes for the same value. Raises `SampleInvalid` for what JSON cannot hold."""
    try:
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise SampleInvalid(f"{value!r:.80} cannot be written as JSON: {error}") from error


def _encode_picture(picture: ByteArray) -> tuple[str, bytes]:
    _check(picture, np.uint8, 3)
    image = Image.fromarray(picture)
    png, jpeg = _saved(image, "PNG"), _saved(image, "JPEG", quality=95, subsampling=0)
    return ("png", png) if len(png) <= len(jpeg) else ("jpg", jpeg)


def _decode_picture(data: bytes) -> ByteArray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def _encode_normal(normal: ByteArray) -> tuple[str, bytes]:
    _check(normal, np.uint8, 3)
    return "png", _saved(Image.fromarray(normal), "PNG")


def _encode_grey(drawing: ByteArray) -> tuple[str, bytes]:
    _check(drawing, np.uint8, 2)
    image = Image.fromarray(drawing)
    two_valued = bool(np.isin(drawing, (0, 255)).all())
    return "png", _saved(image.convert("1") if two_valued else image, "PNG")


def _decode_grey(data: bytes) -> ByteArray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("L"))


def _encode_depth(depth: FloatArray) -> tuple[str, bytes]:
    """16 bits in steps of `scale`, which is in the PNG's text; 0 is not measured."""
    _check(depth, np.float32, 2)
    measured = np.isfinite(depth)
    if (depth[measured] <= 0).any():
        raise ValueError("a depth is 0 or negative; NaN stands for what was not measured")
    farthest = float(depth[measured].max()) if measured.any() else float(_STEPS)
    scale = farthest / _STEPS
    steps = np.clip(np.rint(np.where(measured, depth, scale) / np.float64(scale)), 1, _STEPS)
    text = PngImagePlugin.PngInfo()
    text.add_text("scale", repr(scale))
    return "png", _saved(Image.fromarray((steps * measured).astype(np.uint16)), "PNG", pnginfo=text)


def _decode_depth(data: bytes) -> FloatArray:
    image = Image.open(io.BytesIO(data))
    steps = np.asarray(image).astype(np.float64)
    scale = float(image.info["scale"])
    return np.where(steps > 0, steps * scale, np.nan).astype(np.float32)


def _encode_regions(regions: Regions) -> tuple[str, bytes]:
    """8 bits if they do, else 16; the names of the ids that are there are in the PNG's text."""
    ids = regions.ids
    if ids.ndim != 2 or ids.dtype.kind not in "iu" or not ids.size or ids.min() < 0 or ids.max() > _STEPS:
        raise ValueError(f"ids are whole numbers (H, W) from 0 to {_STEPS}, not {ids.dtype} {ids.shape}")
    names = {str(number): regions.classes[number] for number in np.unique(ids).tolist() if number in regions.classes}
    text = PngImagePlugin.PngInfo()
    text.add_itxt("classes", to_json(names).decode())
    kept = ids.astype(np.uint8 if ids.max() <= 255 else np.uint16)
    return "png", _saved(Image.fromarray(kept), "PNG", pnginfo=text)


def _decode_regions(data: bytes) -> Regions:
    image = Image.open(io.BytesIO(data))
    ids = np.asarray(image).astype(np.int32)
    return Regions(ids, {int(number): name for number, name in json.loads(image.info["classes"]).items()})


def _encode_captions(captions: tuple[Caption, ...]) -> tuple[str, bytes]:
    return "json", to_json([{"text": caption.text, "origin": caption.origin.value} for caption in captions])


def _decode_captions(data: bytes) -> tuple[Caption, ...]:
    return tuple(Caption(str(one["text"]), Origin(one["origin"])) for one in json.loads(data))


def _encode_palettes(palettes: tuple[ByteArray, ...]) -> tuple[str, bytes]:
    for palette in palettes:
        if palette.dtype != np.uint8 or palette.ndim != 2 or palette.shape[1] != 3 or not 1 <= len(palette) <= 7:
            raise ValueError(f"a palette is uint8 (1 to 7, 3), not {palette.dtype} {palette.shape}")
    return "json", to_json([[f"#{bytes(colour).hex()}" for colour in palette] for palette in palettes])


def _decode_palettes(data: bytes) -> tuple[ByteArray, ...]:
    written: list[list[str]] = json.loads(data)
    return tuple(np.array([list(bytes.fromhex(colour[1:])) for colour in one], np.uint8) for one in written)


def _encode_metadata(metadata: Metadata) -> tuple[str, bytes]:
    return "json", to_json(dict(metadata.values))


def _decode_metadata(data: bytes) -> Metadata:
    return Metadata({name: float(value) for name, value in json.loads(data).items()})


def _encode_boxes(boxes: tuple[LabelledBox, ...]) -> tuple[str, bytes]:
    return "json", to_json([{"box": list(b.box.corners), "label": b.label, "score": b.score} for b in boxes])


def _decode_boxes(data: bytes) -> tuple[LabelledBox, ...]:
    return tuple(LabelledBox(Box(*one["box"]), one["label"], one["score"]) for one in json.loads(data))


def _encode_array(array: npt.NDArray[Any]) -> tuple[str, bytes]:
    if array.dtype.kind not in "fiu":
        raise ValueError(f"an array holds numbers, not {array.dtype}")
    with np.errstate(over="ignore"):
        kept = array if array.dtype.kind in "iu" else array.astype(np.float16)
    if not np.isfinite(kept).all():
        raise ValueError("an array holds numbers that are not finite in float16")
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(kept).reshape(kept.shape), (1, 0), allow_pickle=False)
    return "npy", file.getvalue()


def _decode_array(data: bytes) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    return array


def _check(array: npt.NDArray[Any], dtype: type[np.generic], dimensions: int) -> None:
    shape = "(H, W, 3)" if dimensions == 3 else "(H, W)"
    if array.dtype != dtype or array.ndim != dimensions or not array.size or (dimensions == 3 and array.shape[2] != 3):
        raise ValueError(f"it is {np.dtype(dtype)} {shape}, not {array.dtype} {array.shape}")


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


_GREY = Codec(_encode_grey, _decode_grey)
_REGIONS = Codec(_encode_regions, _decode_regions)
_PICTURE, _DEPTH = Codec(_encode_picture, _decode_picture), Codec(_encode_depth, _decode_depth)
_OF_CONTENT = {Content.PICTURE: _PICTURE, Content.DRAWING: _GREY, Content.DEPTH: _DEPTH}
CODECS: Mapping[str, Codec] = {
    "rgb": _PICTURE,
    "normal": Codec(_encode_normal, _decode_picture),
    "depth": _DEPTH,
    "semseg": _REGIONS,
    "instances": _REGIONS,
    "canny_edge": _GREY,
    "soft_edge": _GREY,
    "line_drawing": _GREY,
    "caption": Codec(_encode_captions, _decode_captions),
    "color_palette": Codec(_encode_palettes, _decode_palettes),
    "metadata": Codec(_encode_metadata, _decode_metadata),
    "bounding_boxes": Codec(_encode_boxes, _decode_boxes),
    "human_pose": Codec(lambda people: ("json", to_json(plain_poses(people))), read_poses),
    "sam_instance": Codec(lambda points: ("json", to_json(plain_instances(points))), read_instances),
    **{name: _OF_CONTENT[modality.content] for name, modality in DECLARED.items()},
}
ARRAYS = Codec(_encode_array, _decode_array)
