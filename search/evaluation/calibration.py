"""Measures how true the probabilities of hits are: each query is asked with its item there and without it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from anyseek.search.answers.hits import NOTHING_GOOD
from anyseek.search.evaluation.real_collection import RealCollection
from anyseek.search.filters.tree import And, Compare, Filter, Not, Operator
from anyseek.search.types import Query, Results

Numbers = npt.NDArray[np.float64]
BINS = 10
ALL = "all"
_STEPS, _HALVINGS = 50, 20
_CLOSE = 1e-9  # of the loss, by which a further step gains nothing


@dataclass(frozen=True)
class Judged:
    """The first hits of queries of one kind: score, probability and whether it is the right item, each (n,).

    `best` bool (n,) tells each query's first hit, `there` whether the query's item could be found, and `nothing`
    whether the answer says that nothing good was found.
    """

    kind: str
    scores: npt.NDArray[np.float64]
    probabilities: npt.NDArray[np.float64]
    right: npt.NDArray[np.float64]
    best: npt.NDArray[np.bool_]
    there: npt.NDArray[np.bool_]
    nothing: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ScoreRow:
    """The probabilities of `queries` queries, each asked twice, and of their first ten `hits`.

    `error_of_best` and `error` are the expected calibration errors of the best hits, and of all of them. `by_score` and
    `by_probability` are the average precision of all hits in one order. `nothing_good` is the share of best hits that
    are called nothing good where the item is not there, `wrongly` where it is the best hit.
    """

    kind: str
    queries: int
    hits: int
    error_of_best: float
    error: float
    by_score: float
    by_probability: float
    nothing_good: float
    wrongly: float


def judged(
    collection: RealCollection, kind: str, keys: Sequence[str], queries: Sequence[Query], answers: Sequence[Results]
) -> Judged:
    """Judge the answers to queries whose right items have these keys, and ask them again of all other items."""
    without = [replace(query, where=_without(key, query.where)) for key, query in zip(keys, queries, strict=True)]
    there = _flat(answers, keys)
    columns = np.concatenate([there, _flat(collection.answers(without), keys)]).T
    present = np.arange(columns.shape[1]) < len(there)
    best, nothing = columns[3:].astype(np.bool_)
    return Judged(kind, columns[0], columns[1], columns[2], best, present, nothing)


def score_rows(found: Sequence[Judged]) -> tuple[ScoreRow, ...]:
    """A row for each kind, and one over all of them."""
    kinds = dict.fromkeys(series.kind for series in found)
    rows = [_row(kind, [series for series in found if series.kind == kind]) for kind in kinds]
    return (*rows, _row(ALL, found)) if rows else ()


def _row(kind: str, found: Sequence[Judged]) -> ScoreRow:
    def all_of(name: str) -> npt.NDArray[Any]:
        return np.concatenate([getattr(series, name) for series in found])

    scores, likely, right = all_of("scores"), all_of("probabilities"), all_of("right")
    best, there, nothing = all_of("best"), all_of("there"), all_of("nothing")
    not_there, best_right = nothing[best & ~there], nothing[best & there & (right > 0)]
    return ScoreRow(
        kind,
        int((best & there).sum()),
        len(scores),
        calibration_error(likely[best], right[best]),
        calibration_error(likely, right),
        average_precision(scores, right),
        average_precision(likely, right),
        float(not_there.mean()) if len(not_there) else 0.0,
        float(best_right.mean()) if len(best_right) else 0.0,
    )


def _flat(answers: Sequence[Results], keys: Sequence[str]) -> Numbers:
    """One row for each hit with a probability: score, probability, right, first, and whether nothing good was found:
    (n, 5).
    """
    rows = [
        (hit.score, hit.probability, hit.key == key, place == 0, (answer.note or "").startswith(NOTHING_GOOD))
        for answer, key in zip(answers, keys, strict=True)
        for place, hit in enumerate(answer.hits)
        if hit.probability is not None
    ]
    return np.array(rows, np.float64).reshape(-1, 5)


def _without(key: str, where: Filter | None) -> Filter:
    others = Not(Compare("@key", Operator.EQUAL, key))
    return others if where is None else And((where, others))


def logistic(columns: Numbers, targets: Numbers, weights: Numbers, ridge: Numbers) -> Numbers:
    """The coefficients (p,) of a logistic regression of targets in [0, 1] (n,) on `columns` (n, p), by Newton's method.

    Minimises the log losses by `weights` (n,) plus half the coefficients' squares by `ridge` (p,).
    """

    def loss(numbers: Numbers) -> float:
        logits = columns @ numbers
        return float(weights @ (np.logaddexp(0, logits) - targets * logits) + ridge @ numbers**2 / 2)

    numbers = np.zeros(columns.shape[1])
    now = loss(numbers)
    for _ in range(_STEPS):
        guess = sigmoid(columns @ numbers)
        slope = columns.T @ (weights * (guess - targets)) + ridge * numbers
        bend = (columns * (weights * guess * (1 - guess))[:, np.newaxis]).T @ columns + np.diag(ridge)
        step = np.linalg.solve(bend, slope)
        halved = next((half for half in 0.5 ** np.arange(_HALVINGS) if loss(numbers - half * step) <= now), 0.0)
        numbers, before, now = numbers - halved * step, now, loss(numbers - halved * step)
        if before - now <= _CLOSE * max(abs(now), _CLOSE):
            break
    return numbers


def sigmoid(logits: Numbers) -> Numbers:
    """1 / (1 + e^-x), also of what is far from 0."""
    return np.asarray(np.exp(-np.logaddexp(0, -logits)))


def calibration_error(
    probabilities: npt.NDArray[np.float64], right: npt.NDArray[np.float64], bins: int = BINS
) -> float:
    """The expected calibration error of hits (n,), each right (1) or not (0): over bins of as many hits each, the mean
    distance of their mean probability and the share of them that is right.
    """
    order = np.argsort(probabilities, kind="stable")
    some = [places for places in np.array_split(order, bins) if len(places)]
    distances = [abs(probabilities[places].mean() - right[places].mean()) * len(places) for places in some]
    return float(sum(distances) / max(len(order), 1))


def average_precision(scores: npt.NDArray[np.number[Any]], right: npt.NDArray[np.float64]) -> float:
    """The average precision of hits of many queries in one order by their scores, highest first."""
    order = np.argsort(-scores, kind="stable")
    places = np.flatnonzero(right[order]) + 1
    return float((np.arange(1, len(places) + 1) / places).mean()) if len(places) else 0.0
