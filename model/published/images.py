"""Dense values as the images that published tokenizers take, and tokenizers' images as values.

Every value is cut to its central square first, so that the modalities of one picture stay aligned. An image is
float32 (C, size, size), or int64 (size, size) for labels.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from model.drawing import ByteArray, ink
from model.embedder import FloatArray, Regions
from model.formats.spans import FormatInvalid
from model.published.coco import CLASSES, LABELS, label_of
from model.published.edges import edge_lines
from model.published.preprocess import (
    centre_crop,
    crop_resized,
    middle_of,
    rgb_input,
    rgb_tokenizer_input,
    signed,
    standardised,
)
from model.tokenizers.outputs import images_to_uint8, logits_to_labels

__all__ = [
    "ToImage",
    "ToValue",
    "depth_image",
    "depth_of",
    "drawing_of",
    "edge_image",
    "label_image",
    "line_image",
    "picture_of",
    "regions_of",
    "rgb_input",
    "rgb_tokenizer_input",
]

# A value and the side of the image in pixels -> the image.
ToImage = Callable[[Any, int], npt.NDArray[Any]]
# What a tokenizer decodes one image to, float (C, H, W) -> the value.
ToValue = Callable[[Tensor], Any]

_NONE = 0
_UNLABELLED = 255  # what many files of labels have where there is none


def line_image(drawing: ByteArray, size: int) -> FloatArray:
    """A drawing uint8 (H, W) of any polarity as Canny's lines, one pixel wide: float32 (1, size, size)."""
    return signed(edge_lines(_central(ink(drawing), size))[..., None])


def edge_image(drawing: ByteArray, size: int) -> FloatArray:
    """A drawing uint8 (H, W) of any polarity as it is, light on dark: float32 (1, size, size)."""
    return signed(_central(ink(drawing), size)[..., None])


def depth_image(depth: FloatArray, size: int) -> FloatArray:
    """Depth float32 (H, W) of any unit, standardised by its middle 80 %: float32 (1, size, size).

    What was not measured counts as the median.
    """
    crop = centre_crop(*depth.shape)
    central = depth[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
    measured = np.isfinite(central)
    if not measured.any():
        raise FormatInvalid("the central square of a depth map has no measured pixel")
    filled = np.where(measured, central, np.median(central[measured])).astype(np.float32)
    values = np.asarray(Image.fromarray(filled).resize((size, size), Image.Resampling.BILINEAR), np.float32)
    # published depths lie in [0, 1]: with the farthest at 1 their unit does not matter
    middle = middle_of(values)
    largest = np.float32(np.abs(middle).max() or 1)
    unit_free: FloatArray = values / largest
    return standardised(unit_free, middle / largest)[None]


def label_image(regions: Regions, size: int) -> npt.NDArray[np.int64]:
    """A segmentation map as published labels, 0 for none: int64 (size, size).

    Class names decide where there are any; regions without a name that COCO knows are none. Without names the ids are
    labels already. Raises `FormatInvalid` where neither says anything.
    """
    labels = _named_labels(regions) if regions.classes else _plain_labels(regions)
    return _central(labels, size, Image.Resampling.NEAREST).astype(np.int64)


def _named_labels(regions: Regions) -> ByteArray:
    known = {number: label_of(name) for number, name in regions.classes.items()}
    if not any(known.values()):
        names = ", ".join(sorted(regions.classes.values())[:5])
        raise FormatInvalid(f"of the classes {names} none is one of COCO's, such as {', '.join(CLASSES[:3])}")
    ids, places = np.unique(regions.ids, return_inverse=True)
    labels = np.array([known.get(int(number)) or _NONE for number in ids], np.uint8)
    return np.asarray(labels[places.reshape(regions.ids.shape)])


def _plain_labels(regions: Regions) -> ByteArray:
    ids = np.where(regions.ids == _UNLABELLED, _NONE, regions.ids)
    if ids.min() < 0 or ids.max() > len(CLASSES):
        raise FormatInvalid(
            f"a segmentation map without class names has labels from 0 (none) to {len(CLASSES)}, not {ids.max()}"
        )
    return ids.astype(np.uint8)


def _central(values: ByteArray, size: int, resample: Image.Resampling = Image.Resampling.BICUBIC) -> ByteArray:
    return crop_resized(values, centre_crop(*values.shape[:2]), size, resample=resample)


def picture_of(image: Tensor) -> ByteArray:
    """Pictures and normals: uint8 (H, W, 3)."""
    return np.asarray(images_to_uint8(image[None])[0])


def drawing_of(image: Tensor) -> ByteArray:
    """Edges, light on dark: uint8 (H, W)."""
    return np.asarray(images_to_uint8(image[None])[0, ..., 0])


def depth_of(image: Tensor) -> FloatArray:
    """Standardised depth, of which only the order and the proportions mean something: float32 (H, W)."""
    return image[0].float().cpu().numpy()


def regions_of(logits: Tensor) -> Regions:
    """The likeliest label of each pixel, 0 for none, with the names of those that occur."""
    labels = logits_to_labels(logits[None])[0]
    return Regions(labels, {number: LABELS[number] for number in map(int, np.unique(labels)) if number in LABELS})
