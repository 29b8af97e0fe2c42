"""Preprocess pictures for an open_clip model, by its own configuration. Uses NumPy and Pillow only.

The result equals open_clip's transform bit for bit, without torchvision. `VERSION` is part of every fingerprint: raise
it whenever a value changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from anyseek.model.modalities.drawings import ByteArray, enlarged, ink, ink_as_picture, square
from anyseek.model.seam import FloatArray

VERSION = "1"

_LONGEST_SHAPE = 32  # times as long as wide: of what is cropped anyway, more would only fill the memory
_RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
RESIZE_MODES = ("shortest", "longest", "squash")

Channels = tuple[float, float, float]


@dataclass(frozen=True)
class Preprocessing:
    """open_clip's `PreprocessCfg`: how any picture becomes one of `height` x `width`.

    `resize_mode` is `shortest` (the shorter side fits, the rest is cropped), `longest` (the longer side fits, the rest
    is `fill`) or `squash`.
    """

    height: int
    width: int
    mean: Channels
    deviation: Channels
    interpolation: str
    resize_mode: str
    fill: int

    @classmethod
    def from_config(cls, values: Mapping[str, Any]) -> "Preprocessing":
        """From the `preprocess_cfg` that open_clip keeps with a model. Raises `ValueError`."""
        size = values["size"]
        height, width = (size, size) if isinstance(size, int) else size
        interpolation = "bicubic" if values["interpolation"] == "random" else values["interpolation"]
        if interpolation not in _RESAMPLING:
            raise ValueError(f"the interpolation {interpolation!r} is unknown; known are {', '.join(_RESAMPLING)}")
        if values["resize_mode"] not in RESIZE_MODES:
            raise ValueError(
                f"the resize mode {values['resize_mode']!r} is unknown; known are {', '.join(RESIZE_MODES)}"
            )
        mean, deviation = _channels(values["mean"]), _channels(values["std"])
        return cls(height, width, mean, deviation, interpolation, values["resize_mode"], values["fill_color"])


def picture_input(picture: ByteArray, how: Preprocessing) -> FloatArray:
    """uint8 (H, W, 3) of any size -> float32 (3, height, width)."""
    pixels = _fitted(_resized(picture, how), how).astype(np.float32) / np.float32(255)
    normalised = (pixels - np.array(how.mean, np.float32)) / np.array(how.deviation, np.float32)
    return np.ascontiguousarray(normalised.transpose(2, 0, 1))


def drawing_input(drawing: ByteArray, how: Preprocessing) -> FloatArray:
    """A drawing uint8 (H, W) of any polarity, as black ink on white paper that nothing is cropped from."""
    sheet = square(ink_as_picture(enlarged(ink(drawing))), max(how.height, how.width), 255)
    return picture_input(sheet, how)


def _channels(value: float | list[float] | tuple[float, ...]) -> Channels:
    """One number for all three channels, or three."""
    red, green, blue = (value, value, value) if isinstance(value, int | float) else value
    return float(red), float(green), float(blue)


def _resized(picture: ByteArray, how: Preprocessing) -> ByteArray:
    """Scaled as `resize_mode` says; not cropped or padded yet."""
    resample = _RESAMPLING[how.interpolation]
    if how.resize_mode == "squash":
        height, width = how.height, how.width
    elif how.resize_mode == "longest":
        height, width = _at_ratio(picture, max(picture.shape[0] / how.height, picture.shape[1] / how.width))
    elif how.height == how.width:
        picture = _without_excess(picture)
        height, width = _shorter_side_at(picture, how.height)
    else:
        picture = _without_excess(picture)
        height, width = _at_ratio(picture, min(picture.shape[0] / how.height, picture.shape[1] / how.width))
        resample = Image.Resampling.BICUBIC  # whatever the configuration says: so does open_clip
    return np.asarray(Image.fromarray(picture).resize((width, height), resample))


def _at_ratio(picture: ByteArray, ratio: float) -> tuple[int, int]:
    height, width = picture.shape[:2]
    return max(round(height / ratio), 1), max(round(width / ratio), 1)


def _shorter_side_at(picture: ByteArray, side: int) -> tuple[int, int]:
    """torchvision's rule, which rounds the longer side down."""
    height, width = picture.shape[:2]
    return (int(side * height / width), side) if width <= height else (side, int(side * width / height))


def _without_excess(picture: ByteArray) -> ByteArray:
    """The middle of a picture more than 32 times as long as wide; any other one as it is."""
    most = _LONGEST_SHAPE * min(picture.shape[:2])
    top, left = (max(side - most, 0) // 2 for side in picture.shape[:2])
    return picture[top : top + most, left : left + most]


def _fitted(picture: ByteArray, how: Preprocessing) -> ByteArray:
    """The middle of (H, W, 3) at height x width, with `fill` on both sides where it is smaller."""
    missing = [max(wanted - side, 0) for wanted, side in zip((how.height, how.width), picture.shape[:2], strict=True)]
    around = [(side // 2, (side + 1) // 2) for side in missing]
    padded = np.pad(picture, [*around, (0, 0)], constant_values=how.fill)
    top, left = round((padded.shape[0] - how.height) / 2), round((padded.shape[1] - how.width) / 2)
    return padded[top : top + how.height, left : left + how.width]
