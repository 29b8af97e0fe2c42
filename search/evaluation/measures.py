"""Measures how well queries find the right items: ranks, recall, average precision, and intervals. NumPy only."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anyseek.model.seam import FloatArray
from anyseek.search.answers.ranks import BoolArray, Cosines, IntArray, first_ranks

_RESAMPLES, _SEED = 1000, 0
_DRAWN_AT_ONCE = 4_000_000  # query numbers that resampling holds in memory
_COSINES_AT_ONCE = 8_000_000
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


@dataclass(frozen=True)
class Outcomes:
    """The result of each of n queries in a gallery of `gallery` items.

    `ranks` int64 (n,) is the rank of the first right item, from 1, or 0 if no item is right. `precisions` float64 (n,)
    is the average precision, or NaN if no item shares a label.
    """

    ranks: IntArray
    precisions: npt.NDArray[np.float64]
    gallery: int


def score(queries: FloatArray, gallery: FloatArray, answers: Answers) -> Scores | None:
    """Compare queries with a gallery and return the scores; None if no query has a right item."""
    return scores_of(outcomes(queries, gallery, answers))


def outcomes(queries: FloatArray, gallery: FloatArray, answers: Answers) -> Outcomes:
    """Compare unit rows (n, d) of queries with unit rows (m, d) of a gallery.

    Ties count against the query, so vectors that are all equal find nothing.
    """
    found, precisions = [np.empty(0, np.int64)], [np.empty(0)]
    items = gallery.astype(np.float64)  # so equal vectors score the same wherever they fall in BLAS's blocks
    at_once = max(1, _COSINES_AT_ONCE // max(1, len(gallery)))
    for start in range(0, len(queries), at_once):
        rows = slice(start, start + at_once)
        cosines = np.round(queries[rows].astype(np.float64) @ items.T, _DECIMALS)
        shared = answers.query_labels[rows].astype(np.float32) @ answers.gallery_labels.T.astype(np.float32) > 0
        found.append(first_ranks(cosines, answers.own[rows], shared))
        precisions.append(_average_precisions(cosines, answers.own[rows], shared, answers.own_is_query))
    return Outcomes(np.concatenate(found), np.concatenate(precisions), len(gallery))


def scores_of(found: Outcomes) -> Scores | None:
    """Average outcomes into scores; None if no query has a right item."""
    ranks = found.ranks[found.ranks > 0]
    if not len(ranks):
        return None
    at_1, at_5, at_10 = (estimate((ranks <= k).astype(np.float64), np.mean) for k in (1, 5, 10))
    median_rank = estimate(ranks.astype(np.float64), np.median)
    return Scores(len(ranks), found.gallery, at_1, at_5, at_10, median_rank, _mean_known(found.precisions))


@dataclass(frozen=True)
class Gain:
    """The gain of another way of answering the same queries: its scores minus those of the usual way.

    The intervals are those of the differences, query by query.
    """

    at_1: Estimate
    at_10: Estimate
    mean_average_precision: Estimate | None


def gain(usual: Outcomes, other: Outcomes) -> Gain:
    """Return the gain of `other` over `usual`, for the same queries and right items, some of them in the gallery."""
    asked = usual.ranks > 0
    before, after = usual.ranks[asked], other.ranks[asked]
    at_1, at_10 = (estimate((after <= k) - (before <= k).astype(np.float64), np.mean) for k in (1, 10))
    return Gain(at_1, at_10, _mean_known(other.precisions - usual.precisions))


def _mean_known(values: npt.NDArray[np.float64]) -> Estimate | None:
    """Return the mean of the values that are not NaN; None if all are NaN."""
    known = values[~np.isnan(values)]
    return estimate(known, np.mean) if len(known) else None


def _average_precisions(
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
    """Return `statistic` (a mean or median over an axis) of values (n,), and its interval by 1,000 seeded resamples."""
    low, high = bootstrap_interval(values, statistic)
    return Estimate(float(statistic(values)), low, high)


def bootstrap_interval(
    values: npt.NDArray[np.generic], statistic: Callable[..., npt.NDArray[np.float64] | np.floating] = np.mean
) -> tuple[float, float]:
    """The 95% percentile interval of a statistic of `values` (n,), by 1,000 resamples with a fixed seed."""
    generator = np.random.default_rng(_SEED)
    at_once = max(1, _DRAWN_AT_ONCE // len(values))
    drawn = []
    for start in range(0, _RESAMPLES, at_once):
        size = (min(at_once, _RESAMPLES - start), len(values))
        drawn.append(statistic(values[generator.integers(len(values), size=size)], axis=1))
    low, high = np.quantile(np.concatenate(drawn), (0.025, 0.975))
    return float(low), float(high)


@dataclass(frozen=True)
class Recall:
    """The emoji suite's result for a row: R@1, R@10, the median rank, the number of queries, and 95% intervals."""

    at_1: float
    at_10: float
    median_rank: float
    queries: int
    interval_at_1: tuple[float, float]
    interval_at_10: tuple[float, float]


def recall(found: IntArray) -> Recall:
    """Compute recall and its bootstrap intervals over queries from their ranks. Raises `ValueError` without ranks."""
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
