"""Curves that are fitted on a collection: they recover a known one, stay near what ships, and are refused if worse."""

from dataclasses import replace

import numpy as np
import pytest

from anyseek.model.seam import EmbeddingSpace, FloatArray
from anyseek.search.curve import Curve
from anyseek.search.evaluation.logistic import logistic, sigmoid
from anyseek.search.own_curves import (
    FEWEST,
    CurveTrial,
    FirstHits,
    Judgement,
    fitted_curve,
    judged,
    part_of,
    sample_of,
    try_curve,
    usual_of,
)
from anyseek.search.probabilities import curve_of, sort_of

SHIPPED = Curve(-3.0, 0.6, 1.5, 10.0, -0.4)
DIMENSION = 64
ZERO = np.zeros(DIMENSION, np.float32)
SPACE = EmbeddingSpace("looks", DIMENSION, "f", ZERO)


def stretched(curve: Curve, by: float, moved: float) -> Curve:
    numbers = (curve.surprise, curve.margin, curve.belonging, curve.size)
    return Curve(curve.offset * by + moved, *(number * by for number in numbers))


def hits(truth: Curve, queries: int, seed: int = 0) -> FirstHits:
    """Ten hits of each query, right as often as `truth` says."""
    random = np.random.default_rng(seed)
    features = np.column_stack(
        [random.normal(2, 1.5, queries * 10), random.normal(0, 2, queries * 10), *np.zeros((2, queries * 10))]
    )
    features[:, 3] = np.log(200)
    right = (random.random(len(features)) < sigmoid(truth.logits(features))).astype(np.float64)
    numbers = np.arange(queries * 10)
    return FirstHits(features, right, numbers % 10 == 0, numbers // 10)


def test_a_known_curve_is_recovered() -> None:
    truth = stretched(SHIPPED, 2.0, 1.0)
    found = fitted_curve(SHIPPED, hits(truth, 4_000))
    assert found.surprise == pytest.approx(truth.surprise, rel=0.05)
    assert found.margin == pytest.approx(truth.margin, rel=0.05)
    assert found.size == pytest.approx(truth.size, rel=0.05)
    others = hits(truth, 2_000, seed=1)
    assert judged([(others, found)]).error_of_best < 0.02 < judged([(others, SHIPPED)]).error_of_best


def test_few_queries_stay_near_what_ships_and_many_leave_it() -> None:
    truth = stretched(SHIPPED, 1.0, 3.0)
    moved = [fitted_curve(SHIPPED, hits(truth, count)).offset - SHIPPED.offset for count in (2, 16, 1_000)]
    assert 0 <= moved[0] < moved[1] < moved[2]
    assert moved[0] < 1
    assert moved[2] == pytest.approx(3, abs=0.3)


def test_what_the_shipped_curve_says_already_is_left_as_it_is() -> None:
    found = fitted_curve(SHIPPED, hits(SHIPPED, 4_000))
    assert found.surprise == pytest.approx(SHIPPED.surprise, rel=0.05)
    assert found.offset == pytest.approx(SHIPPED.offset, abs=0.2)


@pytest.mark.parametrize(
    ("after", "surprise", "helps"),
    [
        (Judgement(0.1, 0.2), 0.6, True),
        (Judgement(0.05, 0.1), 0.6, True),
        (Judgement(0.11, 0.1), 0.6, False),
        (Judgement(0.05, 0.21), 0.6, False),
        (Judgement(0.05, 0.1), -0.6, False),
    ],
)
def test_a_curve_that_is_worse_by_either_number_or_falls_is_refused(
    after: Judgement, surprise: float, helps: bool
) -> None:
    curve = Curve(-3.0, surprise, 1.5, 10.0, -0.4)
    assert CurveTrial("looks", "depth", 40, Judgement(0.1, 0.2), after, curve).helps is helps


def test_what_nearly_all_captions_share_is_usual() -> None:
    """In a uniform collection words that merely share nothing with it are foreign; in a mixed one they are not."""
    common = np.eye(1, 2, dtype=np.float32)[0]
    shared = np.random.default_rng(0).normal(0.3, 0.05, 4_000).astype(np.float32)
    uniform = np.stack([shared, np.sqrt(1 - shared**2)], axis=1)
    usual = usual_of(uniform, common)
    assert usual == pytest.approx(0.2, abs=0.01)
    assert float((shared < usual).mean()) == pytest.approx(0.023, abs=0.01)
    assert usual_of(np.concatenate([uniform, -uniform]), common) == 0
    own = Curve(-3.0, 0.6, 1.5, 10.0, -0.4, usual)
    assert own.lacking(np.array([0.3, 0.0])).tolist() == pytest.approx([0.0, -usual])
    features = np.array([[2.0, 1.0, 0.0, 5.0]])
    assert own.logits(features)[0] == pytest.approx(SHIPPED.logits(features)[0] - 10 * usual)


def test_what_is_usual_is_known_also_where_no_fitted_curve_helps() -> None:
    worse = CurveTrial("looks", "caption", 40, Judgement(0.1, 0.2), Judgement(0.2, 0.2), SHIPPED, 0.02)
    assert worse.used == replace(curve_of(sort_of(["caption"])), usual=0.02)
    assert replace(worse, usual=0.0).used is None
    assert replace(worse, after=worse.before).used == replace(SHIPPED, usual=0.02)


def gallery(count: int) -> FloatArray:
    rows = np.random.default_rng(0).normal(size=(count, DIMENSION)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def near(rows: FloatArray, noise: float) -> FloatArray:
    moved = rows + np.random.default_rng(1).normal(size=rows.shape, scale=noise).astype(np.float32)
    return np.asarray(moved / np.linalg.norm(moved, axis=1, keepdims=True), np.float32)


def test_queries_for_the_items_of_a_collection_calibrate_it() -> None:
    """Queries that nearly always find their items: hits are likelier than the curve that ships says."""
    sample = sample_of(SPACE, gallery(120), ZERO)
    trial = try_curve("looks", "depth", sample, near(sample.vectors[:80], 0.14), range(80), np.arange(120))
    assert trial is not None
    assert (trial.queries, trial.modality, trial.helps) == (80, "depth", True)
    assert trial.after.error_of_best < trial.before.error_of_best
    assert trial.after.loss < trial.before.loss
    assert trial.curve != curve_of(sort_of(["depth"]))


def test_items_in_the_same_words_are_equally_right() -> None:
    """Every two items are alike, and told alike: that the other one comes first is no error."""
    rows = np.repeat(gallery(60), 2, axis=0)
    sample, alike = sample_of(SPACE, rows, ZERO), np.arange(120) // 2
    asked = near(rows[1::2], 0.05)
    told = try_curve("looks", "caption", sample, asked, range(1, 120, 2), alike)
    apart = try_curve("looks", "caption", sample, asked, range(1, 120, 2), np.arange(120))
    assert told is not None
    assert apart is not None
    assert told.after.loss < apart.after.loss / 2


def test_nothing_is_said_of_few_queries_or_items() -> None:
    sample = sample_of(SPACE, gallery(60), ZERO)
    few = near(sample.vectors[: FEWEST - 1], 0.1)
    assert try_curve("looks", "depth", sample, few, range(FEWEST - 1), np.arange(60)) is None
    small = sample_of(SPACE, gallery(11), ZERO)
    rows = [place % 11 for place in range(FEWEST)]
    assert try_curve("looks", "depth", small, near(small.vectors[rows], 0.1), rows, np.arange(11)) is None


def test_a_part_is_the_middle_of_a_picture() -> None:
    picture = np.arange(10 * 20 * 3, dtype=np.uint8).reshape(10, 20, 3)
    np.testing.assert_array_equal(part_of(picture), picture[2:8, 4:16])


def test_logistic_regression_finds_the_least_loss() -> None:
    """Where the slope of its loss is zero, also from a start that a plain Newton step would leave for good."""
    random = np.random.default_rng(0)
    columns = np.column_stack([np.ones(400), random.normal(size=400) * 30])
    targets = (columns[:, 1] > 0).astype(np.float64)
    ridge, weights = np.array([0.0, 1e-3]), random.uniform(0.5, 2, 400)
    for given in (0.0, random.normal(size=400) * 20):
        numbers = logistic(columns, targets, weights, ridge, given)
        slope = columns.T @ (weights * (sigmoid(given + columns @ numbers) - targets)) + ridge * numbers
        assert np.abs(slope).max() < 1e-2
