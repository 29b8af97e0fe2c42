"""Rooms whose depth and normals follow from arithmetic."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyseek.model.rooms.render import View, render
from anyseek.model.rooms.scene import Camera, Light, Placed, Room, Scene
from tests.model.rooms.conftest import PLAIN, Boxes, room_with

pytestmark = pytest.mark.usefixtures("embree")

LEVEL = Camera((3.0, 1.0, 7.0), 0.0, 0.0, 0.0, np.pi / 2)  # looks along -z, 7 m from the far wall
SIZE = 64


@pytest.fixture
def view(make_box: Boxes) -> View:
    """A red cube of 1 m whose front is 3.5 m ahead."""
    cube = Placed(make_box("box"), (3.0, 0.0, 3.0), 0.0)
    return render(room_with(cube), LEVEL, SIZE)


def test_depth_is_measured_along_the_axis(view: View) -> None:
    cube = view.things == 0
    np.testing.assert_allclose(view.depth[cube], 3.5, atol=1e-5)  # all of its front, however far from the axis
    np.testing.assert_allclose(view.depth[SIZE // 2 - 3, SIZE // 2], 7.0, atol=1e-5)
    rows = np.arange(SIZE)[view.depth[:, 0] < 7]
    below = rows[rows > SIZE / 2]
    down = (2 * (below + 0.5) / SIZE - 1) * np.tan(np.pi / 4)
    np.testing.assert_allclose(view.depth[below, SIZE // 4 + 4], np.minimum(1 / down, 7.0), rtol=1e-5)  # the floor


def test_the_cube_takes_the_pixels_that_it_should(view: View) -> None:
    rows, columns = np.nonzero(view.things == 0)
    half = 0.5 / 3.5 * SIZE / 2  # of its width, in pixels
    assert columns.min() == round(SIZE / 2 - half)
    assert columns.max() == round(SIZE / 2 + half) - 1
    assert rows.min() == SIZE // 2  # its top is as high as the camera
    assert rows.max() == round(SIZE / 2 + 2 * half) - 1


def test_normals_are_right_up_and_towards_the_viewer(view: View) -> None:
    middle = SIZE // 2
    assert tuple(view.normal[middle + 4, middle]) == (128, 128, 255)  # the cube's front
    assert tuple(view.normal[SIZE - 1, middle]) == (128, 255, 128)  # the floor
    assert tuple(view.normal[0, middle]) == (128, 0, 128)  # the ceiling
    assert tuple(view.normal[middle, 0]) == (255, 128, 128)  # the wall on the left faces right
    assert tuple(view.normal[middle, SIZE - 1]) == (0, 128, 128)


def test_classes_are_those_of_the_room_and_the_thing(view: View) -> None:
    middle = SIZE // 2
    assert view.classes[0, middle] == 3
    assert view.classes[SIZE - 1, middle] == 2
    assert view.classes[middle, 0] == 1
    assert (view.classes[view.things == 0] == 4).all()
    np.testing.assert_allclose(view.colours[view.things == 0], [[0.8, 0.1, 0.1]] * (view.things == 0).sum(), rtol=1e-5)


def test_a_turned_camera_sees_turned_normals(make_box: Boxes) -> None:
    cube = Placed(make_box("box"), (3.0, 0.0, 3.0), 0.0)
    camera = Camera((5.5, 0.5, 3.0), -np.pi / 2, 0.0, 0.0, 1.0)  # looks along -x at the cube's side
    view = render(room_with(cube), camera, SIZE)
    assert tuple(view.normal[SIZE // 2, SIZE // 2]) == (128, 128, 255)
    assert view.depth[SIZE // 2, SIZE // 2] == pytest.approx(2.0, abs=1e-5)


def test_a_turned_thing_keeps_its_distance(make_box: Boxes) -> None:
    plank = Placed(make_box("plank", size=(2.0, 2.0, 0.2)), (3.0, 0.0, 3.0), np.pi / 2)
    view = render(room_with(plank), LEVEL, SIZE)
    assert view.depth[SIZE // 2, SIZE // 2] == pytest.approx(7.0 - 3.0 - 1.0, abs=1e-5)  # its short side is in front


def test_the_side_away_from_the_lamp_is_darker_and_casts_a_shadow(make_box: Boxes) -> None:
    cube = Placed(make_box("box", colour=(0.8, 0.8, 0.8)), (3.0, 0.0, 3.0), 0.0)
    room = Room("living", (6.0, 3.0, 8.0), (PLAIN,) * 6)
    lamp = Light((1.0, 1.5, 3.0), (1.0, 1.0, 1.0))
    view = render(Scene(room, (cube,), (lamp,), 0.2), Camera((3.0, 2.8, 7.0), 0.0, -0.6, 0.0, 1.2), 128)
    floor = view.classes == 2
    rows, columns = np.nonzero(view.things == 0)
    beside = floor[rows.max() - 2]
    left, right = beside & (np.arange(128) < columns.min()), beside & (np.arange(128) > columns.max())
    assert view.rgb[rows.max() - 2, right][:12].mean() < 0.75 * view.rgb[rows.max() - 2, left][-12:].mean()


angles = st.floats(-1.2, 1.2)


def test_a_level_camera_looks_along_minus_z() -> None:
    camera = Camera((0.0, 0.0, 0.0), 0.0, 0.0, 0.0, np.pi / 2)
    np.testing.assert_allclose(camera.axes, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(camera.rays([0.0, 50.0, 100.0], [0.0, 50.0, 0.0], 100)[:2], [[-1, 1, -1], [0, 0, -1]])


def test_yaw_turns_to_the_right_pitch_up_and_roll_clockwise() -> None:
    looking = -Camera((0, 0, 0), np.pi / 2, 0.0, 0.0, 1.0).axes[2]
    np.testing.assert_allclose(looking, [1, 0, 0], atol=1e-12)
    assert -Camera((0, 0, 0), 0.0, 0.5, 0.0, 1.0).axes[2][1] > 0
    right = Camera((0, 0, 0), 0.0, 0.0, 0.3, 1.0).axes[0]
    assert right[0] > 0 > right[1]  # the camera's right hand goes down


@given(angles, angles, angles, st.floats(0.3, 2.0))
def test_projecting_undoes_a_ray(yaw: float, pitch: float, roll: float, fov: float) -> None:
    camera = Camera((1.0, 2.0, 3.0), yaw, pitch, roll, fov)
    np.testing.assert_allclose(camera.axes @ camera.axes.T, np.eye(3), atol=1e-9)
    columns, rows = np.array([3.0, 40.0]), np.array([60.0, 11.0])
    points = np.array(camera.position) + 2.5 * camera.rays(columns, rows, 64)
    expected = np.stack([columns / 64, rows / 64, [2.5, 2.5]], axis=1)
    np.testing.assert_allclose(camera.project(points), expected, atol=1e-9)
