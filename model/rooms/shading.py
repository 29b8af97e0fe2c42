"""Colour and light the places that rays hit: textures, Lambert's law, shadows, ambient light."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anyseek.model.rooms.mesh import Mesh, load_mesh, luminance, sample
from anyseek.model.rooms.scene import Covering, DoubleArray, Placed, Room, Scene, Texture
from anyseek.model.rooms.tracing import CEILING, FLOOR, HIGH_X, LOW_X, NOTHING, Hits, IntArray, blocked
from anyseek.model.seam import FloatArray

_JOINT = 0.012  # metres between tiles and bricks


def covering_colours(covering: Covering, across: DoubleArray, up: DoubleArray) -> FloatArray:
    """sRGB colours (n, 3) in [0, 1] of a covering at places of a side, in metres along its two directions."""
    share = _SHARES[covering.texture](across, up, covering.size, covering.seed)
    first, second = np.array(covering.first, np.float32), np.array(covering.second, np.float32)
    return np.asarray(first + (second - first) * share[:, None].astype(np.float32), np.float32)


_Share = Callable[[DoubleArray, DoubleArray, float, int], DoubleArray]


def _plain(across: DoubleArray, up: DoubleArray, size: float, seed: int) -> DoubleArray:
    return np.zeros(len(across))


def _planks(across: DoubleArray, up: DoubleArray, size: float, seed: int) -> DoubleArray:
    row = np.floor(across / size)
    length = up / (size * 8) + _noise(row, row, seed)
    plank = _noise(row, np.floor(length), seed + 1)
    gap = (across / size % 1 < 0.05) | (length % 1 < 0.006)
    return np.where(gap, 1.6, plank)


def _tiles(across: DoubleArray, up: DoubleArray, size: float, seed: int) -> DoubleArray:
    joint = (across % size < _JOINT) | (up % size < _JOINT)
    return np.where(joint, 1.0, 0.25 * _noise(np.floor(across / size), np.floor(up / size), seed))


def _checks(across: DoubleArray, up: DoubleArray, size: float, seed: int) -> DoubleArray:
    return (np.floor(across / size) + np.floor(up / size)) % 2


def _stripes(across: DoubleArray, up: DoubleArray, size: float, seed: int) -> DoubleArray:
    return np.floor(across / size) % 2


def _bricks(across: DoubleArray, up: DoubleArray, size: float, seed: int) -> DoubleArray:
    row = np.floor(up / size)
    shifted = across + (row % 2) * size * 1.25
    joint = (up % size < _JOINT) | (shifted % (size * 2.5) < _JOINT)
    return np.where(joint, 1.0, 0.4 * _noise(row, np.floor(shifted / (size * 2.5)), seed))


def _carpet(across: DoubleArray, up: DoubleArray, size: float, seed: int) -> DoubleArray:
    return _noise(np.floor(across / 0.02), np.floor(up / 0.02), seed)


def _noise(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64], seed: int) -> DoubleArray:
    """A number in [0, 1) for each pair of whole numbers, always the same for the same pair and seed."""
    mixed = first.astype(np.int64) * 374761393 + second.astype(np.int64) * 668265263 + seed
    mixed = (mixed ^ (mixed >> 13)) * 1274126177
    return ((mixed ^ (mixed >> 16)) & 0xFFFF) / 65536


_SHARES: dict[Texture, _Share] = {
    Texture.PLAIN: _plain,
    Texture.PLANKS: _planks,
    Texture.TILES: _tiles,
    Texture.CHECKS: _checks,
    Texture.STRIPES: _stripes,
    Texture.BRICKS: _bricks,
    Texture.CARPET: _carpet,
}


_SIDE_NORMALS = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], np.float32)
_GAMMA = 2.2
_OFFSET = 2e-3  # metres above a surface from which shadows are looked for
_REACH = 3.0  # metres from which a light has half of its strength
_DARK_CORNER, _CORNER = 0.35, 0.35  # how much light the room's corners lose, and metres over which


@dataclass(frozen=True, eq=False)
class Surfaces:
    """Where n rays hit, (n, 3) each: `points` in metres, unit `normals` towards the viewer, `colours` in sRGB."""

    points: DoubleArray
    normals: FloatArray
    colours: FloatArray


def surfaces_of(scene: Scene, hits: Hits, origin: DoubleArray, directions: DoubleArray) -> Surfaces:
    """The surfaces that rays hit, with their colours without light."""
    points = origin + directions * hits.distance[:, None]
    normals = np.empty((len(points), 3), np.float32)
    colours = np.empty((len(points), 3), np.float32)
    for side in range(len(_SIDE_NORMALS)):
        rays = np.flatnonzero((hits.thing == NOTHING) & (hits.surface == side))
        normals[rays], colours[rays] = _SIDE_NORMALS[side], _side_colours(scene.room, side, points[rays])
    for number, placed in enumerate(scene.things):
        rays = np.flatnonzero(hits.thing == number)
        if rays.size:
            normals[rays], colours[rays] = _thing_surface(placed, hits, rays)
    away = np.einsum("ij,ij->i", normals, directions) > 0
    normals[away] *= -1  # a model's faces may be wound either way round
    return Surfaces(points, normals, colours)


def lit(scene: Scene, surfaces: Surfaces) -> FloatArray:
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


def developed(linear: FloatArray, exposure: float) -> FloatArray:
    """Linear colours as sRGB in [0, 1]; the brightest are compressed instead of cut."""
    exposed = linear * exposure
    return np.asarray((exposed * (1 + exposed / 4) / (1 + exposed)) ** (1 / _GAMMA), np.float32).clip(0, 1)


def _side_colours(room: Room, side: int, points: DoubleArray) -> FloatArray:
    """Of a wall, the floor or the ceiling; a wall's first direction runs along it, a floor's across the room."""
    if side in (FLOOR, CEILING):
        across, up = points[:, 0], points[:, 2]
    elif side in (LOW_X, HIGH_X):
        across, up = points[:, 2], points[:, 1]
    else:
        across, up = points[:, 0], points[:, 1]
    return covering_colours(room.coverings[side], across, up)


def _thing_surface(placed: Placed, hits: Hits, rays: IntArray) -> tuple[FloatArray, FloatArray]:
    """Unit normals in the world and colours where `rays` meet a thing."""
    mesh, triangles = load_mesh(placed.furniture), hits.surface[rays]
    second, third = hits.weights[rays].T
    weights = np.stack([1 - second - third, second, third], axis=1).astype(np.float32)
    normals = np.einsum("nc,ncd->nd", weights, mesh.normals[triangles])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
    uv = np.einsum("nc,ncd->nd", weights, mesh.uv[triangles])
    colours = _thing_colours(placed, mesh, mesh.material[triangles].astype(np.int64), uv)
    return np.asarray(normals @ placed.matrix.T, np.float32), colours


def _thing_colours(placed: Placed, mesh: Mesh, materials: IntArray, uv: FloatArray) -> FloatArray:
    """Painted materials take the paint's colour and keep their own light and dark."""
    colours = np.empty((len(materials), 3), np.float32)
    paint = dict(placed.paint)
    for number in np.unique(materials).tolist():
        rays = np.flatnonzero(materials == number)
        material = mesh.materials[number]
        own = sample(material, uv[rays])
        if number in paint:
            relative = luminance(own) / max(material.luminance, 0.05) if material.texture is not None else np.ones(1)
            own = np.array(paint[number], np.float32) * np.clip(relative, 0.5, 1.4)[:, None]
        colours[rays] = own
    return colours.clip(0, 1)


def _corners(room: Room, points: DoubleArray) -> DoubleArray:
    """How much of the light from everywhere reaches places near the room's edges: (n,) in [0, 1]."""
    gap = np.minimum(points, np.array(room.size) - points)
    across, up, along = np.exp(-np.maximum(gap, 0) / _CORNER).T
    # A place on a side is always near that side; the second nearest side forms the corner.
    second = np.maximum(np.minimum(across, up), np.minimum(np.maximum(across, up), along))
    return np.asarray(1 - _DARK_CORNER * second)
