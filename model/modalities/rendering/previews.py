"""Predictions as pictures for people: maps in colour, palettes, boxes, instances and poses on the picture."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.formats.boxes import Box, LabelledBox
from anyseek.model.modalities.formats.human_poses import HumanPose
from anyseek.model.modalities.formats.sam_instances import SIDE as INSTANCE_SIDE
from anyseek.model.modalities.formats.sam_instances import QueryPoint
from anyseek.model.modalities.reading.documents import palette_to_json
from anyseek.model.modalities.rendering.panels import (
    PAPER,
    SIDE,
    Colour,
    canvas,
    draw_label,
    enlarge,
    font,
    text_colour_on,
    with_legend,
    with_scale,
)
from anyseek.model.modalities.rendering.renderers import (
    UNKNOWN,
    class_colours,
    number_of_name,
    principal_component_colours,
    ramp,
)
from anyseek.model.seam import FloatArray, Regions

MAX_CLASSES = 24  # in a legend
_LARGEST_16 = 65_535
_SWATCH = (120, 150)
_BOX_LINE = 3
_MASK_SHARE = 0.55  # opacity of a mask's colour
_POINT_RADIUS = 5
_AXES = (("left", (46, 134, 222)), ("up", (60, 170, 90)), ("front", (230, 92, 60)))
_AXIS, _RIM = 4, 8
_LAMP = (0.45, 0.45, 0.77)  # direction of a relief's light: left, above, in front
_STEEPNESS = 0.6


def depth_levels(depth: FloatArray) -> npt.NDArray[np.uint16]:
    """Depth float32 (H, W) on a scale from 1 (nearest) to 65535 (farthest): uint16 (H, W), 0 where not measured.

    A map of one depth is 1 throughout.
    """
    return np.where(np.isfinite(depth), np.rint(1 + _unit(depth) * (_LARGEST_16 - 1)), 0).astype(np.uint16)


def depth_preview(depth: FloatArray) -> Image.Image:
    """Near in light yellow, far in dark violet, grey where not measured, and the scale beneath."""
    return _with_depth_scale(ramp(_unit(depth)), depth)


def depth_relief(depth: FloatArray) -> Image.Image:
    """The preview of a depth map, hill-shaded from the upper left."""
    down, across = np.gradient(_unit(depth) * max(depth.shape) * _STEEPNESS) if min(depth.shape) > 1 else (0.0, 0.0)
    facing = (_LAMP[2] - _LAMP[0] * across - _LAMP[1] * down) / np.sqrt(1 + np.square(across) + np.square(down))
    light = np.where(np.isfinite(facing), 0.3 + 0.7 * np.clip(facing, 0, 1), 1).astype(np.float32)
    return _with_depth_scale(np.rint(ramp(_unit(depth)) * light[..., None]).astype(np.uint8), depth)


def _with_depth_scale(coloured: ByteArray, depth: FloatArray) -> Image.Image:
    measured = np.isfinite(depth)
    coloured[~measured] = UNKNOWN
    note = "" if measured.all() else "grey: not measured"
    return with_scale(enlarge(coloured), ramp(np.linspace(0, 1, 64)), "near", "far", note)


def normal_vectors(normal: ByteArray) -> FloatArray:
    """Surface normals uint8 (H, W, 3) as float32 in [-1, 1]."""
    return normal.astype(np.float32) / 127.5 - 1


def regions_preview(regions: Regions) -> Image.Image:
    """Each id in its own colour, and a legend of the ids present, largest area first."""
    numbers, where, counts = np.unique(regions.ids, return_inverse=True, return_counts=True)
    image = enlarge(class_colours(numbers.astype(np.int64))[where.reshape(regions.ids.shape)])
    order = np.argsort(-counts, kind="stable")
    entries = []
    for number, count in zip(numbers[order][:MAX_CLASSES].tolist(), counts[order].tolist(), strict=False):
        name = regions.classes.get(number, "none" if number == 0 else f"region {number}")
        share = count / regions.ids.size
        entries.append((colour_of(number), f"{name}  {f'{share:.0%}' if share >= 0.005 else '<1%'}"))
    if len(order) > MAX_CLASSES:
        entries.append(((255, 255, 255), f"and {len(order) - MAX_CLASSES} more"))
    return with_legend(image, entries)


def features_preview(features: FloatArray) -> Image.Image:
    """The first three principal components of (C, h, w) as red, green and blue."""
    return enlarge(principal_component_colours(features))


def _unit(depth: FloatArray) -> FloatArray:
    """Depth stretched to [0, 1], 0 where not measured: float32 (H, W)."""
    known = np.isfinite(depth)
    if not known.any():
        return np.zeros_like(depth)
    low, high = depth[known].min(), depth[known].max()
    span = high - low if high > low else np.float32(1)
    return np.where(known, (depth - low) / span, 0).astype(np.float32)


def palette_preview(palette: ByteArray) -> Image.Image:
    """A swatch for each colour, labelled #rrggbb."""
    width, height = _SWATCH
    image = Image.new("RGB", (width * max(len(palette), 1), height), PAPER)
    pen = ImageDraw.Draw(image)
    for place, (colour, name) in enumerate(zip(palette.tolist(), palette_to_json(palette), strict=True)):
        fill: Colour = (colour[0], colour[1], colour[2])
        pen.rectangle((place * width, 0, (place + 1) * width, height), fill=fill)
        middle = (place * width + width / 2, height / 2)
        pen.text(middle, name, fill=text_colour_on(fill), font=font(), anchor="mm")
    if not len(palette):
        pen.text((width / 2, height / 2), "no colours", fill=text_colour_on(PAPER), font=font(), anchor="mm")
    return image


def colour_of(number: int) -> Colour:
    """The colour of class, region or person `number`."""
    red, green, blue = class_colours(np.array([number]))[0].tolist()
    return red, green, blue


def boxes_preview(boxes: Sequence[LabelledBox], picture: ByteArray | None) -> Image.Image:
    """Every box with its label on the middle square of the picture; boxes of one class have one colour."""
    image = canvas(picture)
    pen = ImageDraw.Draw(image)
    for labelled in boxes:
        colour = colour_of(number_of_name(labelled.label))
        _draw_box(pen, labelled.box, colour)
        draw_label(pen, (labelled.box.xmin * SIDE, labelled.box.ymin * SIDE), labelled.label, colour)
    return image


def _draw_box(pen: ImageDraw.ImageDraw, box: Box, colour: Colour, whole: float = 1.0) -> None:
    """Draw a box, corners in any order; the picture's right and lower edges have the coordinate `whole`."""
    left, right = sorted((box.xmin, box.xmax))
    top, bottom = sorted((box.ymin, box.ymax))
    scale = (SIDE - 1) / whole
    pen.rectangle((left * scale, top * scale, right * scale, bottom * scale), outline=colour, width=_BOX_LINE)


def place_masks(points: Sequence[QueryPoint], small: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Masks bool (n, s, s), one for each mask of the points in their order, resized into their boxes in the 224 x 224
    picture: bool (n, 224, 224). Parts outside the picture are cut off; an empty box gives an empty mask.
    """
    boxes = [mask.box for point in points for mask in point.masks]
    whole = np.zeros((len(boxes), INSTANCE_SIDE, INSTANCE_SIDE), np.bool_)
    for target, box, mask in zip(whole, boxes, small, strict=True):
        left, right = sorted((int(box.xmin), int(box.xmax)))
        top, bottom = sorted((int(box.ymin), int(box.ymax)))
        if right == left or bottom == top:
            continue
        levels = Image.fromarray(mask.astype(np.uint8) * 255)
        resized = np.asarray(levels.resize((right - left, bottom - top), Image.Resampling.BILINEAR)) > 127
        kept = target[max(top, 0) : bottom, max(left, 0) : right]
        kept |= resized[max(-top, 0) :, max(-left, 0) :][: kept.shape[0], : kept.shape[1]]
    return whole


def instances_preview(
    points: Sequence[QueryPoint], masks: npt.NDArray[np.bool_], picture: ByteArray | None
) -> Image.Image:
    """Each mask (n, 224, 224), in the order of the points' masks, in a colour of its own on the picture; a cross
    at each query point.
    """
    image = canvas(picture)
    for number, mask in enumerate(masks, 1):
        shape = Image.fromarray((mask * round(255 * _MASK_SHARE)).astype(np.uint8)).resize(image.size)
        image.paste(colour_of(number), mask=shape)
    pen = ImageDraw.Draw(image)
    boxes = [mask.box for point in points for mask in point.masks]
    for number, box in enumerate(boxes, 1):
        _draw_box(pen, box, colour_of(number), INSTANCE_SIDE)
    scale, arm = SIDE / INSTANCE_SIDE, _POINT_RADIUS
    for x, y in ((point.x * scale, point.y * scale) for point in points):
        for shade, width in (((255, 255, 255), 4), ((25, 25, 25), 2)):
            pen.line((x - arm, y, x + arm, y), fill=shade, width=width)
            pen.line((x, y - arm, x, y + arm), fill=shade, width=width)
    return image


def poses_preview(people: Sequence[HumanPose], picture: ByteArray | None) -> Image.Image:
    """Every person's box on the middle square of the picture, and where left, up and front of the body point."""
    image = canvas(picture)
    pen = ImageDraw.Draw(image)
    for number, person in enumerate(people, 1):
        colour = colour_of(number)
        _draw_box(pen, person.box, colour)
        draw_label(pen, (person.box.xmin * SIDE, person.box.ymin * SIDE), f"person {number}", colour)
        _draw_axes(pen, person)
    return image


def _draw_axes(pen: ImageDraw.ImageDraw, person: HumanPose) -> None:
    box = person.box
    middle = np.array([box.xmin + box.xmax, box.ymin + box.ymax]) / 2 * SIDE
    length = SIDE * max(min(abs(box.xmax - box.xmin), abs(box.ymax - box.ymin)) * 0.45, 0.04)
    body = np.array(person.rotation).reshape(3, 3)  # body axes to camera axes
    for direction, (name, colour) in zip(body.T, _AXES, strict=True):
        end = middle + direction[:2] * length
        pen.line([tuple(middle), tuple(end)], fill=(25, 25, 25), width=_RIM)
        pen.line([tuple(middle), tuple(end)], fill=colour, width=_AXIS)
        draw_label(pen, (float(end[0]), float(end[1])), name, colour)
