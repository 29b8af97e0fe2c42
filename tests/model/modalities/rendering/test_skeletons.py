import numpy as np

from anyseek.model.modalities.formats.boxes import Box
from anyseek.model.modalities.rendering.skeletons import CROWN, HEAD, LEFT, PARENTS, RIGHT, fitted, joints

UPRIGHT = np.diag([1.0, -1.0, -1.0])  # facing the camera, whose y points down
STILL = np.tile(np.eye(3, dtype=np.float32), (23, 1, 1))
L_SHOULDER, L_ELBOW, L_WRIST, R_WRIST, L_FOOT = 16, 18, 20, 21, 10


def test_a_body_that_stands_still_is_symmetric_and_upright() -> None:
    places = joints(STILL, UPRIGHT)
    assert places[CROWN, 1] < places[HEAD, 1] < places[0, 1] < places[L_FOOT, 1]
    for left, right in zip(sorted(LEFT), sorted(RIGHT), strict=True):
        np.testing.assert_allclose(places[left] * (-1, 1, 1), places[right], atol=1e-12)
    assert places[L_WRIST, 0] > 0  # its left hand is on our right
    height = places[L_FOOT, 1] - places[CROWN, 1]
    assert 0.95 < height < 1.05


def test_a_turned_joint_takes_along_what_hangs_on_it() -> None:
    quarter = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]], np.float32)  # the left arm from level to hanging
    turned = STILL.copy()
    turned[L_SHOULDER - 1] = quarter
    still, moved = joints(STILL, UPRIGHT), joints(turned, UPRIGHT)
    np.testing.assert_allclose(moved[L_SHOULDER], still[L_SHOULDER])
    np.testing.assert_allclose(moved[L_ELBOW, 0], moved[L_SHOULDER, 0], atol=1e-6)
    assert moved[L_WRIST, 1] > moved[L_ELBOW, 1] > moved[L_SHOULDER, 1]
    np.testing.assert_allclose(moved[R_WRIST], still[R_WRIST])


def test_predicted_matrices_count_as_the_nearest_rotation() -> None:
    noisy = np.random.default_rng(0).normal(size=(23, 3, 3)).astype(np.float32)
    for places in (joints(noisy, UPRIGHT), joints(np.zeros_like(noisy), np.zeros((3, 3)))):
        lengths = [np.linalg.norm(places[j] - places[p]) for j, p in enumerate(PARENTS) if p >= 0]
        expected = joints(STILL, UPRIGHT)
        wanted = [np.linalg.norm(expected[j] - expected[p]) for j, p in enumerate(PARENTS) if p >= 0]
        np.testing.assert_allclose(lengths, wanted, atol=1e-6)
    np.testing.assert_allclose(joints(STILL * 2, UPRIGHT * 3), joints(STILL, UPRIGHT), atol=1e-9)


def test_a_figure_fills_its_box() -> None:
    box = Box(0.2, 0.1, 0.5, 0.9)
    points, height = fitted(joints(STILL, UPRIGHT), box)
    low, high = points.min(axis=0), points.max(axis=0)
    np.testing.assert_allclose((low + high) / 2, [0.35, 0.5])
    assert (low >= np.array([0.2, 0.1]) - 1e-9).all()
    assert (high <= np.array([0.5, 0.9]) + 1e-9).all()
    np.testing.assert_allclose(high[0] - low[0], 0.3)  # the arms are out, so the width decides
    assert 0.25 < height < 0.35
