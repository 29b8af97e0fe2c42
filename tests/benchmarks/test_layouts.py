"""The benchmark of layouts counts kept neighbours."""

import numpy as np

from benchmarks.layouts import at_scale, kept, measure
from tests.search.test_layout import clusters


def test_kept_neighbours_are_counted() -> None:
    angles = np.linspace(0, 1.5, 41)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert kept(vectors, vectors, 10) > 0.99
    apart = np.random.default_rng(0).normal(size=(41, 2)).astype(np.float32)
    assert 0.1 < kept(vectors, apart, 10) < 0.45 < kept(vectors, apart, 30) < 0.95


def test_the_map_is_measured_beside_components_and_chance() -> None:
    report = measure(clusters(60)[0])
    assert report["items"] == 60
    shares = report["kept"]
    assert shares["by chance"] == [0.169, 0.508]
    assert shares["map"][0] > shares["by chance"][0]
    assert all(0 <= first <= second <= 1 for first, second in shares.values())


def test_at_scale_time_and_memory_are_told() -> None:
    told = at_scale(60, dimension=16)
    assert told["items"] == 60
    assert set(told) == {"items", "seconds", "more MB"}
