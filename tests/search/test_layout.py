"""Layouts of maps: deterministic, neighbours together, and finite for any number of vectors."""

import numpy as np
import pytest

from anyseek.model.seam import FloatArray
from anyseek.search.maps import project


def clusters(count: int, kinds: int = 5, dimension: int = 64) -> tuple[FloatArray, FloatArray]:
    """Unit vectors (n, d) around centres, and the number of each one's centre (n,)."""
    random = np.random.default_rng(3)
    kind = np.arange(count) % kinds
    vectors = random.normal(size=(kinds, dimension))[kind] + 0.4 * random.normal(size=(count, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), kind


def share_of_own_kind(positions: FloatArray, kind: FloatArray) -> float:
    """The share of the five nearest on the map that are of the same kind."""
    apart = ((positions[:, np.newaxis] - positions) ** 2).sum(axis=2)
    np.fill_diagonal(apart, np.inf)
    return float((kind[np.argsort(apart, axis=1)[:, :5]] == kind[:, np.newaxis]).mean())


def test_clusters_stay_apart_and_equal_vectors_make_equal_maps() -> None:
    vectors, kind = clusters(150, kinds=3)
    positions = project(vectors)
    assert (positions.shape, positions.dtype) == ((150, 2), np.float32)
    assert np.abs(positions).max() == 1
    assert share_of_own_kind(positions, kind) > 0.99
    assert np.array_equal(positions, project(vectors))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 7])
def test_few_vectors_have_places_of_their_own(count: int) -> None:
    positions = project(clusters(7)[0][:count])
    assert positions.shape == (count, 2)
    assert len(np.unique(positions, axis=0)) == count
    assert np.isfinite(positions).all()


@pytest.mark.parametrize(
    "vectors",
    [np.zeros((40, 8)), np.tile(np.eye(8)[2], (40, 1)), np.linspace(-1, 1, 9)[:, np.newaxis]],
    ids=["zero", "equal", "of one dimension"],
)
def test_vectors_without_two_directions_have_finite_places(vectors: FloatArray) -> None:
    positions = project(vectors.astype(np.float32))
    assert positions.shape == (len(vectors), 2)
    assert np.isfinite(positions).all()
    assert np.abs(positions).max() <= 1


def test_the_axes_are_the_directions_of_most_variance() -> None:
    random = np.random.default_rng(0)
    vectors = (random.normal(size=(200, 5)) * [0.1, 5, 0.2, 1, 0.3]).astype(np.float32)
    positions = project(vectors)
    assert abs(np.corrcoef(positions[:, 0], vectors[:, 1])[0, 1]) > 0.99
    assert abs(np.corrcoef(positions[:, 1], vectors[:, 3])[0, 1]) > 0.99
