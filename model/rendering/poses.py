"""People as pictures: boxes, and in them stick figures, or the axes of the body where joints are not known."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from model.drawing import ByteArray
from model.formats.human_poses import HumanPose
from model.rendering.boxes import colour_of, outline
from model.rendering.panels import SIDE, Colour, canvas, label
from model.rendering.skeletons import CROWN, HEAD, LEFT, PARENTS, RIGHT, fitted, joints

Rotations = npt.NDArray[np.float32]

_LEFT_COLOUR, _RIGHT_COLOUR, _MIDDLE_COLOUR = (46, 134, 222), (230, 92, 60), (240, 240, 240)
_AXES = (("left", (46, 134, 222)), ("up", (60, 170, 90)), ("front", (230, 92, 60)))
_HEAD_RADIUS = 0.055  # in shares of body height
_LINE, _RIM = 4, 8


def poses_preview(people: Sequence[HumanPose], rotations: Rotations | None, picture: ByteArray | None) -> Image.Image:
    """Every person's box and figure on the middle square of the picture.

    `rotations` (people, 23, 3, 3) turn the joints; without them only where left, up and front of each body point.
    """
    image = canvas(picture)
    pen = ImageDraw.Draw(image)
    for number, person in enumerate(people, 1):
        colour = colour_of(number)
        outline(pen, person.box, colour)
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
        pen.line(ends, fill=_side_colour(joint), width=_LINE)
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
        pen.line([tuple(middle), tuple(end)], fill=colour, width=_LINE)
        label(pen, (float(end[0]), float(end[1])), name, colour)


def _body(person: HumanPose) -> npt.NDArray[np.float64]:
    """The rotation of the whole body: float64 (3, 3), body axes to camera axes."""
    return np.array(person.rotation).reshape(3, 3)


def _side_colour(joint: int) -> Colour:
    return _LEFT_COLOUR if joint in LEFT else _RIGHT_COLOUR if joint in RIGHT else _MIDDLE_COLOUR
