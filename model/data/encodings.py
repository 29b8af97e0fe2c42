"""Encoding of values as files of shards, and decoding. NumPy and Pillow only.

Pictures are stored as PNG, or as JPEG of quality 95 if that is smaller. Everything else is stored losslessly, except
float arrays, which become float16, and depth, which is rounded to 65,535 steps. The same value always gives the same
bytes. `anyseek.model.data.contents` turns the errors of these functions for invalid values and damaged bytes into
`SampleInvalid`.
"""

import io
import json
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin

from anyseek.model.data.errors import SampleInvalid
from anyseek.model.data.samples import Caption, Origin
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.reading.documents import palette_from_json, palette_to_json
from anyseek.model.modalities.reading.jpeg_scans import JPEGS, MAX_SCANS, read_scans
from anyseek.model.seam import FloatArray, Regions

_STEPS = 65535
_FORMATS = ("PNG", "JPEG", "WEBP")  # of shards; other decoders raise other errors


def to_json(value: Any) -> bytes:
    """JSON in UTF-8, always the same bytes for the same value. Raises `SampleInvalid` for what JSON cannot hold."""
    try:
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise SampleInvalid(f"{value!r:.80} cannot be written as JSON: {error}") from error


def encode_picture(picture: ByteArray) -> tuple[str, bytes]:
    """A PNG of uint8 (H, W, 3), or a JPEG of quality 95 if that is smaller."""
    _check(picture, np.uint8, 3)
    image = Image.fromarray(picture)
    png, jpeg = _save_image(image, "PNG"), _save_image(image, "JPEG", quality=95, subsampling=0)
    return ("png", png) if len(png) <= len(jpeg) else ("jpg", jpeg)


def decode_picture(data: bytes) -> ByteArray:
    """A PNG or JPEG: uint8 (H, W, 3)."""
    return np.asarray(_open_image(data).convert("RGB"))


def encode_normal(normal: ByteArray) -> tuple[str, bytes]:
    """A PNG of uint8 (H, W, 3)."""
    _check(normal, np.uint8, 3)
    return "png", _save_image(Image.fromarray(normal), "PNG")


def encode_drawing(drawing: ByteArray) -> tuple[str, bytes]:
    """A PNG of uint8 (H, W), with one bit per pixel if that is enough."""
    _check(drawing, np.uint8, 2)
    image = Image.fromarray(drawing)
    two_valued = bool(np.isin(drawing, (0, 255)).all())
    return "png", _save_image(image.convert("1") if two_valued else image, "PNG")


def decode_drawing(data: bytes) -> ByteArray:
    """A PNG: uint8 (H, W)."""
    return np.asarray(_open_image(data).convert("L"))


def encode_depth(depth: FloatArray) -> tuple[str, bytes]:
    """A 16-bit PNG of float32 (H, W) in steps of `scale`, which is in the PNG's text; 0 is unmeasured."""
    _check(depth, np.float32, 2)
    measured = np.isfinite(depth)
    if (depth[measured] <= 0).any():
        raise ValueError("a depth is 0 or negative; write NaN for pixels that were not measured")
    farthest = float(depth[measured].max()) if measured.any() else float(_STEPS)
    scale = farthest / _STEPS
    steps = np.clip(np.rint(np.where(measured, depth, scale) / np.float64(scale)), 1, _STEPS)
    text = PngImagePlugin.PngInfo()
    text.add_text("scale", repr(scale))
    return "png", _save_image(Image.fromarray((steps * measured).astype(np.uint16)), "PNG", pnginfo=text)


def decode_depth(data: bytes) -> FloatArray:
    """float32 (H, W), NaN for unmeasured pixels."""
    image = _open_image(data)
    steps = np.asarray(image).astype(np.float64)
    scale = float(image.info["scale"])
    return np.where(steps > 0, steps * scale, np.nan).astype(np.float32)


def encode_regions(regions: Regions) -> tuple[str, bytes]:
    """An 8-bit PNG if the ids fit, else 16 bits; the names of the ids present are in the PNG's text."""
    ids = regions.ids
    if ids.ndim != 2 or ids.dtype.kind not in "iu" or not ids.size or ids.min() < 0 or ids.max() > _STEPS:
        raise ValueError(f"ids are whole numbers (H, W) from 0 to {_STEPS}, not {ids.dtype} {ids.shape}")
    names = {str(number): regions.classes[number] for number in np.unique(ids).tolist() if number in regions.classes}
    text = PngImagePlugin.PngInfo()
    text.add_itxt("classes", to_json(names).decode())
    compact = ids.astype(np.uint8 if ids.max() <= 255 else np.uint16)
    return "png", _save_image(Image.fromarray(compact), "PNG", pnginfo=text)


def decode_regions(data: bytes) -> Regions:
    """Ids int32 (H, W) with the names of the ids present."""
    image = _open_image(data)
    ids = np.asarray(image).astype(np.int32)
    return Regions(ids, {int(number): name for number, name in json.loads(image.info["classes"]).items()})


def encode_captions(captions: tuple[Caption, ...]) -> tuple[str, bytes]:
    """JSON of the texts with their origins."""
    return "json", to_json([{"text": caption.text, "origin": caption.origin.value} for caption in captions])


def decode_captions(data: bytes) -> tuple[Caption, ...]:
    """The captions in the JSON of `encode_captions`."""
    return tuple(Caption(str(caption["text"]), Origin(caption["origin"])) for caption in json.loads(data))


def encode_palettes(palettes: tuple[ByteArray, ...]) -> tuple[str, bytes]:
    """JSON of lists of #rrggbb; palettes are uint8 (1 to 7, 3)."""
    for palette in palettes:
        if palette.dtype != np.uint8 or palette.ndim != 2 or palette.shape[1] != 3 or not 1 <= len(palette) <= 7:
            raise ValueError(f"a palette is uint8 (1 to 7, 3), not {palette.dtype} {palette.shape}")
    return "json", to_json([palette_to_json(palette) for palette in palettes])


def decode_palettes(data: bytes) -> tuple[ByteArray, ...]:
    """Palettes uint8 (n, 3)."""
    return tuple(palette_from_json(colours, "a palette") for colours in json.loads(data))


def encode_array(array: npt.NDArray[Any]) -> tuple[str, bytes]:
    """An NPY of floats as float16, of integers unchanged."""
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise ValueError(f"an array holds numbers, not {getattr(array, 'dtype', type(array).__name__)}")
    with np.errstate(over="ignore"):
        stored = array if array.dtype.kind in "iu" else array.astype(np.float16)
    if not np.isfinite(stored).all():
        raise ValueError("an array holds numbers that are not finite in float16")
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(stored).reshape(stored.shape), (1, 0), allow_pickle=False)
    return "npy", file.getvalue()


def decode_array(data: bytes) -> npt.NDArray[Any]:
    """The array in an NPY."""
    array: npt.NDArray[Any] = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    return array


def _open_image(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=_FORMATS)
    if image.format in JPEGS and read_scans(data).count > MAX_SCANS:
        raise ValueError(f"it is a JPEG of more than {MAX_SCANS} scans")
    return image


def _check(array: npt.NDArray[Any], dtype: type[np.generic], dimensions: int) -> None:
    shape = "(H, W, 3)" if dimensions == 3 else "(H, W)"
    if array.dtype != dtype or array.ndim != dimensions or not array.size or (dimensions == 3 and array.shape[2] != 3):
        raise ValueError(f"it must be {np.dtype(dtype)} {shape}, not {array.dtype} {array.shape}")


def _save_image(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
