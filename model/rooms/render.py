"""Render a view of a room: the picture by Lambert's law, shadows and ambient light, and what is known of each pixel.

Rays hit the room's box by arithmetic and the objects in it by Embree. That keeps one tree per object, built once per
process; rays are transformed into the object's own frame. Embree computes in float32, so distances are recomputed from
the triangles' planes in float64.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from anyseek.model.errors import PackageMissing
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.rooms.catalogue import Furniture
from anyseek.model.rooms.mesh import Mesh, load_mesh, luminance, sample
from anyseek.model.rooms.scene import Camera, Covering, DoubleArray, Placed, Room, Scene, Texture
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


_JOINT = 0.012  # metres between tiles and bricks
_SIDE_NORMALS = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], np.float32)
_GAMMA = 2.2
_OFFSET = 2e-3  # metres above a surface from which shadows are looked for
_REACH = 3.0  # metres from which a light has half of its strength
_DARK_CORNER, _CORNER = 0.35, 0.35  # how much light the room's corners lose, and metres over which
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
    origin, directions = np.array(camera.position), camera.pixel_rays(size)
    hits = first_hits(scene, origin, directions)
    bare = hits.thing == NOTHING
    surfaces = _surfaces_of(scene, hits, origin, directions)
    linear = _lit(scene, surfaces)
    brightest = np.maximum(np.maximum(linear[:, 0], linear[:, 1]), linear[:, 2])
    exposure = _BRIGHT / max(float(np.percentile(brightest, 85)), 1e-3)
    rgb = _developed(linear, exposure).reshape(size, size, 3)
    edges = np.flatnonzero(_edges(rgb, hits.thing.reshape(size, size)))
    rgb.reshape(-1, 3)[edges] = _finer(scene, camera, edges, size, exposure)
    normals = surfaces.normals.astype(np.float64) @ camera.axes.T
    sides = np.where(bare, hits.surface, 0)
    side_ids = np.full(6, _WALL_ID, np.uint8)
    side_ids[FLOOR], side_ids[CEILING] = _FLOOR_ID, _CEILING_ID
    kinds = np.array([thing.furniture.kind.number for thing in scene.things] + [0], np.uint8)  # the last for NOTHING
    return View(
        rgb=np.asarray(np.rint(rgb * 255), np.uint8),
        depth=hits.distance.reshape(size, size).astype(np.float32),
        normal=np.rint((normals + 1) * 127.5).clip(0, 255).astype(np.uint8).reshape(size, size, 3),
        classes=np.where(bare, side_ids[sides], kinds[hits.thing]).reshape(size, size),
        things=hits.thing.reshape(size, size).astype(np.int16),
        colours=surfaces.colours.reshape(size, size, 3),
        sides=sides.reshape(size, size).astype(np.uint8),
    )


def visible_shares(scene: Scene, camera: Camera, size: int) -> tuple[FloatArray, DoubleArray]:
    """A quick look at `size` x `size` places: the share of the picture that each thing has, and all depths."""
    hits = first_hits(scene, np.array(camera.position), camera.pixel_rays(size))
    counts = np.bincount(hits.thing[hits.thing >= 0], minlength=len(scene.things))
    return np.asarray(counts / size**2, np.float32), hits.distance


def _edges(rgb: FloatArray, things: IntArray) -> npt.NDArray[np.bool_]:
    """Pixels that differ from a neighbour in their thing or much in colour: (H, W)."""
    edges = np.zeros(things.shape, bool)
    for here, there in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differs = (things[here] != things[there]) | (np.abs(rgb[here] - rgb[there]) @ np.ones(3, np.float32) > _EDGE)
        edges[here] |= differs
        edges[there] |= differs
    return edges


def _finer(scene: Scene, camera: Camera, pixels: IntArray, size: int, exposure: float) -> FloatArray:
    """The mean colours of pixels, each looked through at four places: (n, 3)."""
    rows, columns = np.divmod(pixels, size)
    places = [(columns + across, rows + down) for across in _QUARTERS for down in _QUARTERS]
    places_across, places_down = np.concatenate(places, axis=1)
    directions = camera.rays(places_across, places_down, size)
    origin = np.array(camera.position)
    surfaces = _surfaces_of(scene, first_hits(scene, origin, directions), origin, directions)
    return np.asarray(_developed(_lit(scene, surfaces), exposure).reshape(4, -1, 3).mean(axis=0))


@dataclass(frozen=True, eq=False)
class _Surfaces:
    """The hits of n rays, (n, 3) each: `points` in metres, unit `normals` towards the viewer, `colours` in sRGB."""

    points: DoubleArray
    normals: FloatArray
    colours: FloatArray


def _surfaces_of(scene: Scene, hits: Hits, origin: DoubleArray, directions: DoubleArray) -> _Surfaces:
    """The surfaces that rays hit, with their colours without light."""
    points = origin + directions * hits.distance[:, None]
    normals = np.empty((len(points), 3), np.float32)
    colours = np.empty((len(points), 3), np.float32)
    for side, normal in enumerate(_SIDE_NORMALS):
        rays = np.flatnonzero((hits.thing == NOTHING) & (hits.surface == side))
        # A wall's first direction runs along it, a floor's across the room.
        across, up = points[rays, 2 if side in (LOW_X, HIGH_X) else 0], points[rays, 1]
        if side in (FLOOR, CEILING):
            up = points[rays, 2]
        normals[rays], colours[rays] = normal, _covering_colours(scene.room.coverings[side], across, up)
    for number, placed in enumerate(scene.things):
        rays = np.flatnonzero(hits.thing == number)
        if rays.size:
            normals[rays], colours[rays] = _thing_surface(placed, hits, rays)
    away = np.einsum("ij,ij->i", normals, directions) > 0
    normals[away] *= -1  # a model's faces may be wound either way round
    return _Surfaces(points, normals, colours)


def _thing_surface(placed: Placed, hits: Hits, rays: IntArray) -> tuple[FloatArray, FloatArray]:
    """Unit normals in the world and colours where `rays` meet a thing.

    Painted materials take the paint's colour and keep their own light and dark.
    """
    mesh, triangles = load_mesh(placed.furniture), hits.surface[rays]
    second, third = hits.weights[rays].T
    weights = np.stack([1 - second - third, second, third], axis=1).astype(np.float32)
    normals = np.einsum("nc,ncd->nd", weights, mesh.normals[triangles])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
    uv = np.einsum("nc,ncd->nd", weights, mesh.uv[triangles])
    materials = mesh.material[triangles].astype(np.int64)
    colours = np.empty((len(materials), 3), np.float32)
    paint = dict(placed.paint)
    for number in np.unique(materials).tolist():
        of_material = np.flatnonzero(materials == number)
        material = mesh.materials[number]
        own = sample(material, uv[of_material])
        if number in paint:
            relative = luminance(own) / max(material.luminance, 0.05) if material.texture is not None else np.ones(1)
            own = np.array(paint[number], np.float32) * np.clip(relative, 0.5, 1.4)[:, None]
        colours[of_material] = own
    return np.asarray(normals @ placed.matrix.T, np.float32), colours.clip(0, 1)


def _lit(scene: Scene, surfaces: _Surfaces) -> FloatArray:
    """Linear colours (n, 3) of the light that surfaces reflect."""
    upward = 0.75 + 0.25 * surfaces.normals[:, 1:2]
    light = scene.ambient * upward * _corners(scene.room, surfaces.points)[:, None]
    raised = surfaces.points + _OFFSET * surfaces.normals
    for source in scene.lights:
        position = np.array(source.position)
        towards = position - raised
        squared = np.einsum("ij,ij->i", towards, towards)
        facing = np.einsum("ij,ij->i", towards, surfaces.normals) / np.sqrt(np.maximum(squared, 1e-9))
        strength = np.maximum(facing, 0) / (1 + squared / _REACH**2)
        rays = np.flatnonzero(strength > 0)
        strength[rays[blocked(scene, raised[rays], position)]] = 0
        light = light + strength[:, None] * np.array(source.colour)
    return np.asarray(surfaces.colours**_GAMMA * light, np.float32)


def _corners(room: Room, points: DoubleArray) -> DoubleArray:
    """Ambient occlusion near the room's edges, as the share of light that arrives: (n,) in [0, 1]."""
    gap = np.minimum(points, np.array(room.size) - points)
    across, up, along = np.exp(-np.maximum(gap, 0) / _CORNER).T
    # A place on a side is always near that side; the second nearest side forms the corner.
    second = np.maximum(np.minimum(across, up), np.minimum(np.maximum(across, up), along))
    return np.asarray(1 - _DARK_CORNER * second)


def _developed(linear: FloatArray, exposure: float) -> FloatArray:
    """Linear colours as sRGB in [0, 1]; the brightest are compressed instead of cut."""
    exposed = linear * exposure
    return np.asarray((exposed * (1 + exposed / 4) / (1 + exposed)) ** (1 / _GAMMA), np.float32).clip(0, 1)


def _covering_colours(covering: Covering, across: DoubleArray, up: DoubleArray) -> FloatArray:
    """sRGB colours (n, 3) in [0, 1] of a covering at places of a side, in metres along its two directions."""
    share = _second_share(covering, across, up)
    first, second = np.array(covering.first, np.float32), np.array(covering.second, np.float32)
    return np.asarray(first + (second - first) * share[:, None].astype(np.float32), np.float32)


def _second_share(covering: Covering, across: DoubleArray, up: DoubleArray) -> DoubleArray:
    """The share of the second colour at each place of a covering: (n,)."""
    size, seed = covering.size, covering.seed
    match covering.texture:
        case Texture.PLANKS:
            row = np.floor(across / size)
            length = up / (size * 8) + _noise(row, row, seed)
            gap = (across / size % 1 < 0.05) | (length % 1 < 0.006)
            return np.where(gap, 1.6, _noise(row, np.floor(length), seed + 1))
        case Texture.TILES:
            joint = (across % size < _JOINT) | (up % size < _JOINT)
            return np.where(joint, 1.0, 0.25 * _noise(np.floor(across / size), np.floor(up / size), seed))
        case Texture.CHECKS:
            return (np.floor(across / size) + np.floor(up / size)) % 2
        case Texture.STRIPES:
            return np.floor(across / size) % 2
        case Texture.BRICKS:
            row = np.floor(up / size)
            shifted = across + (row % 2) * size * 1.25
            joint = (up % size < _JOINT) | (shifted % (size * 2.5) < _JOINT)
            return np.where(joint, 1.0, 0.4 * _noise(row, np.floor(shifted / (size * 2.5)), seed))
        case Texture.CARPET:
            return _noise(np.floor(across / 0.02), np.floor(up / 0.02), seed)
    return np.zeros(len(across))


def _noise(first: DoubleArray, second: DoubleArray, seed: int) -> DoubleArray:
    """A number in [0, 1) for each pair of whole numbers, always the same for the same pair and seed."""
    mixed = first.astype(np.int64) * 374761393 + second.astype(np.int64) * 668265263 + seed
    mixed = (mixed ^ (mixed >> 13)) * 1274126177
    return ((mixed ^ (mixed >> 16)) & 0xFFFF) / 65536
