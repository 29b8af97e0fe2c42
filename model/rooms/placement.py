"""Place objects on the floor, against a wall or on other objects, without overlaps."""

from collections.abc import Sequence

import numpy as np

from anyseek.model.rooms.camera import DoubleArray
from anyseek.model.rooms.catalogue import Furniture
from anyseek.model.rooms.scene import Placed, Room
from anyseek.model.rooms.tracing import heights_below

GAP = 0.03  # metres that things keep from each other
_TRIES = 30
_CHEST_HEIGHT = 1.35  # metres above which nothing is put on things
_LEVEL = 0.012  # metres that a surface may be uneven for a thing to stand on it
_FLAT = frozenset({"rug"})  # classes that others may stand on


def place(
    furniture: Furniture, where: str, room: Room, things: Sequence[Placed], random: np.random.Generator
) -> Placed | None:
    """The furniture at a free place of the kind `where` (see `ObjectClass.places`), None if none was found."""
    for _ in range(_TRIES):
        placed = _anywhere(furniture, where, room, random)
        if placed is not None and is_free(placed, room, things):
            return placed
    return None


def place_at_table(
    chair: Furniture, room: Room, things: Sequence[Placed], tables: Sequence[Placed], random: np.random.Generator
) -> Placed | None:
    """The chair at a free side of one of the tables and facing it, None if there is none."""
    for _ in range(_TRIES):
        table = tables[int(random.integers(len(tables)))]
        quarter = int(random.integers(4))
        width, _, depth = table.furniture.size
        reach, length = (depth, width) if quarter % 2 == 0 else (width, depth)
        away = reach / 2 + chair.size[2] * random.uniform(0.25, 0.6)
        along = random.uniform(-0.5, 0.5) * max(0.0, length - chair.size[0])
        turn = table.turn + quarter * np.pi / 2
        outward, across = np.array([np.sin(turn), 0, np.cos(turn)]), np.array([np.cos(turn), 0, -np.sin(turn)])
        spot = np.array(table.position) + outward * away + across * along
        placed = Placed(chair, _tuple(spot), turn + np.pi + random.normal(0, 0.15))
        if is_free(placed, room, [thing for thing in things if thing is not table]):
            return placed
    return None


def place_upon(
    furniture: Furniture, support: int, room: Room, things: Sequence[Placed], random: np.random.Generator
) -> Placed | None:
    """The furniture on level ground of the thing numbered `support`, None if none was found."""
    below = things[support]
    width, _, depth = below.furniture.size
    half = max(furniture.size[0], furniture.size[2]) / 2
    for _ in range(_TRIES):
        spot = np.array([random.uniform(-0.5, 0.5) * width, 0, random.uniform(-0.5, 0.5) * depth])
        corners = spot + half * 0.75 * np.array([[0, 0, 0], [1, 0, 1], [1, 0, -1], [-1, 0, 1], [-1, 0, -1]])
        heights = heights_below(below.furniture, corners)
        if np.ptp(heights) > _LEVEL or not 0.2 < heights[0] < _CHEST_HEIGHT:
            continue
        base = below.matrix @ (spot + np.array([0, heights.max(), 0])) + np.array(below.position)
        turn = below.turn + random.normal(0, 0.5)
        placed = Placed(furniture, _tuple(base), turn, support=support)
        others = [thing for number, thing in enumerate(things) if number != support]
        if is_free(placed, room, others):
            return placed
    return None


def is_free(placed: Placed, room: Room, things: Sequence[Placed]) -> bool:
    """Whether it is inside the room and apart from the things."""
    low, high = placed.bounds
    if (low < -1e-6).any() or (high > np.array(room.size) + 1e-6).any():
        return False
    flat = placed.furniture.kind.name in _FLAT
    return all(_apart(placed, thing) for thing in things if (thing.furniture.kind.name in _FLAT) == flat)


def _apart(first: Placed, second: Placed) -> bool:
    gap = np.maximum(first.bounds.low - second.bounds.high, second.bounds.low - first.bounds.high)
    return bool((gap > (GAP, -1e-6, GAP)).any())


def _anywhere(furniture: Furniture, where: str, room: Room, random: np.random.Generator) -> Placed | None:
    """Somewhere in the room, free or not; None if it cannot be there at all."""
    width, height, depth = room.size
    if where == "wall":
        return _at_wall(furniture, room, random)
    if where == "ceiling":
        base = height - furniture.size[1]
        turn = 0.0
    else:
        base = 0.0
        turn = float(random.integers(4)) * np.pi / 2 if where == "rug" else random.uniform(-np.pi, np.pi)
    spot = np.array([random.uniform(0, width), base, random.uniform(0, depth)])
    return Placed(furniture, _tuple(spot), turn)


def _at_wall(furniture: Furniture, room: Room, random: np.random.Generator) -> Placed | None:
    """With its back to one of the walls, at the height it hangs at, somewhere along."""
    width, height, depth = room.size
    side = int(random.integers(4))  # low z, low x, high z, high x: it faces away by quarter turns
    length = width if side % 2 == 0 else depth
    room_left = length - furniture.size[0] - 2 * GAP
    if room_left < 0 or furniture.elevation + furniture.size[1] > height:
        return None
    along = furniture.size[0] / 2 + GAP + random.uniform(0, room_left)
    away = furniture.size[2] / 2 + 0.005
    x, z = [(along, away), (away, along), (along, depth - away), (width - away, along)][side]
    return Placed(furniture, (x, furniture.elevation, z), side * np.pi / 2)


def _tuple(point: DoubleArray) -> tuple[float, float, float]:
    return float(point[0]), float(point[1]), float(point[2])
