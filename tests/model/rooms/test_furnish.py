from pathlib import Path

import numpy as np
import pytest

from anyseek.model.data.samples import Split
from anyseek.model.rooms.catalogue import Furniture, read_catalogue, split_catalogue
from anyseek.model.rooms.furnish import choose_camera, furnish, is_free, place_upon
from anyseek.model.rooms.scene import Placed, Scene
from tests.model.rooms.conftest import Boxes, room_with


@pytest.fixture(scope="module")
def scenes(furniture: Path) -> list[Scene]:
    pool: tuple[Furniture, ...] = split_catalogue(read_catalogue(furniture))[Split.TEST]
    return [furnish(pool, np.random.default_rng(seed)) for seed in range(8)]


def test_things_are_inside_the_room_and_not_inside_each_other(scenes: list[Scene]) -> None:
    assert sum(len(scene.things) for scene in scenes) > 4 * len(scenes)
    for scene in scenes:
        for number, thing in enumerate(scene.things):
            others = [
                other
                for place, other in enumerate(scene.things)
                if number not in {place, other.support} and thing.support != place and not at_table(thing, other)
            ]
            assert is_free(thing, scene.room, others)


def at_table(first: Placed, second: Placed) -> bool:
    """Whether one may be partly under the other."""
    kinds = {first.furniture.kind.name, second.furniture.kind.name}
    return bool(kinds & {"chair", "stool"}) and bool(kinds & {"table", "desk"})


def test_small_things_stand_on_what_carries_them(scenes: list[Scene]) -> None:
    carried = [(scene, thing) for scene in scenes for thing in scene.things if thing.support is not None]
    assert carried
    for scene, thing in carried:
        below = scene.things[thing.support].bounds
        assert below.low[1] + 0.2 < thing.position[1] <= below.high[1] + 1e-3
        middle = np.array(thing.position)[[0, 2]]
        assert (middle > below.low[[0, 2]]).all()
        assert (middle < below.high[[0, 2]]).all()


def test_cameras_are_inside_the_room_and_outside_of_things(scenes: list[Scene]) -> None:
    cameras = [(scene, choose_camera(scene, np.random.default_rng(0))) for scene in scenes[:4]]
    found = [(scene, camera) for scene, camera in cameras if camera is not None]
    assert len(found) >= 3
    for scene, camera in found:
        place = np.array(camera.position)
        assert (place > 0).all()
        assert (place < np.array(scene.room.size)).all()
        for thing in scene.things:
            assert (place < thing.bounds.low).any() or (place > thing.bounds.high).any()


@pytest.mark.usefixtures("embree")
def test_things_are_put_on_the_top_of_a_table(make_box: Boxes) -> None:
    table = Placed(make_box("table", (1.2, 0.7, 0.8)), (3.0, 0.0, 4.0), 0.7)
    room = room_with(table).room
    placed = place_upon(make_box("vase", (0.2, 0.3, 0.2)), 0, room, [table], np.random.default_rng(0))
    assert placed.support == 0
    assert placed.position[1] == pytest.approx(0.7, abs=1e-5)


@pytest.mark.usefixtures("embree")
def test_nothing_is_put_on_what_is_too_small_or_too_high(make_box: Boxes) -> None:
    vase = make_box("vase", (0.4, 0.3, 0.4))
    for size in ((0.3, 0.7, 0.3), (1.0, 1.8, 1.0)):
        below = Placed(make_box("below", size), (3.0, 0.0, 4.0), 0.0)
        assert place_upon(vase, 0, room_with(below).room, [below], np.random.default_rng(0)) is None


def test_overlapping_boxes_are_not_free(make_box: Boxes) -> None:
    box = make_box("box")
    room = room_with().room
    assert not is_free(Placed(box, (3.0, 0.0, 3.0), 0.0), room, [Placed(box, (3.9, 0.0, 3.0), 0.0)])
    assert is_free(Placed(box, (3.0, 0.0, 3.0), 0.0), room, [Placed(box, (4.1, 0.0, 3.0), 0.0)])
    assert not is_free(Placed(box, (0.4, 0.0, 3.0), 0.0), room, [])  # sticks through the wall
