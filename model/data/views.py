"""Values changed at random as people's own differ from ours: noisy, partial, in another hand, with other ids.

Everything else of a sample stays as it is, so a network learns that such a value still means the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from model.data.augmentation import FloatMap, change_drawing, change_picture, smooth_field
from model.drawing import ByteArray, ink
from model.embedder import FloatArray, Regions
from model.formats.boxes import Box, LabelledBox
from model.modality import DECLARED, Content
from model.preprocess import picture_pixels

_HALF = 128


def changed(modality: str, value: Any, generator: np.random.Generator) -> Any:
    """Another value of the same modality that should be found by, and find, the same things."""
    return _CHANGES[modality](value, generator)


def change_rgb(picture: ByteArray, generator: np.random.Generator) -> ByteArray:
    """Tilted, scaled, moved, in other light; sometimes only a part of it."""
    return change_picture(picture_pixels(_part(picture, generator)), generator)


def change_ink(drawing: ByteArray, generator: np.random.Generator) -> ByteArray:
    """In another hand; sometimes filled, partly rubbed out, or dark on light."""
    strength = ink(drawing)
    if generator.random() < 0.15:
        strength = filled(strength)
    strength = change_drawing(strength, generator)
    if generator.random() < 0.2:
        strength = _rubbed_out(strength, generator)
    return 255 - strength if generator.random() < 0.5 else strength


def change_depth(depth: FloatArray, generator: np.random.Generator) -> FloatArray:
    """With a sensor's noise and steps, and holes where it saw nothing; in another unit."""
    known = np.isfinite(depth)
    if not known.any():
        return depth
    noisy = depth * generator.uniform(0.2, 5.0)
    noisy *= 1 + generator.normal(0, generator.uniform(0, 0.03), depth.shape)
    step = float(np.nanmax(noisy)) / generator.choice([32, 128, 1024])
    stepped = np.maximum(np.rint(noisy / step), 1) * step
    stepped[_holes(depth.shape, generator)] = np.nan
    return stepped.astype(np.float32) if np.isfinite(stepped).any() else depth


def change_normal(normal: ByteArray, generator: np.random.Generator) -> ByteArray:
    """With noise, turned a little as a camera may be."""
    noise = generator.normal(0, generator.uniform(0, 12), normal.shape)
    turn = generator.uniform(-10, 10, 3)
    return np.clip(normal + noise + turn, 0, 255).astype(np.uint8)


def change_regions(regions: Regions, generator: np.random.Generator) -> Regions:
    """With foreign ids and no names half of the time, in coarser outlines half of the time, some ids left out."""
    ids = regions.ids
    if generator.random() < 0.5:
        ids = _coarse(ids, int(generator.integers(2, 6)))
    classes = dict(regions.classes)
    present = np.unique(ids)
    left_out = present[generator.random(len(present)) < 0.1]
    ids = np.where(np.isin(ids, left_out), 0, ids) if len(left_out) < len(present) else ids
    if generator.random() < 0.5:
        table = generator.permutation(256)
        ids, classes = table[ids % 256], {}
    return Regions(ids.astype(np.int32), classes)


def change_boxes(boxes: tuple[LabelledBox, ...], generator: np.random.Generator) -> tuple[LabelledBox, ...]:
    """Corners a little off; some boxes missing, never all."""
    kept = [box for box in boxes if generator.random() >= 0.15] or list(boxes)
    return tuple(replace(box, box=_moved(box.box, generator)) for box in kept)


def change_palettes(palettes: tuple[ByteArray, ...], generator: np.random.Generator) -> tuple[ByteArray, ...]:
    """One palette, of any number of colours, each a little off."""
    palette = palettes[int(generator.integers(len(palettes)))]
    return (np.clip(palette + generator.normal(0, 8, palette.shape), 0, 255).astype(np.uint8),)


def filled(strength: ByteArray) -> ByteArray:
    """Ink uint8 (H, W) with everything inked that no path leads to from outside; what is open stays as it is."""
    walls = Image.fromarray(np.pad((strength >= _HALF).astype(np.uint8) * 255, 1)).copy()  # writable
    ImageDraw.floodfill(walls, (0, 0), 1)
    inside = np.asarray(walls)[1:-1, 1:-1] != 1
    return np.where(inside, 255, strength).astype(np.uint8)


def _part(picture: ByteArray, generator: np.random.Generator) -> ByteArray:
    """Three times in ten a part of at least 60% of each side."""
    if generator.random() >= 0.3:
        return picture
    height, width = (max(int(side * generator.uniform(0.6, 1)), 1) for side in picture.shape[:2])
    top, left = (int(generator.integers(0, n - m + 1)) for n, m in zip(picture.shape, (height, width), strict=False))
    return picture[top : top + height, left : left + width]


def _rubbed_out(strength: ByteArray, generator: np.random.Generator) -> ByteArray:
    """Without a rectangle of up to 40% of each side; as it is if nothing would be left."""
    height, width = strength.shape
    tall, wide = int(height * generator.uniform(0.1, 0.4)), int(width * generator.uniform(0.1, 0.4))
    top, left = int(generator.integers(0, height - tall + 1)), int(generator.integers(0, width - wide + 1))
    rest = strength.copy()
    rest[top : top + tall, left : left + wide] = 0
    return rest if rest.any() else strength


def _holes(shape: tuple[int, ...], generator: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Where a smooth random field is high, up to a quarter of all pixels, and single pixels."""
    field: FloatMap = smooth_field(generator, (shape[0], shape[1]), 1.0)
    share = generator.uniform(0, 0.25)
    found: npt.NDArray[np.bool_] = (field > np.quantile(field, 1 - share)) | (generator.random(shape) < 0.01)
    return found


def _coarse(ids: npt.NDArray[Any], step: int) -> npt.NDArray[Any]:
    """Every `step`-th id, for as many pixels around it."""
    few: npt.NDArray[Any] = ids[::step, ::step]
    return few.repeat(step, axis=0).repeat(step, axis=1)[: ids.shape[0], : ids.shape[1]]


def _moved(box: Box, generator: np.random.Generator) -> Box:
    xmin, ymin, xmax, ymax = np.clip(np.array(box.corners) + generator.normal(0, 0.02, 4), 0, 1).tolist()
    return Box(min(xmin, xmax), min(ymin, ymax), max(xmin, xmax), max(ymin, ymax))


_Change = Callable[[Any, np.random.Generator], Any]
_OF_CONTENT: Mapping[Content, _Change] = {
    Content.PICTURE: change_rgb,
    Content.DRAWING: change_ink,
    Content.DEPTH: change_depth,
}
_CHANGES: Mapping[str, _Change] = {
    "rgb": change_rgb,
    **dict.fromkeys(("canny_edge", "soft_edge", "line_drawing"), change_ink),
    "depth": change_depth,
    "normal": change_normal,
    "semseg": change_regions,
    "bounding_boxes": change_boxes,
    "color_palette": change_palettes,
    **{name: _OF_CONTENT[modality.content] for name, modality in DECLARED.items()},
}
