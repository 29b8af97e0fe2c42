"""Centring, the order of neighbours, and the backend of the settings."""

from dataclasses import replace

import numpy as np
import pytest

from anyseek.search.errors import IndexUnavailable
from anyseek.search.settings import Index, Qdrant, Settings
from anyseek.search.spaces.base import Neighbours, centre, check_backend, nearest

X, Y = np.array([1, 0], np.float32), np.array([0, 1], np.float32)


def test_centring_subtracts_the_mean_and_makes_unit_rows() -> None:
    found = centre(np.stack([X, Y]), np.array([0.5, 0.5], np.float32))
    half = np.sqrt(0.5)
    np.testing.assert_allclose(found, [[half, -half], [-half, half]], atol=1e-6)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(centre(X[np.newaxis], np.zeros(2, np.float32))[0], X)
    assert centre(np.empty((0, 2), np.float32), X).shape == (0, 2)


def test_a_row_that_equals_the_mean_has_no_direction() -> None:
    nearly = X + np.float32(1e-7)
    np.testing.assert_array_equal(centre(np.stack([X, nearly]), X), np.zeros((2, 2)))


def test_equal_scores_are_ordered_by_id_whatever_an_index_returns_first() -> None:
    scores = np.array([0.5, 0.9, 0.5, 0.5, 0.1], np.float32)

    def find(vectors: np.ndarray, count: int) -> Neighbours:
        order = np.lexsort((-np.arange(5), -scores))[:count]  # of equals the highest id first
        return Neighbours(order[np.newaxis] + 1, scores[order][np.newaxis])

    found = nearest(find, X[np.newaxis], 2, 5)
    assert found.ids.tolist() == [[2, 1]]
    assert nearest(find, X[np.newaxis], 9, 5).ids.tolist() == [[2, 1, 3, 4, 5]]
    assert nearest(find, X[np.newaxis], 0, 5).ids.shape == (1, 0)


def test_each_block_is_centred_by_itself_and_keeps_its_length() -> None:
    rows = np.array([[0.6, 0.0, 0.0, 0.8], [0.0, 0.0, 0.0, 1.0]], np.float32)
    mean = np.array([0.3, 0.3, 0.0, 0.4], np.float32)
    found = centre(rows, mean, (2, 2))
    half = 0.6 / np.sqrt(2)
    np.testing.assert_allclose(found[0], [half, -half, 0.0, 0.8], atol=1e-6)
    np.testing.assert_allclose(found[1], [0.0, 0.0, 0.0, 1.0], atol=1e-6)  # it has nothing in the first block
    np.testing.assert_allclose(centre(rows, mean, (4,)), centre(rows, mean), atol=1e-6)  # the whole vector


def test_settings_are_tried_out(settings: Settings) -> None:
    assert check_backend(settings) == "FAISS, auto, on the CPU of this process"
    local = replace(settings, index=Index(backend="qdrant"))
    assert "answers" in check_backend(local)
    with pytest.raises(IndexUnavailable, match="ANYSEEK_QDRANT_URL"):
        check_backend(replace(local, qdrant=Qdrant(url="http://127.0.0.1:9")))
