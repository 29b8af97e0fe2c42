import numpy as np
import pytest

from search.errors import BadQuery
from search.fusion import centre, fuse

X, Y = np.array([1, 0], np.float32), np.array([0, 1], np.float32)


def test_centring_subtracts_the_mean_and_makes_unit_rows() -> None:
    found = centre(np.stack([X, Y]), np.array([0.5, 0.5], np.float32))
    half = np.sqrt(0.5)
    np.testing.assert_allclose(found, [[half, -half], [-half, half]], atol=1e-6)
    assert found.dtype == np.float32


def test_centring_on_zero_changes_nothing() -> None:
    np.testing.assert_array_equal(centre(X[np.newaxis], np.zeros(2, np.float32))[0], X)


def test_a_row_that_equals_the_mean_has_no_direction() -> None:
    nearly = X + np.float32(1e-7)
    np.testing.assert_array_equal(centre(np.stack([X, nearly]), X), np.zeros((2, 2)))


def test_no_rows_are_no_rows() -> None:
    assert centre(np.empty((0, 2), np.float32), X).shape == (0, 2)


def test_parts_are_summed_by_weight_and_renormalised() -> None:
    np.testing.assert_allclose(fuse(np.stack([X, Y]), [3, 4]), [0.6, 0.8], atol=1e-6)


def test_only_ratios_of_weights_matter() -> None:
    for scale in (1e-30, 1e30, 1e300):
        np.testing.assert_allclose(fuse(np.stack([X, Y]), [3 * scale, 4 * scale]), [0.6, 0.8], atol=1e-6)


def test_a_negative_weight_pushes_away() -> None:
    np.testing.assert_allclose(fuse(np.stack([X, Y]), [1, -1]), [np.sqrt(0.5), -np.sqrt(0.5)], atol=1e-6)
    np.testing.assert_allclose(fuse(X[np.newaxis], [-2]), -X)


@pytest.mark.parametrize(("rows", "weights"), [([X, X], [1, -1]), ([X], [0]), ([X, Y], [0, 0]), ([0 * X], [1])])
def test_parts_that_cancel_out_are_a_bad_query(rows: list[np.ndarray], weights: list[float]) -> None:
    with pytest.raises(BadQuery, match="cancel each other out"):
        fuse(np.stack(rows), weights)
