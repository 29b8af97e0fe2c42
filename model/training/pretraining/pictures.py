"""Pictures of all kinds as the pixel tensors of a network: their centre, resized, float32 (channels, size, size)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.drawing import ByteArray
from model.embedder import FloatArray
from model.modality import DECLARED, Content
from model.published.preprocess import centre_crop, crop_resized, rgb_input, signed

_TRIMMED = 0.1  # share of measured depths left out at either end
_SMALLEST_DEVIATION = 1e-3


@dataclass(frozen=True)
class PictureKind:
    """`channels` of the tensor, and the function from a decoded value and a size to it."""

    channels: int
    tensor: Callable[[Any, int], FloatArray]


def signed_input(picture: ByteArray, size: int) -> FloatArray:
    """uint8 (H, W) or (H, W, 3) -> float32 (1 or 3, size, size) in [-1, 1]."""
    resized = crop_resized(picture, centre_crop(*picture.shape[:2]), size)
    return signed(resized if resized.ndim == 3 else resized[..., None])


def depth_input(depth: FloatArray, size: int) -> FloatArray:
    """float32 (H, W), NaN where not measured -> float32 (1, size, size).

    Mean and deviation of the middle 80 % are taken out, so that the unit does not matter; what was not measured is 0.
    """
    crop = centre_crop(*depth.shape)
    places = ((np.arange(size) + 0.5) * crop.height / size).astype(np.int64)
    nearest = depth[crop.top + places[:, None], crop.left + places[None, :]]
    measured = np.sort(nearest[np.isfinite(nearest)])
    middle = measured[int(_TRIMMED * measured.size) : max(int((1 - _TRIMMED) * measured.size), 1)]
    if not middle.size:
        return np.zeros((1, size, size), np.float32)
    scaled = (nearest - middle.mean()) / max(float(middle.std()), _SMALLEST_DEVIATION * abs(float(middle.mean())), 1e-6)
    return np.asarray(np.nan_to_num(scaled, nan=0.0)[None], np.float32)


_OF_CONTENT = {
    Content.PICTURE: PictureKind(3, signed_input),
    Content.DRAWING: PictureKind(1, signed_input),
    Content.DEPTH: PictureKind(1, depth_input),
}
# By the name that the modality has in shards.
PICTURES: Mapping[str, PictureKind] = {
    "rgb": PictureKind(3, rgb_input),
    "normal": PictureKind(3, signed_input),
    "depth": PictureKind(1, depth_input),
    "canny_edge": PictureKind(1, signed_input),
    "soft_edge": PictureKind(1, signed_input),
    **{name: _OF_CONTENT[modality.content] for name, modality in DECLARED.items()},
}
