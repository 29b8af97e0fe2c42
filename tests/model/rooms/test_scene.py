import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from anyseek.model.rooms.scene import Camera

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
