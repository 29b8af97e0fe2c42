"""Render maps, drawings, palettes and boxes as pictures, for an image encoder that was only trained on pictures.

Vectors depend on every pixel of these renderings. If you change one, raise `anyseek.model.encoders.preprocess.VERSION`.
"""

import zlib
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from anyseek.model.modalities.drawings import ByteArray, ink, ink_to_picture
from anyseek.model.modalities.formats.boxes import LabelledBox
from anyseek.model.modalities.formats.color_palette import stripes
from anyseek.model.seam import FloatArray, Regions

UNKNOWN = (128, 128, 128)  # not measured, no class

_LEVELS = 256
_NAMES = 997  # number of class colours
_NEAR, _FAR = (0.93, 0.14, 105.0), (0.22, 0.10, 300.0)  # lightness, chroma and hue in degrees: yellow to violet
_GOLDEN_ANGLE = 137.50776  # neighbouring numbers get hues far apart
_LIGHTNESSES, _CHROMA = (0.72, 0.52, 0.84, 0.62), 0.15

# Oklab to the cube roots of cone responses, and cone responses to linear sRGB.
_TO_CONES = np.array(
    [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
)
_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def ramp(values: npt.NDArray[np.floating[Any]]) -> ByteArray:
    """Numbers in [0, 1], of any shape, from near (light yellow) to far (dark violet): uint8 (..., 3)."""
    steps = np.linspace(0, 1, _LEVELS)
    table = _from_oklch(*(near + (far - near) * steps for near, far in zip(_NEAR, _FAR, strict=True)))
    return cast(ByteArray, table[np.rint(np.clip(values, 0, 1) * (_LEVELS - 1)).astype(np.intp)])


def class_colours(numbers: npt.NDArray[np.integer[Any]]) -> ByteArray:
    """The colour of each class id, the same in every picture: uint8 (n, 3). 0 stands for no class and is grey."""
    lightness = np.array(_LIGHTNESSES, np.float64)[numbers % len(_LIGHTNESSES)]
    colours = _from_oklch(lightness, np.full(len(numbers), _CHROMA), numbers.astype(np.float64) * _GOLDEN_ANGLE)
    colours[numbers == 0] = UNKNOWN
    return colours


def number_of_name(name: str) -> int:
    """The number of a class name for `class_colours`, by CRC-32: from 1, the same in every process."""
    return 1 + zlib.crc32(name.encode()) % _NAMES


def principal_component_colours(features: npt.NDArray[np.floating[Any]]) -> ByteArray:
    """A feature map (C, h, w) as a picture: its first three principal components as red, green and blue, each from
    its 1st to its 99th percentile: uint8 (h, w, 3).

    A map of fewer than three different directions leaves the rest at middle grey.
    """
    rows = features.reshape(len(features), -1).T.astype(np.float64)
    centred = rows - rows.mean(axis=0)
    left, lengths, _ = np.linalg.svd(centred, full_matrices=False)
    scores = np.zeros((len(rows), 3))
    known = min(3, int((lengths > 1e-6 * max(lengths[0], 1e-12)).sum()))
    # The sign of a component is arbitrary, so its largest score is made positive.
    largest = left[np.abs(left[:, :known]).argmax(axis=0), np.arange(known)]
    scores[:, :known] = left[:, :known] * np.where(largest < 0, -1.0, 1.0)
    low, high = np.percentile(scores, (1, 99), axis=0)
    flat = high - low < 1e-12
    unit = np.where(flat, 0.5, (scores - low) / np.where(flat, 1, high - low))
    # (h * w, 3) -> (h, w, 3)
    pixels: ByteArray = np.rint(np.clip(unit, 0, 1) * 255).astype(np.uint8)
    return pixels.reshape(*features.shape[1:], 3)


def _from_oklch(
    lightness: npt.NDArray[np.float64], chroma: npt.NDArray[np.float64], hue: npt.NDArray[np.float64]
) -> ByteArray:
    """Lightness in [0, 1], chroma, hue in degrees, each (n,), to the nearest sRGB: uint8 (n, 3)."""
    angle = np.deg2rad(hue)
    lab = np.stack([lightness, chroma * np.cos(angle), chroma * np.sin(angle)], axis=-1)
    linear = np.clip((lab @ _TO_CONES.T) ** 3 @ _TO_RGB.T, 0, 1)
    gamma = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    colours: ByteArray = np.rint(gamma * 255).astype(np.uint8)
    return colours


SIDE = 224  # pixels, the input size of the bundled image encoder
_LINE = 4
_UNMEASURED, _FAR_GREY, _NEAR_GREY = 0, 40, 255


def render_colours(picture: ByteArray) -> ByteArray:
    """Pictures and normals, unchanged."""
    return picture.astype(np.uint8)


def render_drawing(drawing: ByteArray) -> ByteArray:
    """Black ink on white paper: uint8 (H, W) of any polarity -> uint8 (H, W, 3)."""
    return ink_to_picture(ink(drawing.astype(np.uint8)))


def render_depth(depth: FloatArray) -> ByteArray:
    """Near is bright, far is dark, what was not measured is black: float32 (H, W) -> uint8 (H, W, 3)."""
    depth = depth.astype(np.float32)
    known = np.isfinite(depth)
    grey = np.full(depth.shape, _UNMEASURED, np.uint8)
    if known.any():
        near, far = np.percentile(depth[known], (1, 99))
        share = np.clip((depth[known] - near) / max(float(far - near), 1e-6), 0, 1)
        grey[known] = np.rint(_NEAR_GREY - share * (_NEAR_GREY - _FAR_GREY)).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def render_regions(regions: Regions) -> ByteArray:
    """A fixed colour for each class name, and for each id that has none: uint8 (H, W, 3)."""
    classes = regions.classes
    ids, where = np.unique(regions.ids, return_inverse=True)
    numbers = [number_of_name(classes[number]) if number in classes else number for number in ids.tolist()]
    picture: ByteArray = class_colours(np.array(numbers))[where.reshape(regions.ids.shape)]
    return picture


def render_palette(palette: ByteArray) -> ByteArray | None:
    """Vertical stripes: uint8 (224, 224, 3); None for a palette without colours, which models may predict."""
    return stripes(palette.astype(np.uint8), SIDE) if len(palette) else None


def render_boxes(boxes: Sequence[LabelledBox]) -> ByteArray:
    """Outlines on white, a colour for each class name: uint8 (224, 224, 3)."""
    image = Image.new("RGB", (SIDE, SIDE), (255, 255, 255))
    pen = ImageDraw.Draw(image)
    for labelled in boxes:
        left, right = sorted((labelled.box.xmin, labelled.box.xmax))
        top, bottom = sorted((labelled.box.ymin, labelled.box.ymax))
        red, green, blue = class_colours(np.array([number_of_name(labelled.label)]))[0].tolist()
        corners = [edge * (SIDE - 1) for edge in (left, top, right, bottom)]
        pen.rectangle(corners, outline=(red, green, blue), width=_LINE)
    return np.asarray(image)
