"""How well queries find what they should: recall, ranks, and how sure one can be. NumPy only."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.embedder import FloatArray

IntArray = npt.NDArray[np.int64]
_RESAMPLES, _SEED = 1000, 0


@dataclass(frozen=True)
class Recall:
    """R@1 and R@10 in [0, 1], the median rank (from 1), the number of queries and 95% intervals of both recalls."""

    at_1: float
    at_10: float
    median_rank: float
    queries: int
    interval_at_1: tuple[float, float]
    interval_at_10: tuple[float, float]


def ranks(queries: FloatArray, gallery: FloatArray, right: IntArray) -> IntArray:
    """The rank (from 1) of row `right[i]` of `gallery` for query i: unit rows (q, d), (g, d), (q,) -> (q,).

    Ties count against the query, so vectors that are all alike find nothing.
    """
    scores = queries @ gallery.T
    own = scores[np.arange(len(queries)), right]
    found: IntArray = (scores >= own[:, None]).sum(axis=1).astype(np.int64)
    return found


def recall(found: IntArray) -> Recall:
    """Recall and its bootstrap intervals over queries, from their ranks. Raises `ValueError` without ranks."""
    if not len(found):
        raise ValueError("recall needs at least one query")
    return Recall(
        float(np.mean(found <= 1)),
        float(np.mean(found <= 10)),
        float(np.median(found)),
        len(found),
        bootstrap_interval(found <= 1),
        bootstrap_interval(found <= 10),
    )


def bootstrap_interval(hits: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """The 95% percentile interval of the mean of `hits` (n,), by 1,000 resamples with a fixed seed."""
    generator = np.random.default_rng(_SEED)
    means = hits[generator.integers(len(hits), size=(_RESAMPLES, len(hits)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)
