"""Measures the calibration of hit probabilities: each query is repeated with its right item excluded."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from anyseek.search.answers.hits import NOTHING_GOOD
from anyseek.search.evaluation.real_collection import RealCollection
from anyseek.search.filters.tree import And, Compare, Filter, Not, Operator
from anyseek.search.types import Query, Results

BINS = 10
ALL = "all"


class JudgedHit(NamedTuple):
    """A hit of a query of some kind: `first` marks the best hit of its query, and `right` the query's own item.

    `present` tells whether the own item could be found, `nothing_good` whether the note says that nothing good was.
    """

    kind: str
    score: float
    probability: float
    right: bool
    first: bool
    present: bool
    nothing_good: bool


@dataclass(frozen=True)
class ScoreRow:
    """The probabilities of `queries` queries, each repeated without its item, and of their first ten `hits`.

    `error_of_best` and `error` are the expected calibration errors of the best hits, and of all of them. `by_score` and
    `by_probability` are the average precision of all hits in one order. `nothing_good` is the share of best hits that
    are called nothing good where the item is absent, `wrongly` where it is the best hit.
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


def judge_hits(
    collection: RealCollection, kind: str, keys: Sequence[str], queries: Sequence[Query], answers: Sequence[Results]
) -> list[JudgedHit]:
    """The hits of queries whose right items have these keys: of their `answers`, and with the right items excluded."""
    excluding = [replace(query, where=_excluding(key, query.where)) for key, query in zip(keys, queries, strict=True)]
    return [*_judge(kind, keys, answers, True), *_judge(kind, keys, collection.answers(excluding), False)]


def _judge(kind: str, keys: Sequence[str], answers: Sequence[Results], present: bool) -> Iterator[JudgedHit]:
    for key, answer in zip(keys, answers, strict=True):
        nothing_good = (answer.note or "").startswith(NOTHING_GOOD)
        for place, hit in enumerate(answer.hits):
            if hit.probability is not None:
                right, first = hit.key == key, place == 0
                yield JudgedHit(kind, hit.score, hit.probability, right, first, present, nothing_good)


def _excluding(key: str, where: Filter | None) -> Filter:
    others = Not(Compare("@key", Operator.EQUAL, key))
    return others if where is None else And((where, others))


def score_rows(hits: Sequence[JudgedHit]) -> tuple[ScoreRow, ...]:
    """A row for each kind, and one over all of them."""
    kinds = dict.fromkeys(hit.kind for hit in hits)
    rows = [_row(kind, [hit for hit in hits if hit.kind == kind]) for kind in kinds]
    return (*rows, _row(ALL, hits)) if rows else ()


def _row(kind: str, hits: Sequence[JudgedHit]) -> ScoreRow:
    best = [hit for hit in hits if hit.first]
    scores, probabilities, right = (_column(hits, name) for name in ("score", "probability", "right"))
    return ScoreRow(
        kind,
        sum(hit.present for hit in best),
        len(hits),
        calibration_error(_column(best, "probability"), _column(best, "right")),
        calibration_error(probabilities, right),
        average_precision(scores, right),
        average_precision(probabilities, right),
        _share_of_nothing_good([hit for hit in best if not hit.present]),
        _share_of_nothing_good([hit for hit in best if hit.present and hit.right]),
    )


def _column(hits: Sequence[JudgedHit], name: str) -> npt.NDArray[np.float64]:
    return np.array([getattr(hit, name) for hit in hits], np.float64)


def _share_of_nothing_good(hits: Sequence[JudgedHit]) -> float:
    return sum(hit.nothing_good for hit in hits) / max(len(hits), 1)


def calibration_error(
    probabilities: npt.NDArray[np.float64], right: npt.NDArray[np.float64], bins: int = BINS
) -> float:
    """The expected calibration error of hits (n,), each right (1) or not (0): the mean distance, over bins of equal
    size, between the mean probability and the share of right hits.
    """
    order = np.argsort(probabilities, kind="stable")
    filled = [places for places in np.array_split(order, bins) if len(places)]
    distances = [abs(probabilities[places].mean() - right[places].mean()) * len(places) for places in filled]
    return float(sum(distances) / max(len(order), 1))


def average_precision(scores: npt.NDArray[np.number[Any]], right: npt.NDArray[np.float64]) -> float:
    """The average precision of hits of many queries in one order by their scores, highest first."""
    order = np.argsort(-scores, kind="stable")
    places = np.flatnonzero(right[order]) + 1
    return float((np.arange(1, len(places) + 1) / places).mean()) if len(places) else 0.0
