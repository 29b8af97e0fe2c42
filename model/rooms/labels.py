"""Annotations of a view: the objects, their boxes and colours, and numbers that describe the picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anyseek.model.modalities.formats.boxes import Box, LabelledBox
from anyseek.model.modalities.formats.metadata import Metadata
from anyseek.model.rooms.camera import Camera
from anyseek.model.rooms.catalogue import BACKGROUND, class_names
from anyseek.model.rooms.colours import clear_name
from anyseek.model.rooms.mesh import load_mesh
from anyseek.model.rooms.render import View
from anyseek.model.rooms.scene import Placed, Scene
from anyseek.model.seam import Regions

LEAST_SHARE = 0.002  # of the picture that a thing has to be labelled
_FLOOR_ID = 2
_JUMP = 0.1  # relative difference of depth between neighbours at which one hides the other
_POINTS = 200  # of a mesh, to tell how much of it is inside the picture


@dataclass(frozen=True)
class Seen:
    """A thing in view. `number` is its place in `Scene.things`; `share` of the picture's pixels that are of it.

    `box` is around its visible pixels, [0, 1]; `depth` the median of theirs in metres; `colour` the name of the colour
    that most of them have without light, if there is one; `inside` the share of the thing that is inside the picture's
    frame, hidden by others or not.
    """

    number: int
    thing: Placed
    share: float
    box: Box
    depth: float
    colour: str | None
    inside: float

    @property
    def middle(self) -> tuple[float, float]:
        """The middle of its box, across and down."""
        return (self.box.xmin + self.box.xmax) / 2, (self.box.ymin + self.box.ymax) / 2


def seen_things(scene: Scene, camera: Camera, view: View) -> tuple[Seen, ...]:
    """All things with a pixel in the picture, the largest first."""
    found = [_seen(scene, camera, view, number) for number in np.unique(view.things[view.things >= 0]).tolist()]
    return tuple(sorted(found, key=lambda seen: (-seen.share, seen.number)))


def labelled_boxes(seen: Sequence[Seen]) -> tuple[LabelledBox, ...]:
    """Boxes of the things that are large enough in the picture, labelled with their classes."""
    return tuple(LabelledBox(item.box, item.thing.furniture.kind.name) for item in seen if item.share >= LEAST_SHARE)


def class_regions(view: View) -> Regions:
    """The class of each pixel."""
    names = class_names()
    return Regions(view.classes, {number: names[number] for number in np.unique(view.classes).tolist()})


def instance_regions(view: View, seen: Sequence[Seen]) -> Regions:
    """0 for the room itself, 1, 2, ... for the things from the largest to the smallest, named by their classes."""
    ids = np.zeros(view.things.shape, np.uint8)
    for place, item in enumerate(seen, start=1):
        ids[view.things == item.number] = place
    return Regions(ids, {place: item.thing.furniture.kind.name for place, item in enumerate(seen, start=1)})


def known_metadata(view: View, seen: Sequence[Seen]) -> Metadata:
    """Fields that only the scene tells; those of pictures, boxes and maps are left to labellers.

    `walkability` is the share of pixels of floor and rugs, `objectness` that of things, `occlusion_score` the share of
    pixels whose neighbour is a tenth nearer or farther.
    """
    labelled = [item for item in seen if item.share >= LEAST_SHARE]
    names = class_names()
    rugs = [number for number, name in names.items() if name == "rug"]
    return Metadata(
        {
            "n_humans": sum(item.thing.furniture.kind.name == "person" for item in labelled),
            "n_sam_instances": len(labelled),
            "walkability": float(np.isin(view.classes, [_FLOOR_ID, *rugs]).mean()),
            "objectness": float((view.classes > len(BACKGROUND)).mean()),
            "occlusion_score": float(_jumps(view).mean()),
        }
    )


def _seen(scene: Scene, camera: Camera, view: View, number: int) -> Seen:
    mask = view.things == number
    top, bottom = np.flatnonzero(mask.any(axis=1))[[0, -1]].tolist()
    left, right = np.flatnonzero(mask.any(axis=0))[[0, -1]].tolist()
    height, width = mask.shape
    return Seen(
        number=number,
        thing=scene.things[number],
        share=float(mask.mean()),
        box=Box(left / width, top / height, (right + 1) / width, (bottom + 1) / height),
        depth=float(np.median(view.depth[mask])),
        colour=clear_name(view.colours[mask]),
        inside=_inside(scene.things[number], camera),
    )


def _inside(thing: Placed, camera: Camera) -> float:
    """The share of points of a thing that are in front of the camera and inside its picture."""
    corners = load_mesh(thing.furniture).triangles[:, 0].astype(np.float64)
    points = corners[:: max(1, len(corners) // _POINTS)] @ thing.matrix.T + np.array(thing.position)
    across, down, depth = camera.project(points).T
    return float(((depth > 0) & (across >= 0) & (across <= 1) & (down >= 0) & (down <= 1)).mean())


def _jumps(view: View) -> npt.NDArray[np.bool_]:
    """Pixels much nearer or farther than the one on their right or below."""
    depth = np.log(view.depth)
    jumps = np.zeros(depth.shape, bool)
    jumps[:-1] |= np.abs(np.diff(depth, axis=0)) > _JUMP
    jumps[:, :-1] |= np.abs(np.diff(depth, axis=1)) > _JUMP
    return jumps
