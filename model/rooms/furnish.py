"""Furnish a room at random: its kind, its objects and their places, colours and lights, and a camera in it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from anyseek.model.rooms.catalogue import FLAT, Furniture
from anyseek.model.rooms.mesh import load_mesh
from anyseek.model.rooms.render import heights_below, visible_shares
from anyseek.model.rooms.scene import Camera, Colour, Covering, DoubleArray, Light, Placed, Room, Scene, Texture

GAP = 0.03  # metres that things keep from each other
_PLACE_TRIES = 30
_CHEST_HEIGHT = 1.35  # metres above which nothing is put on things
_LEVEL = 0.012  # metres that a surface may be uneven for a thing to stand on it
_STOOD_ON = frozenset({"rug"})  # classes that others may stand on


def place(
    furniture: Furniture, where: str, room: Room, things: Sequence[Placed], random: np.random.Generator
) -> Placed | None:
    """The furniture at a free place of the kind `where` (see `ObjectClass.places`), None if none was found."""
    for _ in range(_PLACE_TRIES):
        placed = _anywhere(furniture, where, room, random)
        if placed is not None and is_free(placed, room, things):
            return placed
    return None


def place_at_table(
    chair: Furniture, room: Room, things: Sequence[Placed], tables: Sequence[Placed], random: np.random.Generator
) -> Placed | None:
    """The chair at a free side of one of the tables and facing it, None if there is none."""
    for _ in range(_PLACE_TRIES):
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
    for _ in range(_PLACE_TRIES):
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
    """Return whether it is inside the room and apart from the things."""
    low, high = placed.bounds
    if (low < -1e-6).any() or (high > np.array(room.size) + 1e-6).any():
        return False
    flat = placed.furniture.kind.name in _STOOD_ON
    for thing in things:
        gap = np.maximum(low - thing.bounds.high, thing.bounds.low - high)
        if (thing.furniture.kind.name in _STOOD_ON) == flat and not (gap > (GAP, -1e-6, GAP)).any():
            return False
    return True


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


# Paints for walls and furniture, before small variations: sRGB 0 to 255.
PAINTS = {
    "red": (190, 30, 35),
    "orange": (235, 125, 30),
    "yellow": (240, 205, 50),
    "green": (60, 140, 65),
    "dark green": (30, 80, 45),
    "turquoise": (55, 165, 160),
    "light blue": (135, 180, 225),
    "blue": (40, 85, 175),
    "navy": (25, 40, 90),
    "purple": (115, 60, 145),
    "pink": (235, 140, 170),
    "brown": (110, 70, 40),
    "beige": (215, 195, 160),
    "white": (240, 240, 238),
    "grey": (135, 135, 138),
    "black": (32, 32, 34),
}
# The furniture that defines each kind of room: one of these is placed first.
ROOMS: Mapping[str, tuple[str, ...]] = {
    "living": ("sofa", "armchair", "coffee table", "fireplace", "bookcase"),
    "bedroom": ("bed",),
    "kitchen": ("fridge", "oven", "sink", "cabinet", "table"),
    "bathroom": ("bathtub", "toilet", "sink"),
    "office": ("desk",),
    "children": ("bed", "desk", "toy"),
}
_FLOOR_SIDES = {"living": (3.2, 5.5), "bathroom": (2.2, 3.4), "kitchen": (2.6, 4.5)}
_TABLES = frozenset({"table", "desk"})  # what chairs are put at
_SUPPORTS = frozenset({"table", "coffee table", "desk", "cabinet", "bookcase", "washing machine", "oven", "fireplace"})
_SEATS = frozenset({"chair", "stool"})
_SMALL = (0.5, 0.75, 0.5)  # metres: what is no larger may stand on a table
_FLOOR = frozenset({"free", "wall"})  # places on the floor
_REPAINTED = 0.6  # how often a thing gets another colour, where its class allows
_PAINTED_SHARE = 0.7  # of its surface that gets it at least
_PALEST = 0.65  # of white that colours of walls and floors are mixed with at most

_FLOORS = (Texture.PLANKS, Texture.TILES, Texture.CHECKS, Texture.CARPET, Texture.PLAIN)
_WALLS = (Texture.PLAIN, Texture.PLAIN, Texture.PLAIN, Texture.STRIPES, Texture.BRICKS, Texture.TILES)
_FLOOR_PAINTS = ("brown", "brown", "beige", "beige", "grey", "white", "black", "red", "blue", "green")
_WALL_PAINTS = (
    *("white", "white", "beige", "beige", "grey", "light blue", "yellow"),
    *("green", "pink", "red", "blue", "turquoise", "orange", "purple"),
)
_TEXTURE_SIZES = {Texture.PLANKS: (0.1, 0.2), Texture.STRIPES: (0.06, 0.3), Texture.BRICKS: (0.06, 0.12)}


def furnish(pool: Sequence[Furniture], random: np.random.Generator) -> Scene:
    """A room with things of `pool` in it; the same state of `random` gives the same scene."""
    kind = tuple(ROOMS)[int(random.integers(len(ROOMS)))]
    room = _random_room(kind, random)
    fitting = [item for item in pool if kind in item.kind.rooms]
    standing = _by_class(item for item in fitting if not _hangs(item) and _FLOOR.intersection(item.kind.places))
    things: list[Placed] = []
    keys = [name for name in ROOMS[kind] if name in standing]
    _add(things, room, standing[keys[int(random.integers(len(keys)))]], random)
    _add_some(things, room, standing, int(random.integers(2, 7)), random)
    _add_some(things, room, _by_class(item for item in fitting if _hangs(item)), int(random.integers(0, 4)), random)
    for where, chance in (("ceiling", 0.35), ("rug", 0.3)):
        members = _by_class(item for item in fitting if where in item.kind.places)
        _add_some(things, room, members, int(random.random() < chance), random)
    small = [
        item
        for item in fitting
        if "table" in item.kind.places and not _hangs(item) and (np.array(item.size) <= _SMALL).all()
    ]
    _add_small(things, room, small, random)
    return Scene(room, tuple(things), _random_lights(room, random), float(random.uniform(0.25, 0.5)))


def _by_class(items: Iterable[Furniture]) -> dict[str, list[Furniture]]:
    classes: dict[str, list[Furniture]] = defaultdict(list)
    for furniture in items:
        classes[furniture.kind.name].append(furniture)
    return classes


def _hangs(furniture: Furniture) -> bool:
    """Whether it is on a wall, above the floor or in place of it."""
    return furniture.kind.name in FLAT or (furniture.elevation > 0 and "ceiling" not in furniture.kind.places)


def _add_some(
    things: list[Placed],
    room: Room,
    classes: Mapping[str, Sequence[Furniture]],
    count: int,
    random: np.random.Generator,
) -> None:
    """Put things of `count` classes somewhere, each class as likely as the others."""
    for _ in range(count if classes else 0):
        _add(things, room, classes[_one_of(tuple(classes), random)], random)


def _one_of(names: Sequence[str], random: np.random.Generator) -> str:
    return names[int(random.integers(len(names)))]


def _add(things: list[Placed], room: Room, members: Sequence[Furniture], random: np.random.Generator) -> None:
    """Put one of the members somewhere, sometimes several of it; nothing if there is no room for it."""
    furniture = members[int(random.integers(len(members)))]
    several = random.random() < (0.5 if furniture.kind.name in _SEATS else 0.08)
    paint = random_painting(furniture, random)
    for _ in range(int(random.integers(2, 5)) if several else 1):
        tables = [thing for thing in things if thing.furniture.kind.name in _TABLES]
        if furniture.kind.name in _SEATS and tables and random.random() < 0.8:
            placed = place_at_table(furniture, room, things, tables, random)
        else:
            where = [name for name in furniture.kind.places if name != "table"]
            placed = place(furniture, "wall" if _hangs(furniture) else _one_of(where, random), room, things, random)
        if placed is not None:
            things.append(Placed(placed.furniture, placed.position, placed.turn, paint))


def _add_small(things: list[Placed], room: Room, small: Sequence[Furniture], random: np.random.Generator) -> None:
    """Put small things on some of what stands in the room."""
    supports = [number for number, thing in enumerate(things) if thing.furniture.kind.name in _SUPPORTS]
    for support in supports:
        for _ in range(int(random.integers(0, 4)) if small else 0):
            furniture = small[int(random.integers(len(small)))]
            placed = place_upon(furniture, support, room, things, random)
            if placed is not None:
                paint = random_painting(furniture, random)
                things.append(Placed(furniture, placed.position, placed.turn, paint, support))


def random_paint(random: np.random.Generator, names: tuple[str, ...] = tuple(PAINTS)) -> Colour:
    """One of the paints, a little lighter or darker and off its hue: sRGB in [0, 1]."""
    base = np.array(PAINTS[names[int(random.integers(len(names)))]]) / 255
    return _colour(np.clip(base * random.uniform(0.85, 1.1) + random.normal(0, 0.02, 3), 0, 1))


def random_painting(furniture: Furniture, random: np.random.Generator) -> tuple[tuple[int, Colour], ...]:
    """Another colour for the materials that cover most of an object; mostly none where its class is not painted."""
    if not furniture.kind.painted or random.random() > _REPAINTED:
        return ()
    mesh = load_mesh(furniture)
    areas = np.bincount(mesh.material, weights=mesh.areas, minlength=len(mesh.materials))
    order = np.argsort(-areas, kind="stable")
    needed = int(np.searchsorted(np.cumsum(areas[order]), _PAINTED_SHARE * areas.sum())) + 1
    colour = random_paint(random)
    return tuple((int(material), colour) for material in order[:needed])


def _random_room(kind: str, random: np.random.Generator) -> Room:
    low, high = _FLOOR_SIDES.get(kind, (2.8, 4.8))
    size = (random.uniform(low, high), random.uniform(2.35, 3.0), random.uniform(low, high))
    wall = _random_covering(_WALLS, _WALL_PAINTS, random)
    accent = _random_covering(_WALLS, _WALL_PAINTS, random) if random.random() < 0.25 else wall
    floor = _random_covering(_FLOORS, _FLOOR_PAINTS, random)
    white = (random.uniform(0.82, 0.97),) * 3
    ceiling = Covering(Texture.PLAIN, white, white, 1.0, 0)
    walls = [wall, wall, wall, wall]
    walls[int(random.integers(4))] = accent
    return Room(kind, size, (walls[0], walls[1], floor, ceiling, walls[2], walls[3]))


def _random_covering(textures: Sequence[Texture], paints: tuple[str, ...], random: np.random.Generator) -> Covering:
    texture = textures[int(random.integers(len(textures)))]
    first = _paler(random_paint(random, paints), random.uniform(0, _PALEST))
    contrast = random.uniform(0.72, 0.93) if random.random() < 0.7 else random.uniform(1.07, 1.3)
    second = _colour(part * contrast for part in first)
    if texture is Texture.CHECKS:
        second = _paler(random_paint(random, paints), random.uniform(0, _PALEST))
    low, high = _TEXTURE_SIZES.get(texture, (0.2, 0.6))
    return Covering(texture, first, second, random.uniform(low, high), int(random.integers(2**31)))


def _paler(colour: Colour, share: float) -> Colour:
    return _colour(part + (0.92 - part) * share for part in colour)


def _colour(parts: Iterable[float]) -> Colour:
    red, green, blue = (min(1.0, float(part)) for part in parts)
    return red, green, blue


def _random_lights(room: Room, random: np.random.Generator) -> tuple[Light, ...]:
    """A lamp below the ceiling, and often light from one side, as of a window."""
    width, height, depth = room.size
    warm, cool = random.uniform(0.8, 1.0), random.uniform(0.85, 1.0)
    lamp = (random.uniform(0.2, 0.8) * width, height - 0.15, random.uniform(0.2, 0.8) * depth)
    lights = [Light(lamp, (1.0, (1 + warm) / 2, warm))]
    if random.random() < 0.7:
        strength = random.uniform(0.3, 1.2)
        side = (random.uniform(0.02, 0.98) * width, random.uniform(1.2, 2.2), float(random.integers(2)) * depth)
        lights.append(Light(side, (cool * strength, (1 + cool) / 2 * strength, strength)))
    return tuple(lights)


_TRIES = 14
_LOOK = 32  # pixels of a first look
_LEAST_SHARE = 0.012  # of the picture, for a thing to count as seen
_LARGEST_SHARE = 0.55  # of the picture, that one thing may take
_NEAREST = 0.35  # metres
_CLEARANCE = 0.2  # metres between the camera and things
_CLOSE_UP = 0.2  # how often a small thing on a table is looked at from near


def choose_camera(scene: Scene, random: np.random.Generator) -> Camera | None:
    """A camera that sees at least two things and is inside none; None if there is none, so skip the room."""
    upon = [thing for thing in scene.things if thing.support is not None]
    close_up = bool(upon) and random.random() < _CLOSE_UP
    targets = upon if close_up else [thing for thing in scene.things if thing.furniture.elevation == 0] or scene.things
    best, best_seen = None, 1
    for _ in range(_TRIES if targets else 0):
        camera = _towards(scene, targets[int(random.integers(len(targets)))], close_up, random)
        if camera is None:
            continue
        shares, depths = visible_shares(scene, camera, _LOOK)
        if depths.min() < _NEAREST or shares.max(initial=0) > _LARGEST_SHARE:
            continue
        seen = int((shares >= _LEAST_SHARE).sum())
        if seen >= random.integers(3, 7):
            return camera
        if seen > best_seen:
            best, best_seen = camera, seen
    return best


def _towards(scene: Scene, target: Placed, close_up: bool, random: np.random.Generator) -> Camera | None:
    """A camera at a random place that looks about at the target, None if something is at that place."""
    low, high = target.bounds
    aim = (low + high) / 2 + random.normal(0, 0.08 if close_up else 0.3, 3)
    if close_up:
        angle, distance = random.uniform(-np.pi, np.pi), random.uniform(0.5, 1.3)
        place = aim + np.array([distance * np.sin(angle), random.uniform(0.15, 0.7), distance * np.cos(angle)])
    else:
        width, _, depth = scene.room.size
        place = np.array([random.uniform(0, width), random.triangular(0.6, 1.5, 2.2), random.uniform(0, depth)])
    inside = (place > 0.1).all() and (place < np.array(scene.room.size) - 0.1).all()
    across, up, ahead = aim - place
    level = float(np.hypot(across, ahead))
    if not inside or level < 0.3:
        return None
    for thing in scene.things:
        low, high = thing.bounds
        if (place > low - _CLEARANCE).all() and (place < high + _CLEARANCE).all():
            return None
    pitch = float(np.clip(np.arctan2(up, level), -0.9, 0.5))
    return Camera(
        position=(float(place[0]), float(place[1]), float(place[2])),
        yaw=float(np.arctan2(across, -ahead)),
        pitch=pitch,
        roll=float(random.normal(0, 0.02)),
        fov=float(np.deg2rad(random.uniform(45, 60) if close_up else random.uniform(55, 80))),
    )
