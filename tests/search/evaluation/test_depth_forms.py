"""What the suite counts as a depth map that was read the right way round."""

import numpy as np

from anyseek.search.evaluation.depth_forms import CONVENTIONS, FormsRow, measure_forms


def test_a_floor_that_comes_nearer_is_right_and_one_that_goes_away_is_not() -> None:
    rows = np.linspace(4, 1, 60, dtype=np.float32)[:, None]
    floor = np.broadcast_to(rows, (60, 40)).copy()
    row = measure_forms("floors", [floor, floor[::-1].copy()])
    assert row.maps == 2
    assert set(row.right) == set(CONVENTIONS)
    by_scene_alone = ("8-bit PNG, near dark", "8-bit PNG, near bright", "NPY, m", "NPY, inverse")
    assert {row.right[name] for name in by_scene_alone} == {0.5}
    assert not row.reached


def test_the_aim_is_95_per_cent_over_all_conventions() -> None:
    assert FormsRow("a", 10, {"x": 1.0, "y": 0.9}).reached
    assert not FormsRow("a", 10, {"x": 1.0, "y": 0.89}).reached
