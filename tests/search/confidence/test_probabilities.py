"""Probabilities of hits: they follow the scores, know what stands out, and say nothing where nothing can be said."""

import math
from dataclasses import replace
from statistics import mean, stdev

import numpy as np
import pytest

from anyseek.search.catalogue import collections
from anyseek.search.confidence.probabilities import (
    MARGIN_RANK,
    NOTHING_GOOD,
    CurveKind,
    ScoreSample,
    ScoreSamples,
    ZScores,
    combine_scores,
    curve_kind_of,
    curve_of,
    hit_probabilities,
    isotonic_fit,
    nothing_good_threshold,
    score_sample,
    z_scores,
    z_scores_of_words,
)
from tests.search.gallery import WORDS, Home

DIMENSION = 16


QUERY = np.eye(1, DIMENSION, dtype=np.float32)[0]


def _sample(count: int = 200, seed: int = 0) -> ScoreSample:
    raw = np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)
    raw /= np.linalg.norm(raw, axis=1, keepdims=True)
    return _sample_of(raw, raw.sum(axis=0) / max(count, 1))


def _sample_of(raw: np.ndarray, prior: np.ndarray | None = None) -> ScoreSample:
    nothing = np.zeros(raw.shape[1], np.float32)
    return score_sample(np.arange(len(raw)), raw, nothing, nothing if prior is None else prior, (), len(raw))


def _nearest(sample: ScoreSample, query: np.ndarray, k: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """The ids of the best items and their scores."""
    scores = sample.vectors @ query
    order = np.argsort(-scores)[:k]
    return order, scores[order].astype(np.float64)


def _z_scores_of(sample: ScoreSample, query: np.ndarray, k: int = 20) -> ZScores:
    return z_scores(sample, query, *_nearest(sample, query, k))


def _probabilities(sample: ScoreSample, query: np.ndarray, kind: CurveKind = CurveKind.OTHERS) -> list[float]:
    scored = _z_scores_of(sample, query)
    return hit_probabilities(scored, scored.ids.tolist(), curve_of(kind))


@pytest.mark.parametrize("kind", list(CurveKind))
def test_they_are_between_0_and_1_and_never_rise(kind: CurveKind) -> None:
    sample = _sample()
    for seed in range(20):
        query = np.random.default_rng(100 + seed).normal(size=DIMENSION).astype(np.float32)
        found = _probabilities(sample, query / np.linalg.norm(query), kind)
        assert len(found) == 20
        assert all(0 <= one <= 1 for one in found)
        assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("kind", list(CurveKind))
def test_what_stands_out_is_likely_and_what_does_not_is_not(kind: CurveKind) -> None:
    """A query that is an item, in more dimensions than noise fills, and one that is nothing of the kind."""
    random = np.random.default_rng(1)
    raw = random.normal(size=(200, 256)).astype(np.float32)
    raw /= np.linalg.norm(raw, axis=1, keepdims=True)
    sample = _sample_of(raw)
    stranger = random.normal(size=256).astype(np.float32)
    own, other = (_probabilities(sample, query, kind) for query in (raw[7], stranger / np.linalg.norm(stranger)))
    assert own[0] > 0.9
    assert own[1] < 0.2
    assert other[0] < 0.3


def test_four_pictures_of_one_thing_do_not_hide_each_other() -> None:
    random = np.random.default_rng(2)
    raw = random.normal(size=(200, 256)).astype(np.float32)
    raw[1 : MARGIN_RANK - 1] = raw[0] + 0.1 * random.normal(size=(MARGIN_RANK - 2, 256))
    raw /= np.linalg.norm(raw, axis=1, keepdims=True)
    sample = _sample_of(raw)
    found = _probabilities(sample, raw[0], CurveKind.PICTURES)
    assert min(found[: MARGIN_RANK - 1]) > 0.5
    assert found[MARGIN_RANK] < 0.2


def test_they_do_not_depend_on_the_scale_of_scores() -> None:
    """A kind of query whose cosines are all ten times smaller says the same."""
    sample = _sample()
    ids, scores = _nearest(sample, QUERY)
    first, second = _z_scores_of(sample, QUERY), z_scores(sample, QUERY / 10, ids, scores / 10)
    order = ids.tolist()
    curve = curve_of(CurveKind.OTHERS)
    assert hit_probabilities(first, order, curve) == pytest.approx(hit_probabilities(second, order, curve), rel=0.05)


@pytest.mark.parametrize("apart", [0, 3, 8], ids=["all are in the sample", "some are", "none is"])
def test_an_item_is_compared_with_all_others_of_the_sample(apart: int) -> None:
    sample, query = _sample(), _sample(1, seed=1).vectors[0]
    ids, scores = _nearest(sample, query, 8)
    ids[:apart] += len(sample.ids)
    scores[:apart] += 0.01
    scored = z_scores(sample, query, ids, scores)
    assert scored is not None
    usual = [float(score) for score in sample.vectors @ query]
    fifth = sorted(usual)[-MARGIN_RANK]

    def z(score: float, others: list[float]) -> float:
        n, t = len(others), (score - mean(others)) / (stdev(others) * math.sqrt(1 + 1 / len(others)))
        free = n - 1
        wallace = math.sqrt(free * math.log1p(t * t / free)) * (8 * free + 1) / (8 * free + 3)
        return math.copysign(wallace, t)

    expected = [
        z(score, [one for place, one in enumerate(usual) if place != item])
        for item, score in zip(ids, scores, strict=True)
    ]
    assert scored.z == pytest.approx(expected, rel=1e-4)
    assert scored.fifth == pytest.approx(
        z(fifth, sorted(usual)[:-MARGIN_RANK] + sorted(usual)[-MARGIN_RANK + 1 :]), rel=1e-4
    )


def test_where_nothing_can_be_said_nothing_is_and_nothing_fails() -> None:
    for count, is_known in ((0, False), (4, False), (5, True)):
        sample = _sample(count)
        assert (z_scores(sample, QUERY, *_nearest(sample, QUERY)) is not None) == is_known
    assert hit_probabilities(_z_scores_of(_sample(), QUERY, 0), [], curve_of(CurveKind.OTHERS)) == []
    same = np.tile(np.eye(1, DIMENSION, dtype=np.float32), (9, 1))
    assert all(np.isfinite(_probabilities(_sample_of(same), same[0])))


def test_an_item_that_two_rankings_find_stands_out_more() -> None:
    scored = _z_scores_of(_sample(), QUERY)
    words = z_scores_of_words(scored.ids[3:4], np.array([1]), 200)
    both = combine_scores([scored, words], (1.0, 1.0))
    assert both.ids[both.z.argmax()] == scored.ids[3]
    unlike = combine_scores([scored, words], (1.0, -0.5))
    before = dict(zip(scored.ids.tolist(), scored.z.tolist(), strict=True))
    assert all(z <= before[item] + 1e-9 for item, z in zip(unlike.ids.tolist(), unlike.z.tolist(), strict=True))


def test_neighbours_in_the_wrong_order_share_their_mean() -> None:
    assert isotonic_fit(np.array([0.9, 0.2, 0.4, 0.1])).tolist() == pytest.approx([0.9, 0.3, 0.3, 0.1])
    assert isotonic_fit(np.array([0.1, 0.2, 0.6])).tolist() == pytest.approx([0.3, 0.3, 0.3])
    assert isotonic_fit(np.array([])).tolist() == []


@pytest.mark.parametrize(
    ("kind", "logit"),
    [
        (CurveKind.PICTURES, -3.328),
        (CurveKind.WORDS, -2.21278879),
        (CurveKind.OTHERS, -2.01027456),
        (CurveKind.SEVERAL, -1.44658),
    ],
)
def test_the_curves_that_ship_are_those_that_were_fitted(kind: CurveKind, logit: float) -> None:
    features = np.array([[4.0, 1.0, -0.01, math.log(1000)]])
    assert curve_of(kind).logits(features) == pytest.approx([logit])


def test_sorts_of_queries() -> None:
    assert curve_kind_of({"rgb"}) is CurveKind.PICTURES
    assert curve_kind_of({"caption"}) is CurveKind.WORDS
    assert (
        curve_kind_of({"caption", "rgb"}) is curve_kind_of({"canny_edge"}) is curve_kind_of(set()) is CurveKind.OTHERS
    )
    assert (
        curve_kind_of({"caption", "color_palette"}, rankings=2)
        is curve_kind_of({"rgb"}, rankings=2)
        is CurveKind.SEVERAL
    )


def test_what_is_far_ahead_in_two_rankings_is_likelier_than_in_one() -> None:
    scored = _z_scores_of(_sample(), QUERY)
    both = combine_scores([scored, scored], (1.0, 1.0))
    order = scored.ids.tolist()
    alone = hit_probabilities(scored, order, curve_of(CurveKind.OTHERS))
    assert hit_probabilities(both, order, curve_of(CurveKind.SEVERAL))[0] > alone[0]


def test_words_are_called_nothing_good_only_where_they_are_foreign() -> None:
    """Of words that fit many items, each has a low probability."""

    def below(common: float, *modalities: str) -> float:
        return nothing_good_threshold(ZScores(np.array([1]), np.ones(1), 0.0, 0.5, common, 100), modalities)

    assert below(0.0, "caption") == 0
    assert below(-0.02, "caption") > NOTHING_GOOD
    assert below(0.02, "caption") == 0
    assert below(0.0, "depth") == below(-0.02, "semseg", "depth") == NOTHING_GOOD
    assert below(-0.02, "rgb") == below(-0.02, "color_palette") == below(-0.02, "caption", "words") == 0


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
