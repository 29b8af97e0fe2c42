"""Render a view of a room: the picture, and what is known of each of its pixels."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.rooms.scene import Camera, DoubleArray, Scene
from anyseek.model.rooms.shading import Surfaces, developed, lit, surfaces_of
from anyseek.model.rooms.tracing import CEILING, FLOOR, NOTHING, Hits, IntArray, first_hits
from anyseek.model.seam import FloatArray

_WALL_ID, _FLOOR_ID, _CEILING_ID = 1, 2, 3  # as in `catalogue.BACKGROUND`
_EDGE = 0.25  # sum of differences of red, green and blue between neighbours above which both are drawn finer
_QUARTERS = (0.25, 0.75)  # where a pixel is looked through again, as parts of it
_BRIGHT = 0.75  # linear level that the brighter parts of a picture are exposed to


@dataclass(frozen=True, eq=False)
class View:
    """A picture of a room of (size, size) pixels.

    `rgb` and `normal` uint8 (H, W, 3): a normal's [0, 255] stands for [-1, 1], in the camera's frame of right, up and
    towards the viewer. `depth` float32 (H, W), metres along the camera's axis. `classes` uint8 (H, W), ids of
    `catalogue.class_names`; `things` int16 (H, W), places in `Scene.things`, -1 for the room itself. `colours` float32
    (H, W, 3), sRGB [0, 1] without light. `sides` uint8 (H, W), the room's side where no thing is.
    """

    rgb: ByteArray
    depth: FloatArray
    normal: ByteArray
    classes: npt.NDArray[np.uint8]
    things: npt.NDArray[np.int16]
    colours: FloatArray
    sides: npt.NDArray[np.uint8]


def render(scene: Scene, camera: Camera, size: int) -> View:
    """The view of a camera inside the room. All maps are of the middles of the pixels; edges of `rgb` are smoothed."""
    origin = np.array(camera.position)
    directions = camera.pixel_rays(size)
    hits = first_hits(scene, origin, directions)
    surfaces = surfaces_of(scene, hits, origin, directions)
    linear = lit(scene, surfaces)
    brightest = np.maximum(np.maximum(linear[:, 0], linear[:, 1]), linear[:, 2])
    exposure = _BRIGHT / max(float(np.percentile(brightest, 85)), 1e-3)
    rgb = developed(linear, exposure).reshape(size, size, 3)
    edges = np.flatnonzero(_edges(rgb, hits.thing.reshape(size, size)))
    rgb.reshape(-1, 3)[edges] = _finer(scene, camera, edges, size, exposure)
    return View(
        rgb=np.asarray(np.rint(rgb * 255), np.uint8),
        depth=hits.distance.reshape(size, size).astype(np.float32),
        normal=_encoded(surfaces, camera).reshape(size, size, 3),
        classes=_class_ids(scene, hits).reshape(size, size),
        things=hits.thing.reshape(size, size).astype(np.int16),
        colours=surfaces.colours.reshape(size, size, 3),
        sides=np.where(hits.thing == NOTHING, hits.surface, 0).reshape(size, size).astype(np.uint8),
    )


def _finer(scene: Scene, camera: Camera, pixels: IntArray, size: int, exposure: float) -> FloatArray:
    """The mean colours of pixels, each looked through at four places: (n, 3)."""
    rows, columns = np.divmod(pixels, size)
    places = [(columns + across, rows + down) for across in _QUARTERS for down in _QUARTERS]
    places_across, places_down = np.concatenate(places, axis=1)
    directions = camera.rays(places_across, places_down, size)
    origin = np.array(camera.position)
    surfaces = surfaces_of(scene, first_hits(scene, origin, directions), origin, directions)
    return np.asarray(developed(lit(scene, surfaces), exposure).reshape(4, -1, 3).mean(axis=0))


def _edges(rgb: FloatArray, things: IntArray) -> npt.NDArray[np.bool_]:
    """Pixels that differ from a neighbour in their thing or much in colour: (H, W)."""
    edges = np.zeros(things.shape, bool)
    for here, there in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differs = (things[here] != things[there]) | (np.abs(rgb[here] - rgb[there]) @ np.ones(3, np.float32) > _EDGE)
        edges[here] |= differs
        edges[there] |= differs
    return edges


def _encoded(surfaces: Surfaces, camera: Camera) -> ByteArray:
    seen = surfaces.normals.astype(np.float64) @ camera.axes.T
    return np.asarray(np.rint((seen + 1) * 127.5).clip(0, 255), np.uint8)


def _class_ids(scene: Scene, hits: Hits) -> npt.NDArray[np.uint8]:
    sides = np.full(6, _WALL_ID, np.uint8)
    sides[FLOOR], sides[CEILING] = _FLOOR_ID, _CEILING_ID
    kinds = np.array([thing.furniture.kind.number for thing in scene.things] + [0], np.uint8)  # the last for NOTHING
    return np.where(hits.thing == NOTHING, sides[np.where(hits.thing == NOTHING, hits.surface, 0)], kinds[hits.thing])


def visible_shares(scene: Scene, camera: Camera, size: int) -> tuple[FloatArray, DoubleArray]:
    """A quick look at `size` x `size` places: the share of the picture that each thing has, and all depths."""
    hits = first_hits(scene, np.array(camera.position), camera.pixel_rays(size))
    counts = np.bincount(hits.thing[hits.thing >= 0], minlength=len(scene.things))
    return np.asarray(counts / size**2, np.float32), hits.distance
