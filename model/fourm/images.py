"""Convert dense values to the images that published networks and tokenizers take, and tokenizers' images to values.

Every value is first cropped to its central square, so that the modalities of one picture stay aligned. An image is
float32 (C, size, size), or int64 (size, size) for labels. The encoders of bundled networks preprocess pictures
differently: see `anyseek.model.encoders.preprocess`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from anyseek.model.fourm.bundled.layout import DENSE
from anyseek.model.modalities.coco import CLASSES, LABELS, label_of
from anyseek.model.modalities.drawings import ByteArray, ink
from anyseek.model.modalities.edge_detection import edge_lines
from anyseek.model.modalities.formats.spans import FormatInvalid
from anyseek.model.seam import FloatArray, Regions, Value
from anyseek.model.tokenizers.image_vqvae import IMAGENET_DEVIATION, IMAGENET_MEAN, images_to_uint8, logits_to_labels

_TRIMMED_SHARE = 0.1  # share of depth values left out at either end
_MIN_VARIANCE = 1e-6


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


def crop_and_resize(
    picture: ByteArray,
    crop: Crop,
    size: int,
    *,
    resample: Image.Resampling = Image.Resampling.BICUBIC,
) -> ByteArray:
    """uint8 (H, W[, 3]) -> uint8 (size, size[, 3]).

    Bicubic; label maps need `Image.Resampling.NEAREST`.
    """
    box = (crop.left, crop.top, crop.left + crop.width, crop.top + crop.height)
    return np.asarray(Image.fromarray(picture).crop(box).resize((size, size), resample))


def rgb_input(picture: ByteArray, size: int = 224) -> FloatArray:
    """A picture uint8 (H, W, 3) as the 4M network takes it: its centre, float32 (3, size, size), normalised."""
    return normalise(crop_and_resize(picture, centre_crop(*picture.shape[:2]), size))


def rgb_tokenizer_input(picture: ByteArray, size: int = 224) -> FloatArray:
    """The same for the rgb tokenizer: float32 (3, size, size) in [-1, 1]."""
    return to_signed(crop_and_resize(picture, centre_crop(*picture.shape[:2]), size))


def normalise(pixels: ByteArray) -> FloatArray:
    """uint8 (H, W, 3) -> float32 (3, H, W) with ImageNet's mean and deviation taken out."""
    mean, deviation = np.array(IMAGENET_MEAN, np.float32), np.array(IMAGENET_DEVIATION, np.float32)
    return _channels_first((_to_unit(pixels) - mean) / deviation)


def to_signed(pixels: ByteArray) -> FloatArray:
    """uint8 (H, W, C) -> float32 (C, H, W) in [-1, 1]."""
    return _channels_first((_to_unit(pixels) - np.float32(0.5)) / np.float32(0.5))


def flip_normals(normals: ByteArray) -> ByteArray:
    """Surface normals uint8 (H, W, 3) mirrored from left to right: their first component turns round."""
    mirrored = normals[:, ::-1].copy()
    mirrored[..., 0] = 255 - mirrored[..., 0]
    return mirrored


def trimmed_values(values: FloatArray) -> FloatArray:
    """The middle 80 % of all values, in order: float32 (n,)."""
    ordered = np.sort(values, axis=None)
    return ordered[int(_TRIMMED_SHARE * ordered.size) : int((1 - _TRIMMED_SHARE) * ordered.size)]


def standardise(values: FloatArray, middle: FloatArray) -> FloatArray:
    """Values float32 of any shape without the mean and the deviation of `middle`."""
    deviation = np.sqrt(middle.var(ddof=1) + _MIN_VARIANCE)
    return np.asarray((values - middle.mean()) / deviation, np.float32)


def _to_unit(pixels: ByteArray) -> FloatArray:
    return pixels.astype(np.float32) / np.float32(255)


def _channels_first(values: npt.NDArray[np.floating]) -> FloatArray:
    return np.ascontiguousarray(values.astype(np.float32).transpose(2, 0, 1))


# A value and the side of the image in pixels -> the image.
ToImage = Callable[[Any, int], npt.NDArray[Any]]
# What a tokenizer decodes one image to, float (C, H, W) -> the value.
ToValue = Callable[[Tensor], Any]

_NONE = 0
_UNLABELLED = 255  # the id that many label files use for "no label"


def line_image(drawing: ByteArray, size: int) -> FloatArray:
    """A drawing uint8 (H, W) of any polarity as Canny's lines, one pixel wide: float32 (1, size, size)."""
    return to_signed(edge_lines(_crop_centre(ink(drawing), size))[..., None])


def edge_image(drawing: ByteArray, size: int) -> FloatArray:
    """A drawing uint8 (H, W) of any polarity as it is, light on dark: float32 (1, size, size)."""
    return to_signed(_crop_centre(ink(drawing), size)[..., None])


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
    middle = trimmed_values(values)
    largest = np.float32(np.abs(middle).max() or 1)
    unit_free: FloatArray = values / largest
    return standardise(unit_free, middle / largest)[None]


def label_image(regions: Regions, size: int) -> npt.NDArray[np.int64]:
    """A segmentation map as published labels, 0 for none: int64 (size, size).

    Class names decide where there are any; regions without a name that COCO knows are none. Without names the ids are
    labels already. Raises `FormatInvalid` where neither says anything.
    """
    if regions.classes:
        known = {number: label_of(name) for number, name in regions.classes.items()}
        if not any(known.values()):
            names = ", ".join(sorted(regions.classes.values())[:5])
            raise FormatInvalid(f"of the classes {names} none is one of COCO's, such as {', '.join(CLASSES[:3])}")
        ids, places = np.unique(regions.ids, return_inverse=True)
        labels_of_ids = np.array([known.get(int(number)) or _NONE for number in ids], np.uint8)
        labels = np.asarray(labels_of_ids[places.reshape(regions.ids.shape)])
    else:
        labels = np.where(regions.ids == _UNLABELLED, _NONE, regions.ids)
        if labels.min() < 0 or labels.max() > len(CLASSES):
            raise FormatInvalid(
                f"a segmentation map without class names has labels from 0 (none) to {len(CLASSES)}, not {labels.max()}"
            )
    return _crop_centre(labels.astype(np.uint8), size, Image.Resampling.NEAREST).astype(np.int64)


def _crop_centre(values: ByteArray, size: int, resample: Image.Resampling = Image.Resampling.BICUBIC) -> ByteArray:
    return crop_and_resize(values, centre_crop(*values.shape[:2]), size, resample=resample)


def crop_to_squares(values: Mapping[str, Value]) -> dict[str, Value]:
    """Values by modality, images cut to their central squares: what networks predict as images are of these."""
    return {name: _crop_to_square(value) if name in DENSE else value for name, value in values.items()}


def _crop_to_square(image: Any) -> Value:
    pixels = image.ids if isinstance(image, Regions) else image
    crop = centre_crop(*pixels.shape[:2])
    square = pixels[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
    return Regions(square, image.classes) if isinstance(image, Regions) else square


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
