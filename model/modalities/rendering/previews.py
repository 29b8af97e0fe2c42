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
from anyseek.model.modalities.rendering.documents import palette_members
from anyseek.model.modalities.rendering.looks import UNKNOWN, class_colours, component_colours, number_of_name, ramp
from anyseek.model.modalities.rendering.panels import (
    PAPER,
    SIDE,
    Colour,
    canvas,
    enlarge,
    font,
    ink_on,
    label,
    with_legend,
    with_scale,
)
from anyseek.model.seam import FloatArray, Regions

FloatArray64 = npt.NDArray[np.float64]

# Joint 0 is the pelvis; each joint's parent, in SMPL's order.
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21, 15)
LEFT = frozenset({1, 4, 7, 10, 13, 16, 18, 20, 22})
RIGHT = frozenset({2, 5, 8, 11, 14, 17, 19, 21, 23})
HEAD, CROWN = 15, 24  # the crown is no joint of SMPL's; it ends the figure

# From parent to joint on a body that stands with its arms out: x to its own left, y up, z to its front.
_OFFSETS = np.array(
    [
        (0, 0, 0),
        (0.055, -0.03, 0),
        (-0.055, -0.03, 0),
        (0, 0.07, 0),
        (0.01, -0.245, 0),
        (-0.01, -0.245, 0),
        (0, 0.08, 0),
        (0, -0.246, 0),
        (0, -0.246, 0),
        (0, 0.04, 0),
        (0, -0.03, 0.09),
        (0, -0.03, 0.09),
        (0, 0.13, 0),
        (0.045, 0.08, 0),
        (-0.045, 0.08, 0),
        (0, 0.055, 0.02),
        (0.084, 0.01, 0),
        (-0.084, 0.01, 0),
        (0.186, 0, 0),
        (-0.186, 0, 0),
        (0.146, 0, 0),
        (-0.146, 0, 0),
        (0.054, 0, 0),
        (-0.054, 0, 0),
        (0, 0.075, 0.01),
    ]
)


def joints(rotations: npt.NDArray[np.float32], body: FloatArray64) -> FloatArray64:
    """Positions of the joints and the crown in the camera's axes, in shares of body height: float64 (25, 3), the pelvis
    at 0.

    `rotations` (23, 3, 3) turn each joint against its parent, `body` (3, 3) the whole; of a predicted matrix that is
    no rotation the nearest one counts.
    """
    turned = np.concatenate([body[None], rotations.astype(np.float64), np.eye(3)[None]])
    left, _, right = np.linalg.svd(turned)
    left[:, :, 2] *= np.sign(np.linalg.det(left @ right))[:, None]  # no mirroring
    turned = left @ right
    places = np.zeros((len(PARENTS), 3))
    for joint, parent in enumerate(PARENTS[1:], 1):
        places[joint] = places[parent] + turned[parent] @ _OFFSETS[joint]
        turned[joint] = turned[parent] @ turned[joint]
    return places


def fitted(places: FloatArray64, box: Box) -> tuple[FloatArray64, float]:
    """Joints (n, 3) as points x, y in [0, 1] of the picture, as large as fits into the box, in its middle: (n, 2).

    The second value is the resulting body height, in shares of the picture.
    """
    flat = places[:, :2]
    low, high = flat.min(axis=0), flat.max(axis=0)
    corners = np.array([[box.xmin, box.ymin], [box.xmax, box.ymax]])
    room = np.abs(corners[1] - corners[0])
    scale = float((room / np.maximum(high - low, 1e-6)).min())
    return (flat - (low + high) / 2) * scale + corners.mean(axis=0), scale


Rotations = npt.NDArray[np.float32]

MOST_CLASSES = 24  # in a legend
_LARGEST_16 = 65_535
_SWATCH = (120, 150)
_BOX_LINE = 3
_MASK_SHARE = 0.55  # how much of a mask's colour covers the picture
_POINT_RADIUS = 5
_LEFT_COLOUR, _RIGHT_COLOUR, _MIDDLE_COLOUR = (46, 134, 222), (230, 92, 60), (240, 240, 240)
_AXES = (("left", (46, 134, 222)), ("up", (60, 170, 90)), ("front", (230, 92, 60)))
_HEAD_RADIUS = 0.055  # in shares of body height
_LIMB, _RIM = 4, 8
_LAMP = (0.45, 0.45, 0.77)  # where the light of a relief comes from: left, above, in front
_STEEPNESS = 0.6


def depth_levels(depth: FloatArray) -> npt.NDArray[np.uint16]:
    """Depth float32 (H, W) on a scale from 1 (nearest) to 65535 (farthest): uint16 (H, W), 0 where not measured.

    A map of one depth is 1 throughout.
    """
    return np.where(np.isfinite(depth), np.rint(1 + _unit(depth) * (_LARGEST_16 - 1)), 0).astype(np.uint16)


def depth_preview(depth: FloatArray) -> Image.Image:
    """Near in light yellow, far in dark violet, grey where not measured, and the scale beneath."""
    return _with_scale_of_depth(ramp(_unit(depth)), depth)


def depth_relief(depth: FloatArray) -> Image.Image:
    """The preview of a depth map, lit from the upper left, so that its shapes stand out."""
    down, across = np.gradient(_unit(depth) * max(depth.shape) * _STEEPNESS) if min(depth.shape) > 1 else (0.0, 0.0)
    facing = (_LAMP[2] - _LAMP[0] * across - _LAMP[1] * down) / np.sqrt(1 + np.square(across) + np.square(down))
    light = np.where(np.isfinite(facing), 0.3 + 0.7 * np.clip(facing, 0, 1), 1).astype(np.float32)
    return _with_scale_of_depth(np.rint(ramp(_unit(depth)) * light[..., None]).astype(np.uint8), depth)


def _with_scale_of_depth(coloured: ByteArray, depth: FloatArray) -> Image.Image:
    measured = np.isfinite(depth)
    coloured[~measured] = UNKNOWN
    note = "" if measured.all() else "grey: not measured"
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
    entries = []
    for place in order[:MOST_CLASSES]:
        red, green, blue = map(int, colours[place])
        number = int(numbers[place])
        name = regions.classes.get(number, "none" if number == 0 else f"region {number}")
        percent = f"{share[place]:.0%}" if share[place] >= 0.005 else "<1%"
        entries.append(((red, green, blue), f"{name}  {percent}"))
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


def palette_preview(palette: ByteArray) -> Image.Image:
    """Each colour as a field with its #rrggbb on it."""
    width, height = _SWATCH
    image = Image.new("RGB", (width * max(len(palette), 1), height), PAPER)
    pen = ImageDraw.Draw(image)
    for place, (colour, name) in enumerate(zip(palette.tolist(), palette_members(palette), strict=True)):
        fill: Colour = (colour[0], colour[1], colour[2])
        pen.rectangle((place * width, 0, (place + 1) * width, height), fill=fill)
        middle = (place * width + width / 2, height / 2)
        pen.text(middle, name, fill=ink_on(fill), font=font(), anchor="mm")
    if not len(palette):
        pen.text((width / 2, height / 2), "no colours", fill=ink_on(PAPER), font=font(), anchor="mm")
    return image


def colour_of(number: int) -> Colour:
    """The colour of the thing number 1, 2, …"""
    red, green, blue = class_colours(np.array([number]))[0].tolist()
    return red, green, blue


def boxes_preview(boxes: Sequence[LabelledBox], picture: ByteArray | None) -> Image.Image:
    """Every box with its label on the middle square of the picture; boxes of one class have one colour."""
    image = canvas(picture)
    pen = ImageDraw.Draw(image)
    for labelled in boxes:
        colour = colour_of(number_of_name(labelled.label))
        _outline(pen, labelled.box, colour)
        label(pen, (labelled.box.xmin * SIDE, labelled.box.ymin * SIDE), labelled.label, colour)
    return image


def _outline(pen: ImageDraw.ImageDraw, box: Box, colour: Colour, whole: float = 1.0) -> None:
    """Draw a box whose coordinates go to `whole` at the picture's right and lower edge; corners in any order."""
    left, right = sorted((box.xmin, box.xmax))
    top, bottom = sorted((box.ymin, box.ymax))
    scale = (SIDE - 1) / whole
    pen.rectangle((left * scale, top * scale, right * scale, bottom * scale), outline=colour, width=_BOX_LINE)


def placed_masks(points: Sequence[QueryPoint], small: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
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
        _outline(pen, box, colour_of(number), INSTANCE_SIDE)
    scale, arm = SIDE / INSTANCE_SIDE, _POINT_RADIUS
    for x, y in ((point.x * scale, point.y * scale) for point in points):
        for shade, width in (((255, 255, 255), 4), ((25, 25, 25), 2)):
            pen.line((x - arm, y, x + arm, y), fill=shade, width=width)
            pen.line((x, y - arm, x, y + arm), fill=shade, width=width)
    return image


def poses_preview(people: Sequence[HumanPose], rotations: Rotations | None, picture: ByteArray | None) -> Image.Image:
    """Every person's box and figure on the middle square of the picture.

    `rotations` (people, 23, 3, 3) turn the joints; without them only where left, up and front of each body point.
    """
    image = canvas(picture)
    pen = ImageDraw.Draw(image)
    for number, person in enumerate(people, 1):
        colour = colour_of(number)
        _outline(pen, person.box, colour)
        label(pen, (person.box.xmin * SIDE, person.box.ymin * SIDE), f"person {number}", colour)
        if rotations is None:
            _draw_axes(pen, person)
        else:
            _draw_figure(pen, person, rotations[number - 1])
    return image


def _draw_figure(pen: ImageDraw.ImageDraw, person: HumanPose, rotations: Rotations) -> None:
    places = joints(rotations, _body(person))
    shares, height = fitted(places, person.box)
    points = shares * SIDE
    order = sorted(range(1, CROWN), key=lambda joint: -places[joint, 2])  # what is nearer is drawn last
    for joint in order:
        ends = [tuple(points[PARENTS[joint]]), tuple(points[joint])]
        pen.line(ends, fill=(25, 25, 25), width=_RIM)
        side = _LEFT_COLOUR if joint in LEFT else _RIGHT_COLOUR if joint in RIGHT else _MIDDLE_COLOUR
        pen.line(ends, fill=side, width=_LIMB)
    x, y = (points[HEAD] + points[CROWN]) / 2
    radius = _HEAD_RADIUS * height * SIDE
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=(25, 25, 25), fill=_MIDDLE_COLOUR, width=2)


def _draw_axes(pen: ImageDraw.ImageDraw, person: HumanPose) -> None:
    box = person.box
    middle = np.array([box.xmin + box.xmax, box.ymin + box.ymax]) / 2 * SIDE
    length = SIDE * max(min(abs(box.xmax - box.xmin), abs(box.ymax - box.ymin)) * 0.45, 0.04)
    for direction, (name, colour) in zip(_body(person).T, _AXES, strict=True):
        end = middle + direction[:2] * length
        pen.line([tuple(middle), tuple(end)], fill=(25, 25, 25), width=_RIM)
        pen.line([tuple(middle), tuple(end)], fill=colour, width=_LIMB)
        label(pen, (float(end[0]), float(end[1])), name, colour)


def _body(person: HumanPose) -> npt.NDArray[np.float64]:
    """The rotation of the whole body: float64 (3, 3), body axes to camera axes."""
    return np.array(person.rotation).reshape(3, 3)
