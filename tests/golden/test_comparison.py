"""What counts as equal and close."""

import numpy as np

from tests.golden.comparison import Comparison


def test_the_comparison_nearest_to_failing_is_reported() -> None:
    result = Comparison()
    result.close("loss", 1.0005, 1.0, 1e-3)
    result.close("state", np.array([2e-6, 0.0]), np.zeros(2), 1e-4)
    assert result.ok
    assert result.tolerance == 1e-3
    assert abs(result.max_abs_err - 5e-4) < 1e-9


def test_nan_and_other_shapes_fail() -> None:
    for wrong in (np.array([np.nan, 0.0]), np.zeros(3)):
        result = Comparison()
        result.close("state", wrong, np.zeros(2), 1e-4)
        assert not result.ok


def test_a_failure_is_not_hidden_by_a_later_success() -> None:
    result = Comparison()
    result.close("first", np.array([np.nan]), np.zeros(1), 1e-4)
    result.close("second", np.zeros(1), np.zeros(1), 1e-4)
    assert not result.ok
    assert np.isinf(result.max_abs_err)


def test_integers_are_compared_where_they_count() -> None:
    result = Comparison()
    result.equal("ids", np.array([1, 2]), np.array([1, 3]), np.array([True, False]))
    assert result.ok
    result.equal("ids", np.array([1, 2]), np.array([1, 3]))
    assert not result.integers_equal
