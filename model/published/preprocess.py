"""Pictures, depth, normals and label maps as published 4M checkpoints and their tokenizers take them.

The bundled weights see pictures in another way: `model.preprocess`. All functions take and give NumPy arrays.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from model.drawing import ByteArray
from model.embedder import FloatArray

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)

_TRIMMED = 0.1  # share of depth values left out at either end
_SMALLEST_VARIANCE = 1e-6


@dataclass(frozen=True)
class Crop:
    """A rectangle of a picture in pixels; what lies outside the picture is 0."""

    top: int
    left: int
    height: int
    width: int


def centre_crop(height: int, width: int) -> Crop:
    """The largest square in the middle."""
    side = min(height, width)
    return Crop((height - side) // 2, (width - side) // 2, side, side)


def crop_resized(
    picture: ByteArray,
    crop: Crop,
    size: int,
    *,
    flip: bool = False,
    resample: Image.Resampling = Image.Resampling.BICUBIC,
) -> ByteArray:
    """uint8 (H, W[, 3]) -> uint8 (size, size[, 3]), mirrored from left to right with `flip`.

    Bicubic; label maps need `Image.Resampling.NEAREST`.
    """
    box = (crop.left, crop.top, crop.left + crop.width, crop.top + crop.height)
    resized = Image.fromarray(picture).crop(box).resize((size, size), resample)
    if flip:
        resized = resized.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(resized)


def rgb_input(picture: ByteArray, size: int = 224) -> FloatArray:
    """A picture uint8 (H, W, 3) as the 4M network takes it: its centre, float32 (3, size, size), normalised."""
    return normalised(crop_resized(picture, centre_crop(*picture.shape[:2]), size))


def rgb_tokenizer_input(picture: ByteArray, size: int = 224) -> FloatArray:
    """The same for the rgb tokenizer: float32 (3, size, size) in [-1, 1]."""
    return signed(crop_resized(picture, centre_crop(*picture.shape[:2]), size))


def normalised(pixels: ByteArray) -> FloatArray:
    """uint8 (H, W, 3) -> float32 (3, H, W) with ImageNet's mean and deviation taken out."""
    mean, deviation = np.array(IMAGENET_MEAN, np.float32), np.array(IMAGENET_DEVIATION, np.float32)
    return _channels_first((_unit(pixels) - mean) / deviation)


def signed(pixels: ByteArray) -> FloatArray:
    """uint8 (H, W, C) -> float32 (C, H, W) in [-1, 1]."""
    return _channels_first((_unit(pixels) - np.float32(0.5)) / np.float32(0.5))


def flipped_normals(normals: ByteArray) -> ByteArray:
    """Surface normals uint8 (H, W, 3) mirrored from left to right: their first component turns round."""
    mirrored = normals[:, ::-1].copy()
    mirrored[..., 0] = 255 - mirrored[..., 0]
    return mirrored


def standardised_depth(depth: npt.NDArray[np.uint16]) -> FloatArray:
    """Depth uint16 (H, W) -> float32 (1, H, W) without mean and deviation of its middle 80 %."""
    values = depth.astype(np.float32) / np.float32(65535)
    return standardised(values, middle_of(values))[None]


def middle_of(values: FloatArray) -> FloatArray:
    """The middle 80 % of all values, in order: float32 (n,)."""
    ordered = np.sort(values, axis=None)
    return ordered[int(_TRIMMED * ordered.size) : int((1 - _TRIMMED) * ordered.size)]


def standardised(values: FloatArray, middle: FloatArray) -> FloatArray:
    """Values float32 of any shape without the mean and the deviation of `middle`."""
    deviation = np.sqrt(middle.var(ddof=1) + _SMALLEST_VARIANCE)
    return np.asarray((values - middle.mean()) / deviation, np.float32)


def shifted_labels(labels: ByteArray) -> npt.NDArray[np.int64]:
    """Stored class ids uint8 (H, W), 255 for none -> 0 for none and class k as k + 1."""
    return (labels + np.uint8(1)).astype(np.int64)


def _unit(pixels: ByteArray) -> FloatArray:
    return pixels.astype(np.float32) / np.float32(255)


def _channels_first(values: npt.NDArray[np.floating]) -> FloatArray:
    return np.ascontiguousarray(values.astype(np.float32).transpose(2, 0, 1))
