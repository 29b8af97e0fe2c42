"""Find the surface that each ray hits first: the room's box by arithmetic, the objects in it by Embree.

Embree keeps one tree per object, built once per process; rays are transformed into the object's own frame. Embree
computes in float32, so distances are recomputed from the triangles' planes in float64.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from anyseek.model.errors import PackageMissing
from anyseek.model.rooms.catalogue import Furniture
from anyseek.model.rooms.mesh import Mesh, load_mesh
from anyseek.model.rooms.scene import DoubleArray, Placed, Room, Scene
from anyseek.model.seam import FloatArray

NOTHING = -1
# The room's sides as seen by `Hits.surface` where no thing is hit: low and high x, low and high y, low and high z.
LOW_X, HIGH_X, FLOOR, CEILING, LOW_Z, HIGH_Z = range(6)

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Hits:
    """The first hits of n rays. `distance` float64 in lengths of the direction, infinite where nothing is hit.

    `thing` is the place in `Scene.things`, or NOTHING for the room itself; `surface` is the triangle of the thing, or
    the side of the room; `weights` (n, 2) are the triangle's barycentric coordinates of its second and third corner.
    """

    distance: DoubleArray
    thing: IntArray
    surface: IntArray
    weights: DoubleArray


def first_hits(scene: Scene, origin: DoubleArray, directions: DoubleArray) -> Hits:
    """The first hits of rays from a point (3,) inside the room in `directions` (n, 3)."""
    distance, surface = _room_hits(scene.room, origin, directions)
    hits = Hits(distance, np.full(len(directions), NOTHING), surface, np.zeros((len(directions), 2)))
    for number, placed in enumerate(scene.things):
        start, turned = placed.inward(origin[None])[0], placed.turned_inward(directions)
        entry = _box_entry(load_mesh(placed.furniture), start[None], turned)
        rays = np.flatnonzero(entry < hits.distance)
        if rays.size:
            _update(hits, rays, number, placed, start, turned[rays])
    return hits


def blocked(scene: Scene, points: DoubleArray, light: DoubleArray) -> npt.NDArray[np.bool_]:
    """Whether a thing is between points (n, 3) and a light (3,)."""
    shaded = np.zeros(len(points), bool)
    for placed in scene.things:
        start, end = placed.inward(points), placed.inward(light[None])
        towards = end - start
        rays = np.flatnonzero(~shaded & (_box_entry(load_mesh(placed.furniture), start, towards) < 1))
        if rays.size:
            distance = _intersect(placed.furniture, start[rays], towards[rays])["tfar"]
            shaded[rays] = distance < 1
    return shaded


def heights_below(furniture: Furniture, spots: DoubleArray) -> DoubleArray:
    """How high an object's surface is at spots (n, 3) of its own frame, whatever their y: (n,), 0 beside it."""
    above = spots * (1, 0, 1) + (0, furniture.size[1] + 1, 0)
    answer = _intersect(furniture, above, np.broadcast_to([0.0, -1.0, 0.0], above.shape))
    return np.where(answer["primID"] >= 0, furniture.size[1] + 1 - answer["tfar"], 0.0)


def _update(hits: Hits, rays: IntArray, number: int, placed: Placed, start: DoubleArray, turned: DoubleArray) -> None:
    """Replace what `rays` meet by the thing where it is nearer."""
    answer = _intersect(placed.furniture, np.broadcast_to(start, turned.shape), turned)
    met = answer["primID"] >= 0
    rays, turned, triangles = rays[met], turned[met], answer["primID"][met].astype(np.int64)
    corners = load_mesh(placed.furniture).triangles[triangles].astype(np.float64)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    facing = np.einsum("ij,ij->i", normal, turned)
    exact = np.einsum("ij,ij->i", normal, corners[:, 0] - start) / np.where(facing == 0, np.inf, facing)
    grazing = np.abs(exact - answer["tfar"][met]) > 1e-3 * exact + 1e-3  # the plane is seen from its edge
    distance = np.where(grazing, answer["tfar"][met], exact)
    nearer = distance < hits.distance[rays]
    rays = rays[nearer]
    hits.distance[rays], hits.thing[rays], hits.surface[rays] = distance[nearer], number, triangles[nearer]
    hits.weights[rays] = np.stack([answer["u"][met], answer["v"][met]], axis=1)[nearer]


def _room_hits(room: Room, origin: DoubleArray, directions: DoubleArray) -> tuple[DoubleArray, IntArray]:
    """Distances to the room's sides from inside, and which side."""
    distance, side = np.full(len(directions), np.inf), np.zeros(len(directions), np.int64)
    for axis in range(3):
        ahead = directions[:, axis] > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            reached = np.where(ahead, room.size[axis] - origin[axis], -origin[axis]) / directions[:, axis]
        nearer = (reached < distance) & (directions[:, axis] != 0)
        distance[nearer], side[nearer] = reached[nearer], (2 * axis + ahead)[nearer]
    return distance, side


def _box_entry(mesh: Mesh, start: DoubleArray, towards: DoubleArray) -> FloatArray:
    """Where rays enter the box around a mesh in its own frame: (n,), 0 from inside, infinite if they miss it."""
    starts, ahead = start.T.astype(np.float32), np.ascontiguousarray(towards.T, np.float32)
    entry, leave = np.zeros(len(towards), np.float32), np.full(len(towards), np.inf, np.float32)
    for axis, (low, high) in enumerate(zip(*_bounds(mesh), strict=True)):  # by columns, which NumPy does much faster
        with np.errstate(divide="ignore", invalid="ignore"):
            inverse = 1 / ahead[axis]
            first, second = (low - starts[axis]) * inverse, (high - starts[axis]) * inverse
        entry = np.fmax(entry, np.fmin(first, second))
        leave = np.fmin(leave, np.fmax(first, second))
    return np.where(leave >= entry, entry, np.inf)


@cache
def _bounds(mesh: Mesh) -> tuple[FloatArray, FloatArray]:
    """Low and high corner of a box around a mesh, a millimetre wider than it."""
    corners = mesh.triangles.reshape(-1, 3)
    return corners.min(axis=0) - np.float32(1e-3), corners.max(axis=0) + np.float32(1e-3)


def _intersect(furniture: Furniture, start: DoubleArray, towards: DoubleArray) -> dict[str, npt.NDArray[Any]]:
    """Embree's answer in the object's own frame: `primID` (-1 for no hit), `tfar`, `u` and `v`, each (n,)."""
    answer: dict[str, npt.NDArray[Any]] = _tree(furniture).run(
        np.ascontiguousarray(start, np.float32), np.ascontiguousarray(towards, np.float32), output=True
    )
    return answer


@cache
def _tree(furniture: Furniture) -> Any:
    try:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene
    except ImportError as error:
        raise PackageMissing("rooms are rendered with embreex: pip install 'anyseek[data]'") from error
    triangles = load_mesh(furniture).triangles
    tree = EmbreeScene()
    TriangleMesh(tree, triangles.reshape(-1, 3), np.arange(3 * len(triangles), dtype=np.int32).reshape(-1, 3))
    return tree
