"""Plain records that describe a furnished room; `furnish` fills them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from anyseek.model.rooms.camera import DoubleArray
from anyseek.model.rooms.catalogue import Furniture

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
