"""Maps, drawings, palettes and boxes rendered as pictures, for an image encoder that has only ever seen pictures."""

import zlib
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from model.drawing import ByteArray, ink, ink_as_picture
from model.embedder import FloatArray, Regions, Value
from model.formats.boxes import LabelledBox
from model.formats.color_palette import stripes
from model.modality import Content, resolve
from model.rendering.colours import class_colours

_SIDE = 224
_LINE = 4
_UNMEASURED, _FAR, _NEAR = 0, 40, 255
_NAMES = 997  # colours that names are dealt out to


def as_picture(modality: str, value: Value) -> ByteArray | None:
    """What a value of `modality` looks like: uint8 (H, W, 3).

    None for what has no look: words, numbers, vectors, a palette without a colour as models may predict it.
    """
    content = resolve(modality).content
    match value:
        case np.ndarray() if content in (Content.PICTURE, Content.NORMAL):
            return value.astype(np.uint8)
        case np.ndarray() if content is Content.DRAWING:
            return ink_as_picture(ink(value.astype(np.uint8)))
        case np.ndarray() if content is Content.DEPTH:
            return _depth(value.astype(np.float32))
        case np.ndarray() if content is Content.PALETTE and len(value):
            return stripes(value.astype(np.uint8), _SIDE)
        case Regions():
            return _regions(value)
        case tuple() if content is Content.BOXES:
            return _boxes([one for one in value if isinstance(one, LabelledBox)])
    return None


def _depth(depth: FloatArray) -> ByteArray:
    """Near is bright, far is dark, what was not measured is black: float32 (H, W) -> uint8 (H, W, 3)."""
    known = np.isfinite(depth)
    grey = np.full(depth.shape, _UNMEASURED, np.uint8)
    if known.any():
        near, far = np.percentile(depth[known], (1, 99))
        share = np.clip((depth[known] - near) / max(float(far - near), 1e-6), 0, 1)
        grey[known] = np.rint(_NEAR - share * (_NEAR - _FAR)).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def _regions(regions: Regions) -> ByteArray:
    """A fixed colour for each class name, and for each id that has none: uint8 (H, W, 3)."""
    ids, where = np.unique(regions.ids, return_inverse=True)
    numbers = [_number(regions.classes[int(one)]) if int(one) in regions.classes else int(one) for one in ids]
    picture: ByteArray = class_colours(np.array(numbers))[where.reshape(regions.ids.shape)]
    return picture


def _boxes(boxes: Sequence[LabelledBox]) -> ByteArray:
    """Outlines on white, a colour for each class name: uint8 (224, 224, 3)."""
    image = Image.new("RGB", (_SIDE, _SIDE), (255, 255, 255))
    pen = ImageDraw.Draw(image)
    for one in boxes:
        left, right = sorted((one.box.xmin, one.box.xmax))
        top, bottom = sorted((one.box.ymin, one.box.ymax))
        red, green, blue = class_colours(np.array([_number(one.label)]))[0].tolist()
        corners = [edge * (_SIDE - 1) for edge in (left, top, right, bottom)]
        pen.rectangle(corners, outline=(red, green, blue), width=_LINE)
    return np.asarray(image)


def _number(name: str) -> int:
    """The same number for a name in every process, never 0."""
    return 1 + zlib.crc32(name.encode()) % _NAMES
