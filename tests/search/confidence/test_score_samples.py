"""Standard scores of hits: what stands out in its collection, whatever the scale of its scores."""

import math
from dataclasses import replace
from statistics import mean, stdev

import numpy as np
import pytest

from anyseek.model.seam import EmbeddingSpace
from anyseek.search.catalogue import collections
from anyseek.search.confidence.score_samples import ScoreSample, ScoreSamples, score_sample, z_of_ranks, z_scores
from tests.search.gallery import WORDS, Home

DIMENSION = 16


QUERY = np.eye(1, DIMENSION, dtype=np.float32)[0]


def _sample(count: int = 200, seed: int = 0) -> ScoreSample:
    raw = np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)
    raw /= np.linalg.norm(raw, axis=1, keepdims=True)
    nothing = np.zeros(raw.shape[1], np.float32)
    space = EmbeddingSpace("space", DIMENSION, "", raw.sum(axis=0) / max(count, 1))
    return score_sample(np.arange(count), raw, nothing, space, count)


def _nearest(sample: ScoreSample, query: np.ndarray, k: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """The ids of the best items and their scores."""
    scores = sample.vectors @ query
    order = np.argsort(-scores)[:k]
    return order, scores[order].astype(np.float64)


def test_they_do_not_depend_on_the_scale_of_scores() -> None:
    sample = _sample()
    ids, scores = _nearest(sample, QUERY)
    assert z_scores(sample, QUERY / 10, ids, scores / 10) == pytest.approx(
        z_scores(sample, QUERY, ids, scores), rel=1e-3
    )


@pytest.mark.parametrize("apart", [0, 3, 8], ids=["all are in the sample", "some are", "none is"])
def test_an_item_is_compared_with_all_others_of_the_sample(apart: int) -> None:
    sample, query = _sample(), _sample(1, seed=1).vectors[0]
    ids, scores = _nearest(sample, query, 8)
    ids[:apart] += len(sample.ids)
    scores[:apart] += 0.01
    scored = z_scores(sample, query, ids, scores)
    assert scored is not None
    usual = [float(score) for score in sample.vectors @ query]

    def z(score: float, others: list[float]) -> float:
        n, t = len(others), (score - mean(others)) / (stdev(others) * math.sqrt(1 + 1 / len(others)))
        free = n - 1
        wallace = math.sqrt(free * math.log1p(t * t / free)) * (8 * free + 1) / (8 * free + 3)
        return math.copysign(wallace, t)

    expected = [
        z(score, [one for place, one in enumerate(usual) if place != item])
        for item, score in zip(ids, scores, strict=True)
    ]
    assert scored == pytest.approx(expected, rel=1e-4)


def test_a_sample_of_fewer_than_five_items_says_nothing() -> None:
    for count, is_known in ((0, False), (4, False), (5, True)):
        sample = _sample(count)
        assert (z_scores(sample, QUERY, *_nearest(sample, QUERY)) is not None) == is_known


def test_ranks_are_scored_as_if_they_were_of_a_normal_distribution() -> None:
    assert z_of_ranks(np.array([1, 2, 2]), 4) == pytest.approx([1.150, 0.319, 0.319], abs=1e-3)
    assert np.isfinite(z_of_ranks(np.array([1, 2]), 1)).all()


def test_the_sample_of_a_space_that_was_dropped_is_let_go(home: Home) -> None:
    cache = ScoreSamples(home.database)
    with home.database.read() as session:
        head = collections.head(session, home.collection.name)
    for space in head.spaces:
        mean = np.zeros(space.dimension, np.float32)
        cache.get(head, space, home.embedder.spaces[space.name], mean, len(WORDS))
    assert set(cache._cached) == {space.id for space in head.spaces}
    left = replace(head, spaces=head.spaces[:1], last_seq=head.last_seq + 100)
    mean = np.zeros(left.spaces[0].dimension, np.float32)
    cache.get(left, left.spaces[0], home.embedder.spaces[left.spaces[0].name], mean, len(WORDS))
    assert set(cache._cached) == {left.spaces[0].id}
    other = replace(head, id=head.id + 1)
    space = replace(head.spaces[1], id=99)
    cache.get(other, space, home.embedder.spaces[space.name], np.zeros(space.dimension, np.float32), 0)
    assert set(cache._cached) == {left.spaces[0].id, 99}  # another collection's stay
