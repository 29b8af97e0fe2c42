"""Whether the probabilities of hits are what they say: each query asked with its item there and without it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from anyseek.search.answers.hits import NOTHING_GOOD
from anyseek.search.evaluation.calibration_error import average_precision, calibration_error
from anyseek.search.evaluation.real_collection import RealCollection
from anyseek.search.filters.tree import And, Compare, Filter, Not, Operator
from anyseek.search.types import Query, Results

FIRST = 10
ALL = "all"


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


def judged(collection: RealCollection, kind: str, keys: Sequence[str], queries: Sequence[Query]) -> Judged:
    """Ask queries whose right items have these keys, and ask them again of all other items."""
    without = [replace(query, where=_without(key, query.where)) for key, query in zip(keys, queries, strict=True)]
    there = _flat(collection.answers(queries), keys)
    gone = _flat(collection.answers(without), keys)
    both = [np.concatenate([one, other]) for one, other in zip(there, gone, strict=True)]
    present = np.arange(len(both[0])) < len(there[0])
    return Judged(kind, both[0], both[1], both[2], both[3].astype(np.bool_), present, both[4].astype(np.bool_))


def score_rows(found: Sequence[Judged]) -> tuple[ScoreRow, ...]:
    """A row for each kind, and one over all of them."""
    kinds = list(dict.fromkeys(one.kind for one in found))
    rows = [_row(kind, [one for one in found if one.kind == kind]) for kind in kinds]
    return (*rows, _row(ALL, found)) if rows else ()


def _row(kind: str, found: Sequence[Judged]) -> ScoreRow:
    scores, likely = _all(one.scores for one in found), _all(one.probabilities for one in found)
    right = _all(one.right for one in found)
    best, there = _all(one.best for one in found), _all(one.there for one in found)
    nothing = _all(one.nothing for one in found)
    return ScoreRow(
        kind,
        int((best & there).sum()),
        len(scores),
        calibration_error(likely[best], right[best]),
        calibration_error(likely, right),
        average_precision(scores, right),
        average_precision(likely, right),
        _share(nothing[best & ~there]),
        _share(nothing[best & there & (right > 0)]),
    )


def _share(holds: npt.NDArray[np.bool_]) -> float:
    return float(holds.mean()) if len(holds) else 0.0


def _all(some: Iterable[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return np.concatenate(list(some))


def _flat(answers: Sequence[Results], keys: Sequence[str]) -> list[npt.NDArray[np.float64]]:
    """Of all hits with a probability: score, probability, whether right, whether first, and whether nothing is good."""
    rows = [
        (hit.score, hit.probability, hit.key == key, place == 0, (answer.note or "").startswith(NOTHING_GOOD))
        for answer, key in zip(answers, keys, strict=True)
        for place, hit in enumerate(answer.hits)
        if hit.probability is not None
    ]
    return list(np.array(rows, np.float64).reshape(-1, 5).T)


def _without(key: str, where: Filter | None) -> Filter:
    others = Not(Compare("@key", Operator.EQUAL, key))
    return others if where is None else And((where, others))
