"""Measures how well queries find the right items: ranks, recall, average precision, and intervals. NumPy only."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anyseek.model.seam import FloatArray
from anyseek.search.answers.ranks import BoolArray, Cosines, IntArray, first_ranks

_RESAMPLES, _SEED = 1000, 0
_MAX_DRAWS = 4_000_000  # query numbers that resampling holds in memory
_MAX_COSINES = 8_000_000
_DECIMALS = 6  # of a cosine; smaller differences are only rounding


@dataclass(frozen=True)
class Estimate:
    """A number measured on queries, and its 95% bootstrap interval over them."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Scores:
    """The scores of one kind of query in one gallery.

    `at_1`, `at_5` and `at_10` are the share of queries, in [0, 1], with a right item among the first 1, 5 and 10.
    `median_rank` is the median rank of the first right item, from 1. `mean_average_precision` is in [0, 1], and is
    known only if items have labels. `queries` and `gallery` count both sides.
    """

    queries: int
    gallery: int
    at_1: Estimate
    at_5: Estimate
    at_10: Estimate
    median_rank: Estimate
    mean_average_precision: Estimate | None


@dataclass(frozen=True)
class Answers:
    """Which items of a gallery of m are right for each of n queries.

    `own` int64 (n,) is the row of the query's own item, or `NO_ITEM` if it has none; then any item that shares a label
    with the query is right. Labels are bool (n, L) and (m, L); L may be 0. With `own_is_query`, the own item is the
    query itself, and average precision leaves it out because it measures finding others of its kind.
    """

    own: IntArray
    query_labels: BoolArray
    gallery_labels: BoolArray
    own_is_query: bool = False


def score(queries: FloatArray, gallery: FloatArray, answers: Answers) -> Scores | None:
    """Compare unit rows (n, d) of queries with unit rows (m, d) of a gallery; None if no query has a right item.

    Ties count against the query, so vectors that are all equal find nothing.
    """
    ranks, precisions = [np.empty(0, np.int64)], [np.empty(0)]
    items = gallery.astype(np.float64)  # so equal vectors score the same wherever they fall in BLAS's blocks
    at_once = max(1, _MAX_COSINES // max(1, len(gallery)))
    for start in range(0, len(queries), at_once):
        rows = slice(start, start + at_once)
        cosines = np.round(queries[rows].astype(np.float64) @ items.T, _DECIMALS)
        shared = answers.query_labels[rows].astype(np.float32) @ answers.gallery_labels.T.astype(np.float32) > 0
        ranks.append(first_ranks(cosines, answers.own[rows], shared))
        precisions.append(average_precisions(cosines, answers.own[rows], shared, answers.own_is_query))
    right_ranks = np.concatenate(ranks)
    right_ranks = right_ranks[right_ranks > 0]
    if not len(right_ranks):
        return None
    at_1, at_5, at_10 = (estimate((right_ranks <= k).astype(np.float64), np.mean) for k in (1, 5, 10))
    known_precisions = np.concatenate(precisions)
    known_precisions = known_precisions[~np.isnan(known_precisions)]
    mean_average_precision = estimate(known_precisions, np.mean) if len(known_precisions) else None
    median_rank = estimate(right_ranks.astype(np.float64), np.median)
    return Scores(len(right_ranks), len(gallery), at_1, at_5, at_10, median_rank, mean_average_precision)


def average_precisions(
    cosines: Cosines, own: IntArray, shared: BoolArray, own_is_query: bool
) -> npt.NDArray[np.float64]:
    """Return the mean of the precisions at the ranks of the items that share a label; NaN if there are none."""
    if not shared.any():
        return np.full(len(cosines), np.nan)
    if own_is_query:
        others = np.arange(cosines.shape[1]) != own[:, None]
        shared, cosines = shared & others, np.where(others, cosines, -np.inf)
    order = np.lexsort((shared, -cosines), axis=1)  # among equal cosines, wrong items come first
    hits = np.take_along_axis(shared, order, axis=1)
    precisions = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    counts = hits.sum(axis=1)
    total = np.where(hits, precisions, 0.0).sum(axis=1)
    means: npt.NDArray[np.float64] = np.divide(total, counts, out=np.full(len(hits), np.nan), where=counts > 0)
    return means


def estimate(
    values: npt.NDArray[np.float64], statistic: Callable[..., npt.NDArray[np.float64] | np.floating]
) -> Estimate:
    """Return `statistic` (a mean or median over an axis) of values (n,), and its 95% interval by 1,000 resamples.

    The resamples are drawn with a fixed seed.
    """
    generator = np.random.default_rng(_SEED)
    at_once = max(1, _MAX_DRAWS // len(values))
    statistics = []
    for start in range(0, _RESAMPLES, at_once):
        size = (min(at_once, _RESAMPLES - start), len(values))
        statistics.append(statistic(values[generator.integers(len(values), size=size)], axis=1))
    low, high = np.quantile(np.concatenate(statistics), (0.025, 0.975))
    return Estimate(float(statistic(values)), float(low), float(high))
