"""Maps with a value for every pixel, as pictures."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image

from model.drawing import ByteArray
from model.embedder import FloatArray, Regions
from model.rendering.colours import UNKNOWN, class_colours, component_colours, ramp
from model.rendering.panels import Colour, enlarge, with_legend, with_scale

MOST_CLASSES = 24  # in a legend
_LARGEST_16 = 65_535


def depth_levels(depth: FloatArray) -> npt.NDArray[np.uint16]:
    """Depth float32 (H, W) on a scale from 1 (nearest) to 65535 (farthest): uint16 (H, W), 0 where not measured.

    A map of one depth is 1 throughout.
    """
    return np.where(np.isfinite(depth), np.rint(1 + _unit(depth) * (_LARGEST_16 - 1)), 0).astype(np.uint16)


def depth_preview(depth: FloatArray) -> Image.Image:
    """Near in light yellow, far in dark violet, grey where not measured, and the scale beneath."""
    coloured = ramp(_unit(depth))
    coloured[~np.isfinite(depth)] = UNKNOWN
    note = "" if np.isfinite(depth).all() else "grey: not measured"
    return with_scale(enlarge(coloured), ramp(np.linspace(0, 1, 64)), "near", "far", note)


def normal_vectors(normal: ByteArray) -> FloatArray:
    """The numbers in [-1, 1] that uint8 (H, W, 3) stands for: float32 of the same shape."""
    return normal.astype(np.float32) / 127.5 - 1


def regions_preview(regions: Regions) -> Image.Image:
    """Each id in its own colour, and a legend of the ids present, largest area first."""
    numbers, where, counts = np.unique(regions.ids, return_inverse=True, return_counts=True)
    colours = class_colours(numbers.astype(np.int64))
    image = enlarge(colours[where.reshape(regions.ids.shape)])
    order = np.argsort(-counts, kind="stable")
    share = counts / regions.ids.size
    entries = [
        (_colour(colours[place]), f"{_class_name(int(numbers[place]), regions.classes)}  {_percent(share[place])}")
        for place in order[:MOST_CLASSES]
    ]
    if len(order) > MOST_CLASSES:
        entries.append(((255, 255, 255), f"and {len(order) - MOST_CLASSES} more"))
    return with_legend(image, entries)


def features_preview(features: FloatArray) -> Image.Image:
    """The first three principal components of (C, h, w) as red, green and blue."""
    return enlarge(component_colours(features))


def _unit(depth: FloatArray) -> FloatArray:
    """Depth stretched to [0, 1], 0 where not measured: float32 (H, W)."""
    known = np.isfinite(depth)
    if not known.any():
        return np.zeros_like(depth)
    low, high = depth[known].min(), depth[known].max()
    span = high - low if high > low else np.float32(1)
    return np.where(known, (depth - low) / span, 0).astype(np.float32)


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.005 else "<1%"


def _class_name(number: int, classes: Mapping[int, str]) -> str:
    return classes.get(number, "none" if number == 0 else f"region {number}")


def _colour(values: ByteArray) -> Colour:
    return int(values[0]), int(values[1]), int(values[2])
