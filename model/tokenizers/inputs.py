"""A value of a modality as what a tokenizer of any make takes. The same for training, labelling and predicting."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from model.config import ConfigInvalid
from model.drawing import ByteArray
from model.embedder import FloatArray, Regions
from model.formats.spans import FormatInvalid
from model.published import coco
from model.published.images import ToImage, depth_image, label_image
from model.published.preprocess import centre_crop, crop_resized, rgb_tokenizer_input, signed
from model.tokenizers.config import TokenizerConfig
from model.tokenizers.mlp import is_mlp

Array = npt.NDArray[Any]

_COCO = len(coco.CLASSES) + 1  # labels of published segmentation maps, none among them
_MOST_LABELS = 256
_MASKS = "instances"


class InputKind(StrEnum):
    """What a tokenizer takes, and so what it gives back."""

    PICTURE = "picture"  # float32 (C, size, size)
    LABELS = "labels"  # int64 (size, size)
    MASK = "mask"  # one instance of a picture, cut out: float32 (1, size, size) of 0 and 1
    MAP = "map"  # an array (rows, columns, channels), as float32 (channels, rows, columns)
    VECTOR = "vector"  # an array (C,): float32


def drawing_image(drawing: ByteArray, size: int) -> FloatArray:
    """A drawing uint8 (H, W), light on dark -> float32 (1, size, size) in [-1, 1]."""
    return signed(crop_resized(drawing, centre_crop(*drawing.shape), size)[..., None])


DRAWINGS = ("canny_edge", "soft_edge", "line_drawing")

# Channels and image of each modality that is a picture, by the name that it has in shards.
_PICTURES: Mapping[str, tuple[int, ToImage]] = {
    "rgb": (3, rgb_tokenizer_input),
    "normal": (3, rgb_tokenizer_input),
    "depth": (1, depth_image),
    **dict.fromkeys(DRAWINGS, (1, drawing_image)),
}


def input_kind(field: str, config: TokenizerConfig) -> InputKind:
    """What a tokenizer makes of a field. Raises `ConfigInvalid` where it can make nothing of it."""
    if is_mlp(config.enc_type):
        return InputKind.VECTOR
    if config.n_labels is not None:
        if config.n_labels > _MOST_LABELS:
            raise ConfigInvalid(f"a tokenizer has at most {_MOST_LABELS} labels, not {config.n_labels}")
        return InputKind.LABELS
    if not config.patch_proj:
        return InputKind.MAP
    if field == _MASKS and config.n_channels == 1:
        return InputKind.MASK
    if field in _PICTURES and _PICTURES[field][0] == config.n_channels:
        return InputKind.PICTURE
    known = ", ".join([f"{name} ({channels})" for name, (channels, _) in _PICTURES.items()] + [f"{_MASKS} (1)"])
    raise ConfigInvalid(f"a tokenizer of {config.n_channels} channels does not take {field!r}; {known} are pictures")


def tokenizer_input(field: str, value: Any, config: TokenizerConfig, size: int) -> Array:
    """One value of a field as one input without the batch: see `InputKind`; masks are cut out by `instance_mask`.

    `size` is the side of pictures and labels in pixels. Raises `FormatInvalid` for a value that does not fit.
    """
    kind = input_kind(field, config)
    if kind is InputKind.VECTOR:
        return _array(value, (config.n_channels,))
    if kind is InputKind.MAP:
        return _array(value, (None, None, config.n_channels)).transpose(2, 0, 1)
    if kind is InputKind.LABELS:
        return _labels(value, config.n_labels or 0, size)
    return np.asarray(_PICTURES[field][1](value, size))


def instance_mask(regions: Regions, number: int, size: int) -> FloatArray:
    """The pixels of the instance `number`, its box filled into a square: float32 (1, size, size) of 0 and 1."""
    rows, columns = np.nonzero(regions.ids == number)
    left, top, right, bottom = int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1
    mask = Image.fromarray((regions.ids == number).astype(np.uint8))
    resized = mask.crop((left, top, right, bottom)).resize((size, size), Image.Resampling.NEAREST)
    return np.asarray(resized, np.float32)[None]


def instance_numbers(regions: Regions) -> list[int]:
    """The numbers of the instances; 0 is none."""
    return [int(number) for number in np.unique(regions.ids) if number]


def _labels(regions: Regions, labels: int, size: int) -> npt.NDArray[np.int64]:
    """COCO's where there are as many as it has, else ids as they are."""
    if labels == _COCO:
        return label_image(regions, size)
    if regions.ids.max() >= labels:
        raise FormatInvalid(f"a tokenizer of {labels} labels takes ids from 0 to {labels - 1}, not {regions.ids.max()}")
    ids = regions.ids.astype(np.uint8)
    central = crop_resized(ids, centre_crop(*ids.shape), size, resample=Image.Resampling.NEAREST)
    return central.astype(np.int64)


def _array(value: Any, shape: tuple[int | None, ...]) -> FloatArray:
    array = np.asarray(value)
    wanted = tuple(have if want is None else want for have, want in zip(array.shape, shape, strict=False))
    if array.ndim != len(shape) or array.shape != wanted:
        raise FormatInvalid(f"an array for this tokenizer has the shape {shape}, not {array.shape}")
    return array.astype(np.float32)
