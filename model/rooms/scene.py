"""Plain records that describe a furnished room and the camera in it; `furnish` fills them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anyseek.model.rooms.catalogue import Furniture

DoubleArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera of square pictures.

    `position` in metres; angles in radians: `yaw` turns from -z to the right, `pitch` up, `roll` clockwise around the
    axis; `fov` is the whole angle of view, across as well as down.
    """

    position: tuple[float, float, float]
    yaw: float
    pitch: float
    roll: float
    fov: float

    @property
    def axes(self) -> DoubleArray:
        """Unit vectors in the world, one a row: right, up, and back (towards the viewer)."""
        forward = np.array(
            [np.sin(self.yaw) * np.cos(self.pitch), np.sin(self.pitch), -np.cos(self.yaw) * np.cos(self.pitch)]
        )
        level_right = np.array([np.cos(self.yaw), 0.0, np.sin(self.yaw)])
        level_up = np.cross(level_right, forward)
        right = np.cos(self.roll) * level_right - np.sin(self.roll) * level_up
        return np.array([right, np.cross(right, forward), -forward])

    def rays(self, columns: npt.ArrayLike, rows: npt.ArrayLike, size: int) -> DoubleArray:
        """Directions through places of a picture of `size` pixels: (n, 3), of length 1 along the axis.

        Columns and rows are in pixels from the upper left corner; the middle of the first pixel is (0.5, 0.5). As the
        length along the axis is 1, a distance in such directions is the depth along the axis.
        """
        half = np.tan(self.fov / 2)
        across = (2 * np.asarray(columns, np.float64) / size - 1) * half
        down = (2 * np.asarray(rows, np.float64) / size - 1) * half
        right, up, back = self.axes
        return np.asarray(across[:, None] * right - down[:, None] * up - back)

    def pixel_rays(self, size: int) -> DoubleArray:
        """Directions through the middles of all pixels, row by row: (size * size, 3)."""
        rows, columns = np.divmod(np.arange(size * size), size)
        return self.rays(columns + 0.5, rows + 0.5, size)

    def project(self, points: DoubleArray) -> DoubleArray:
        """Where points (n, 3) are seen: columns and rows in [0, 1] of the picture and depths, (n, 3).

        Only meaningful where the depth is positive.
        """
        across, up, back = ((points - np.array(self.position)) @ self.axes.T).T
        scale = -2 * back * np.tan(self.fov / 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.stack([0.5 + across / scale, 0.5 - up / scale, -back], axis=1)


Colour = tuple[float, float, float]  # sRGB in [0, 1]


class Texture(StrEnum):
    """What a floor or wall is covered with."""

    PLAIN = "plain"
    PLANKS = "planks"
    TILES = "tiles"
    CHECKS = "checks"
    STRIPES = "stripes"
    BRICKS = "bricks"
    CARPET = "carpet"


@dataclass(frozen=True)
class Covering:
    """A texture in two colours; `size` of its planks, tiles or stripes in metres, `seed` of its irregularities."""

    texture: Texture
    first: Colour
    second: Colour
    size: float
    seed: int


@dataclass(frozen=True)
class Room:
    """A closed box from the origin to `size` (width, height, depth).

    `coverings` are of low and high x, low and high y, low and high z. `kind` is what the room is furnished as.
    """

    kind: str
    size: tuple[float, float, float]
    coverings: tuple[Covering, ...]


class Box3(NamedTuple):
    """A box along the axes, metres."""

    low: DoubleArray
    high: DoubleArray


@dataclass(frozen=True)
class Placed:
    """A piece of furniture in a room: the middle of its base at `position`, turned by `turn` radians around y.

    Turned by 0 it faces z, by a quarter x. `paint` gives materials, by their place in the mesh, another colour.
    `support` is the place in `Scene.things` of what it stands on, None for the floor, a wall or the ceiling.
    """

    furniture: Furniture
    position: tuple[float, float, float]
    turn: float
    paint: tuple[tuple[int, Colour], ...] = ()
    support: int | None = None

    @property
    def bounds(self) -> Box3:
        """The box around it in the world."""
        width, height, depth = self.furniture.size
        cosine, sine = abs(np.cos(self.turn)), abs(np.sin(self.turn))
        half = np.array([width * cosine + depth * sine, 0, width * sine + depth * cosine]) / 2
        base = np.array(self.position)
        return Box3(base - half, base + half + (0, height, 0))

    @property
    def matrix(self) -> DoubleArray:
        """Turns directions of the object into directions of the world: (3, 3), for columns."""
        cosine, sine = np.cos(self.turn), np.sin(self.turn)
        return np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])

    def inward(self, points: DoubleArray) -> DoubleArray:
        """Points (n, 3) of the world in the object's own frame."""
        return self.turned_inward(points - np.array(self.position))

    def turned_inward(self, directions: DoubleArray) -> DoubleArray:
        """Directions (n, 3) of the world in the object's own frame."""
        return np.asarray(directions @ self.matrix)


@dataclass(frozen=True)
class Light:
    """A point light: `colour` linear, its strength in it."""

    position: tuple[float, float, float]
    colour: Colour


@dataclass(frozen=True)
class Scene:
    """A furnished room. `ambient` is the strength of light from everywhere."""

    room: Room
    things: tuple[Placed, ...]
    lights: tuple[Light, ...]
    ambient: float
