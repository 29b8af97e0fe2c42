"""Files of every modality, whole and damaged, wherever a file may be sent."""

import io
import json
from collections.abc import Callable
from functools import cache
from random import Random

import numpy as np
from PIL import Image

from tests.fuzz import values
from tests.fuzz.forms import Field, form
from tests.fuzz.sent import JSON, Sent

_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "ICO", "PPM", "TGA", "DDS", "ICNS", "JPEG2000")
_MODES = ("RGB", "L", "P", "1", "RGBA", "CMYK", "I;16", "F", "LA")
_DTYPES = ("float32", "float64", "uint8", "int64", "bool", "complex64", "float16", "U3")
_SHAPES = ((24, 32), (0, 4), (), (3,), (2, 2, 2), (1, 20_000), (768, 14, 14), (1024,))
_DOCUMENTS = (
    [{"label": "dog", "box": [0.1, 0.1, 0.5, 0.5], "score": 0.5}],
    {"brightness": 0.5, "colorfulness": 1.0},
    [{"box": [0, 0, 1, 1], "pose": [0.1] * 63, "shape": [0.1] * 10}],
    [{"point": [3, 4], "polygon": [[1, 1], [2, 2], [1, 3]]}],
    {"version": 1, "items": [1, 2, 3]},
)
_MAPS = (
    "rgb", "sketch", "depth", "normal", "semseg", "sam_edge", "clip", "dinov2_global", "t5_caption",
    "bounding_boxes", "human_pose", "metadata", "sam_instance", "caption", "color_palette", "imagebind",
)  # fmt: skip


@cache
def _picture(format_name: str, mode: str) -> bytes | None:
    """A small picture, or None where the format has no such mode."""
    pixels = np.random.default_rng(0).integers(0, 255, (24, 32, 3)).astype(np.uint8)
    file = io.BytesIO()
    try:
        Image.fromarray(pixels).convert("I" if mode == "I;16" else mode).convert(mode).save(file, format_name)
    except (OSError, ValueError, KeyError, SystemError):
        return None
    return file.getvalue()


def _array(random: Random) -> bytes:
    file = io.BytesIO()
    with np.errstate(all="ignore"):
        wanted = np.zeros(random.choice(_SHAPES), random.choice(_DTYPES))
    np.save(file, wanted)
    return file.getvalue()


def _document(random: Random) -> bytes:
    return values.as_json(values.replaced(random, random.choice(_DOCUMENTS)))


def _drawn(random: Random) -> bytes:
    return _picture(random.choice(_FORMATS), random.choice(_MODES)) or _picture("PNG", "RGB") or b""


_KINDS: tuple[Callable[[Random], bytes], ...] = (_drawn, _drawn, _drawn, _array, _document)


def _fitting(modality: str) -> Callable[[Random], bytes]:
    """What makes files of a modality."""
    if modality in ("bounding_boxes", "human_pose", "metadata", "sam_instance"):
        return _document
    return _array if modality in ("clip", "dinov2_global", "t5_caption", "imagebind") else _drawn


def content(random: Random, modality: str = "rgb") -> bytes:
    """The bytes of one file, mostly one of the modality, and mostly damaged."""
    kind = _fitting(modality) if random.random() < 0.8 else random.choice(_KINDS)
    return values.damaged(random, kind(random)) if random.random() < 0.7 else kind(random)


def make(random: Random) -> Sent:
    """A query, an item, a preview or a prediction with one file."""
    modality = random.choice(_MAPS)
    data = content(random, modality)
    classes = json.dumps(values.replaced(random, {"0": "sky", "1": "dog"}))
    fields = [Field(modality, data, random.choice(("a.png", "a.npy", values.text(random))))]
    if random.random() < 0.2:
        fields.append(Field("classes", classes.encode()))
    where = random.randrange(5)
    if where == 0:
        return _put(random, fields)
    if where == 1:
        return form("POST", "/v1/collections/a/query", fields)
    if where == 2:
        body = {"parts": [{"modality": modality, "data": values.base64_of(data)}]}
        return Sent("POST", "/v1/collections/a/query", values.as_json(body), JSON)
    if where == 3:
        return form("POST", "/v1/predict", [*fields, Field("targets", b"depth")])
    preview = {"modality": modality, "data": values.base64_of(data), "shaded": random.random() < 0.3}
    if random.random() < 0.3:
        preview["picture"] = values.base64_of(content(random))
    return Sent("POST", "/v1/previews", values.as_json(preview), JSON)


def _put(random: Random, fields: list[Field]) -> Sent:
    """An item of words or of pictures, whose model may predict its attributes."""
    if random.random() < 0.6:
        return form("PUT", f"/v1/collections/a/items/{values.quoted(random.choice(values.KEYS))}", fields)
    predicts = Field("predict_attributes", random.choice((b"true", b"true", b"false", b"yes")))
    return form("PUT", f"/v1/collections/b/items/{values.quoted(random.choice(values.PICTURES))}", [*fields, predicts])
