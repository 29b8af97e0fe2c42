"""Choose a camera position in a furnished room from which something is in view."""

from collections.abc import Iterator

import numpy as np

from anyseek.model.rooms.camera import Camera, DoubleArray
from anyseek.model.rooms.render import visible_shares
from anyseek.model.rooms.scene import Placed, Scene

_TRIES = 14
_LOOK = 32  # pixels of a first look
_LEAST_SHARE = 0.012  # of the picture, for a thing to count as seen
_LARGEST_SHARE = 0.55  # of the picture, that one thing may take
_NEAREST = 0.35  # metres
_CLEARANCE = 0.2  # metres between the camera and things
_CLOSE_UP = 0.2  # how often a small thing on a table is looked at from near


def choose_camera(scene: Scene, random: np.random.Generator) -> Camera | None:
    """A camera that sees at least two things and is inside none; None if there is none, so skip the room."""
    best, best_seen = None, 1
    for camera in _candidates(scene, random):
        shares, depths = visible_shares(scene, camera, _LOOK)
        if depths.min() < _NEAREST or shares.max(initial=0) > _LARGEST_SHARE:
            continue
        seen = int((shares >= _LEAST_SHARE).sum())
        if seen >= random.integers(3, 7):
            return camera
        if seen > best_seen:
            best, best_seen = camera, seen
    return best


def _candidates(scene: Scene, random: np.random.Generator) -> Iterator[Camera]:
    upon = [thing for thing in scene.things if thing.support is not None]
    close_up = bool(upon) and random.random() < _CLOSE_UP
    targets = upon if close_up else [thing for thing in scene.things if thing.furniture.elevation == 0] or scene.things
    for _ in range(_TRIES if targets else 0):
        camera = _towards(scene, targets[int(random.integers(len(targets)))], close_up, random)
        if camera is not None:
            yield camera


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
    if not inside or level < 0.3 or any(_within(place, thing) for thing in scene.things):
        return None
    pitch = float(np.clip(np.arctan2(up, level), -0.9, 0.5))
    return Camera(
        position=(float(place[0]), float(place[1]), float(place[2])),
        yaw=float(np.arctan2(across, -ahead)),
        pitch=pitch,
        roll=float(random.normal(0, 0.02)),
        fov=float(np.deg2rad(random.uniform(45, 60) if close_up else random.uniform(55, 80))),
    )


def _within(place: DoubleArray, thing: Placed) -> bool:
    low, high = thing.bounds
    return bool((place > low - _CLEARANCE).all() and (place < high + _CLEARANCE).all())
