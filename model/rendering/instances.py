"""Instances: their masks, from the small square that a tokenizer decodes to the picture, and drawn on it."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from model.drawing import ByteArray
from model.formats.boxes import Box
from model.formats.sam_instances import SIDE as INSTANCE_SIDE
from model.formats.sam_instances import QueryPoint
from model.rendering.boxes import colour_of, outline
from model.rendering.panels import SIDE, canvas

_MASK_SHARE = 0.55  # how much of a mask's colour covers the picture
_POINT_RADIUS = 5


def placed_masks(points: Sequence[QueryPoint], small: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Masks bool (n, s, s), one for each mask of the points in their order, resized into their boxes in the 224 x 224
    picture: bool (n, 224, 224). What a box has outside of the picture is cut off; an empty box gives an empty mask.
    """
    boxes = [mask.box for point in points for mask in point.masks]
    whole = np.zeros((len(boxes), INSTANCE_SIDE, INSTANCE_SIDE), np.bool_)
    for target, box, mask in zip(whole, boxes, small, strict=True):
        _place(target, box, mask)
    return whole


def instances_preview(
    points: Sequence[QueryPoint], masks: npt.NDArray[np.bool_], picture: ByteArray | None
) -> Image.Image:
    """Each mask (n, 224, 224), in the order of the points' masks, in a colour of its own on the picture; crosses where
    a point was asked about.
    """
    image = canvas(picture)
    for number, mask in enumerate(masks, 1):
        shape = Image.fromarray((mask * round(255 * _MASK_SHARE)).astype(np.uint8)).resize(image.size)
        image.paste(colour_of(number), mask=shape)
    pen = ImageDraw.Draw(image)
    boxes = [mask.box for point in points for mask in point.masks]
    for number, box in enumerate(boxes, 1):
        outline(pen, box, colour_of(number), INSTANCE_SIDE)
    for point in points:
        _cross(pen, point)
    return image


def _place(target: npt.NDArray[np.bool_], box: Box, mask: npt.NDArray[np.bool_]) -> None:
    left, right = sorted((int(box.xmin), int(box.xmax)))
    top, bottom = sorted((int(box.ymin), int(box.ymax)))
    if right == left or bottom == top:
        return
    levels = Image.fromarray(mask.astype(np.uint8) * 255)
    fitted = np.asarray(levels.resize((right - left, bottom - top), Image.Resampling.BILINEAR)) > 127
    rows, columns = slice(max(top, 0), bottom), slice(max(left, 0), right)
    kept = target[rows, columns]
    kept |= fitted[max(-top, 0) :, max(-left, 0) :][: kept.shape[0], : kept.shape[1]]


def _cross(pen: ImageDraw.ImageDraw, point: QueryPoint) -> None:
    scale = SIDE / INSTANCE_SIDE
    x, y, arm = point.x * scale, point.y * scale, _POINT_RADIUS
    for shade, width in (((255, 255, 255), 4), ((25, 25, 25), 2)):
        pen.line((x - arm, y, x + arm, y), fill=shade, width=width)
        pen.line((x, y - arm, x, y + arm), fill=shade, width=width)
