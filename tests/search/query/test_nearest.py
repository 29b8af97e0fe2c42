"""A condition is ranked by correlation, with what the other rankings found, in spaces that are searched last."""

from dataclasses import replace

import numpy as np
import pytest

from anyseek.model.seam import EmbeddingSpace, Fusion
from anyseek.search.catalogue.collections import SpaceHead
from anyseek.search.confidence.score_samples import ScoreSample, score_sample
from anyseek.search.query.nearest import condition_rows, plans_by_space, with_z_scores
from anyseek.search.query.planning import Plan
from anyseek.search.query.rankings import Ranking, ranking_of
from anyseek.search.query.vectors import RankingKey
from anyseek.search.spaces.base import Neighbours, View
from tests.search.gallery import unit

QUERY = np.array([0, 1, 0], np.float32)
# Item 0 has more of the query, and item 1 more than is usual for what it is otherwise.
ROWS = unit(np.array([[0.3, 0.3, 0.9], [0.98, 0.2, 0], [0.9, -0.1, 0.3]], np.float32))
IDS = np.arange(3)
HERE = (0, 0)


def _sample(count: int) -> ScoreSample:
    rows = unit(np.array([[1, 0.05 * (-1) ** n, 0.02 * n] for n in range(count)], np.float32).reshape(-1, 3))
    zero = np.zeros(3, np.float32)
    return score_sample(np.arange(10, 10 + count), rows, zero, EmbeddingSpace("colours", 3, "", zero), count)


def _found() -> dict[RankingKey, Ranking]:
    scores = (ROWS @ QUERY).astype(np.float64)
    order = np.argsort(-scores)
    return {HERE: ranking_of(IDS[order], scores[order])}


def test_a_condition_is_ranked_by_what_is_beyond_the_mean() -> None:
    sample = _sample(8)
    plain = with_z_scores(sample, {HERE: QUERY}, _found(), 8, {})[HERE]
    condition = with_z_scores(sample, {HERE: QUERY}, _found(), 8, {HERE: (IDS, ROWS)})[HERE]
    assert plain.ids.tolist() == [0, 1, 2]
    assert condition.ids.tolist() == [1, 0, 2]
    assert (plain.is_condition, condition.is_condition) == (False, True)
    moved = ROWS[1] - sample.vectors.mean(axis=0)
    assert condition.scores[0] == pytest.approx(moved @ QUERY / np.linalg.norm(moved), abs=1e-6)
    assert condition.z is not None
    assert np.diff(condition.z).max() <= 0


def test_where_nothing_can_be_compared_a_condition_is_ranked_as_ever() -> None:
    ranking = with_z_scores(_sample(0), {HERE: QUERY}, _found(), 0, {HERE: (IDS, ROWS)})[HERE]
    assert ranking.ids.tolist() == [0, 1, 2]
    assert not ranking.is_condition


def _plan(name: str, is_condition: bool = False) -> Plan:
    return Plan((), SpaceHead(len(name), name, name, 3, 0, 0), Fusion.LATE, None, 10, is_condition)


def test_a_condition_has_the_items_of_the_other_rankings_too() -> None:
    none = Neighbours(np.empty((0, 0), np.int64), np.empty((0, 0), np.float32))
    view = View(np.zeros(3, np.float32), 0, lambda *_: none, lambda: 3, lambda ids: (ids, ROWS[ids]))
    found = {key: replace(_found()[HERE], ids=np.array([1])) for key in (HERE, (0, 1))}
    plans = {HERE: _plan("colours", True), (0, 1): _plan("colours")}
    rows = condition_rows(view, plans, found, lambda _: [ranking_of(np.array([2, 1]), np.zeros(2))])
    assert {place: ids.tolist() for place, (ids, _) in rows.items()} == {HERE: [1, 2]}


def test_spaces_with_a_condition_come_last() -> None:
    plans = {(0, 0): _plan("colours"), (1, 0): _plan("colours", True), (1, 1): _plan("looks")}
    assert [(space.name, list(own)) for space, own in plans_by_space(plans)] == [
        ("looks", [(1, 1)]),
        ("colours", [(0, 0), (1, 0)]),
    ]
