"""Conversion of modality values to the inputs of tokenizers and networks, one `Pixels` per content.

Image-like values are cropped to their central square and resized: float32 (channels, size, size).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from anyseek.model.fourm.images import (
    ToImage,
    centre_crop,
    crop_and_resize,
    depth_image,
    label_image,
    rgb_input,
    to_signed,
)
from anyseek.model.modalities import coco
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.formats.spans import FormatInvalid
from anyseek.model.modalities.registry import DATA_FIELDS, MODALITIES, Content, field_content
from anyseek.model.network.config import ConfigInvalid
from anyseek.model.seam import FloatArray, Regions
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.vqvae import is_mlp

Array = npt.NDArray[Any]

_COCO_LABELS = len(coco.CLASSES) + 1  # labels of published segmentation maps, including 0 for none
_MAX_LABELS = 256
_MASK_FIELD = "instances"
_TRIM_SHARE = 0.1  # share of measured depths excluded at either end
_MIN_DEVIATION = 1e-3


class InputKind(StrEnum):
    """Kind of value that a tokenizer encodes and decodes."""

    PICTURE = "picture"  # float32 (C, size, size)
    LABELS = "labels"  # int64 (size, size)
    MASK = "mask"  # cropped mask of one instance: float32 (1, size, size) of 0 and 1
    MAP = "map"  # an array (rows, columns, channels), as float32 (channels, rows, columns)
    VECTOR = "vector"  # an array (C,): float32


@dataclass(frozen=True)
class Pixels:
    """Pixel representation of a content: `channels`, and functions from a value to float32 (channels, size, size).

    `tokenizer` returns the input of tokenizers, `network` the input of networks that embed pixel patches directly.
    """

    channels: int
    tokenizer: ToImage
    network: ToImage


def pixels_of(field: str) -> Pixels | None:
    """Pixel representation of a data set field; None for a field without pixels or that is not a modality."""
    if field in _PUBLISHED_PIXELS:
        return _PUBLISHED_PIXELS[field]
    content = field_content(field)
    return None if content is None else PIXELS.get(content)


def pixel_fields() -> dict[str, int]:
    """Number of channels of each field that has pixels."""
    representations = {field: pixels_of(field) for field in (*MODALITIES, *DATA_FIELDS)}
    return {field: pixels.channels for field, pixels in representations.items() if pixels is not None}


def signed_image(picture: ByteArray, size: int) -> FloatArray:
    """Cropped and scaled picture: uint8 (H, W) or (H, W, 3) -> float32 (1 or 3, size, size) in [-1, 1]."""
    resized = crop_and_resize(picture, centre_crop(*picture.shape[:2]), size)
    return to_signed(resized if resized.ndim == 3 else resized[..., None])


def standardised_depth(depth: FloatArray, size: int) -> FloatArray:
    """Standardised depth: float32 (H, W), NaN if not measured -> float32 (1, size, size), 0 if not measured.

    Standardised by mean and deviation of the middle 80 %, so that the unit does not matter.
    """
    crop = centre_crop(*depth.shape)
    offsets = ((np.arange(size) + 0.5) * crop.height / size).astype(np.int64)
    nearest = depth[crop.top + offsets[:, None], crop.left + offsets[None, :]]
    measured = np.sort(nearest[np.isfinite(nearest)])
    middle = measured[int(_TRIM_SHARE * measured.size) : max(int((1 - _TRIM_SHARE) * measured.size), 1)]
    if not middle.size:
        return np.zeros((1, size, size), np.float32)
    scaled = (nearest - middle.mean()) / max(float(middle.std()), _MIN_DEVIATION * abs(float(middle.mean())), 1e-6)
    return np.asarray(np.nan_to_num(scaled, nan=0.0)[None], np.float32)


def input_kind(field: str, config: TokenizerConfig) -> InputKind:
    """Input kind of a field for a tokenizer. Raises `ConfigInvalid` for a field that the tokenizer cannot encode."""
    if is_mlp(config.enc_type):
        return InputKind.VECTOR
    if config.n_labels is not None:
        if config.n_labels > _MAX_LABELS:
            raise ConfigInvalid(f"a tokenizer has at most {_MAX_LABELS} labels, not {config.n_labels}")
        return InputKind.LABELS
    if not config.patch_proj:
        return InputKind.MAP
    if field == _MASK_FIELD and config.n_channels == 1:
        return InputKind.MASK
    channels = pixel_fields()
    if channels.get(field) == config.n_channels:
        return InputKind.PICTURE
    known = ", ".join(f"{name} ({count})" for name, count in {**channels, _MASK_FIELD: 1}.items())
    raise ConfigInvalid(f"a tokenizer of {config.n_channels} channels does not take {field!r}; {known} are pictures")


def tokenizer_input(field: str, value: Any, config: TokenizerConfig, size: int) -> Array:
    """Tokenizer input of one value, without a batch axis: see `InputKind`; for masks use `instance_mask`.

    `size` is the side of pictures and labels in pixels. Raises `FormatInvalid` for a value that does not fit.
    """
    kind = input_kind(field, config)
    if kind is InputKind.VECTOR:
        return _array(value, (config.n_channels,))
    if kind is InputKind.MAP:
        return _array(value, (None, None, config.n_channels)).transpose(2, 0, 1)
    if kind is InputKind.LABELS:
        # COCO labels if the tokenizer has as many labels as COCO, else ids unchanged.
        if config.n_labels == _COCO_LABELS:
            return label_image(value, size)
        labels = config.n_labels or 0
        if value.ids.max() >= labels:
            raise FormatInvalid(
                f"a tokenizer of {labels} labels takes ids from 0 to {labels - 1}, not {value.ids.max()}"
            )
        ids = value.ids.astype(np.uint8)
        central = crop_and_resize(ids, centre_crop(*ids.shape), size, resample=Image.Resampling.NEAREST)
        return central.astype(np.int64)
    pixels = pixels_of(field)
    assert pixels is not None, "`input_kind` rejects every other field"
    return np.asarray(pixels.tokenizer(value, size))


def instance_mask(regions: Regions, number: int, size: int) -> FloatArray:
    """Mask of instance `number`, its bounding box stretched to a square: float32 (1, size, size) of 0 and 1."""
    rows, columns = np.nonzero(regions.ids == number)
    left, top, right, bottom = int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1
    mask = Image.fromarray((regions.ids == number).astype(np.uint8))
    resized = mask.crop((left, top, right, bottom)).resize((size, size), Image.Resampling.NEAREST)
    return np.asarray(resized, np.float32)[None]


def instance_numbers(regions: Regions) -> list[int]:
    """Instance numbers, without 0, which means no instance."""
    return [int(number) for number in np.unique(regions.ids) if number]


def _array(value: Any, shape: tuple[int | None, ...]) -> FloatArray:
    array = np.asarray(value)
    expected = tuple(actual if size is None else size for actual, size in zip(array.shape, shape, strict=False))
    if array.ndim != len(shape) or array.shape != expected:
        raise FormatInvalid(f"an array for this tokenizer has the shape {shape}, not {array.shape}")
    return array.astype(np.float32)


# Other contents have no pixels, or, like label maps, are not encoded as pixels.
PIXELS: Mapping[Content, Pixels] = {
    Content.PICTURE: Pixels(3, signed_image, signed_image),
    Content.DRAWING: Pixels(1, signed_image, signed_image),
    Content.DEPTH: Pixels(1, depth_image, standardised_depth),
    Content.NORMAL: Pixels(3, signed_image, signed_image),
}
# Networks take `rgb` pictures standardised by ImageNet's mean and deviation, like the published ones in training.
_PUBLISHED_PIXELS = {"rgb": Pixels(3, signed_image, rgb_input)}
