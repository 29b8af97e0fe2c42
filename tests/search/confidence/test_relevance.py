"""Probabilities of hits: which queries have one, what raises it, and that it never rises along an answer."""

import numpy as np
import pytest

from anyseek.model.seam import EmbeddingSpace, RelevanceCurve
from anyseek.search.confidence.relevance import (
    NAME,
    PICTURE,
    isotonic_fit,
    name_features,
    probabilities,
    relevance_kind,
)
from anyseek.search.confidence.score_samples import ScoreSample, score_sample
from anyseek.search.query.query import Part

CURVE = RelevanceCurve(-1.0, (1.0, 0.5), 0.05)
DIMENSION = 8
# Names scatter along the first axis, and have the second in common.
NAMES = np.array([(0.8, 0.5, 0.1), (-0.8, 0.5, 0.0), (0.1, 0.6, -0.1), (0.0, 0.7, 0.1)], np.float32)
NAMES = np.concatenate([NAMES, np.zeros((4, DIMENSION - 3), np.float32)], axis=1)


def _items(*rows: tuple[float, ...]) -> np.ndarray:
    items = np.zeros((len(rows), DIMENSION), np.float32)
    for item, row in zip(items, rows, strict=True):
        item[: len(row)] = row
    return items


def _sample(items: np.ndarray) -> ScoreSample:
    nothing = np.zeros(DIMENSION, np.float32)
    space = EmbeddingSpace("space", DIMENSION, "", nothing, typical_queries={"caption": NAMES})
    return score_sample(np.arange(len(items)), items, nothing, space, len(items))


def test_only_one_name_picture_or_item_has_a_curve() -> None:
    picture = Part("rgb", np.zeros((2, 2, 3), np.uint8))
    assert relevance_kind([Part("caption", "a horse")]) == NAME
    assert relevance_kind([picture]) == relevance_kind([Part(item="a")]) == PICTURE
    drawing = Part("canny_edge", np.zeros((2, 2), np.uint8))
    for parts in (
        [drawing],
        [picture, Part("caption", "a horse")],
        [Part("caption", "a man rides a horse")],
        [Part(item="a", weight=-1.0)],
        [Part("rgb", vector=np.ones(4, np.float32))],
        [],
    ):
        assert relevance_kind(parts) is None


def test_a_name_fits_an_item_that_other_names_fit_less() -> None:
    """Three items of the same score: other names fit the second better, and scatter more over the third."""
    items = _items((0, 0, 0.5), (0, 0.5, 0.5), (0.5, 0, 0.5))
    query = np.eye(DIMENSION, dtype=np.float32)[2]
    features = name_features(items, query, NAMES, _sample(_items((0, 0, -1), (0, 0, 1), (0, 0, 1))))
    scores = items @ NAMES.T
    expected = (0.5 - scores.mean(axis=1)) / scores.std(axis=1)
    assert features[:, 0] == pytest.approx(expected, rel=1e-5)
    assert features[0, 0] > features[1, 0]
    assert features[0, 0] > features[2, 0]
    median = (1.0 - NAMES[:, 2].mean()) / NAMES[:, 2].std()
    assert features[:, 1] == pytest.approx(expected - median, rel=1e-4), "the median item has the score 1"


def test_probabilities_follow_the_curve_and_never_rise() -> None:
    features = np.array([[4.0, 1.0], [1.0, 0.0], [2.0, 0.0], [-900.0, 0.0]])
    stated = probabilities(CURVE, features)
    mean = (1 / (1 + np.exp(0.0)) + 1 / (1 + np.exp(-1.0))) / 2
    assert stated == pytest.approx([1 / (1 + np.exp(-3.5)), mean, mean, 0.0], abs=1e-9)


def test_neighbours_in_the_wrong_order_share_their_mean() -> None:
    assert isotonic_fit(np.array([0.9, 0.2, 0.4, 0.1])).tolist() == pytest.approx([0.9, 0.3, 0.3, 0.1])
    assert isotonic_fit(np.array([0.1, 0.2, 0.6])).tolist() == pytest.approx([0.3, 0.3, 0.3])
    assert isotonic_fit(np.array([])).tolist() == []
