"""Calibration error and average precision over all hits, on hits whose answers are known."""

import numpy as np
import pytest

from anyseek.model.hashing import HashingEmbedder
from anyseek.model.seam import Sample
from anyseek.search.evaluation.calibration import average_precision, calibration_error, judge_hits
from anyseek.search.evaluation.real_collection import real_collection
from anyseek.search.types import Part, Query


def test_probabilities_that_are_true_have_no_error() -> None:
    guesses = np.repeat([0.0, 0.5, 1.0], 100)
    right = np.concatenate([np.zeros(100), np.tile([0.0, 1.0], 50), np.ones(100)])
    assert calibration_error(guesses, right, bins=3) == pytest.approx(0)


def test_the_error_is_the_mean_distance_of_bins() -> None:
    assert calibration_error(np.full(100, 0.9), np.zeros(100)) == pytest.approx(0.9)
    guesses, right = np.repeat([0.2, 0.8], 50), np.repeat([0.0, 1.0], 50)
    assert calibration_error(guesses, right, bins=2) == pytest.approx(0.2)
    assert calibration_error(np.array([]), np.array([])) == 0


def test_a_query_is_judged_with_its_item_and_without() -> None:
    rng = np.random.default_rng(0)
    pictures = {f"{n}": rng.integers(0, 256, (8, 8, 3), np.uint8) for n in range(12)}
    asked = [Query([Part("rgb", picture)], 3) for picture in pictures.values()]
    with real_collection(
        HashingEmbedder(), {key: Sample({"rgb": each}) for key, each in pictures.items()}
    ) as collection:
        hits = judge_hits(collection, "picture", list(pictures), asked, collection.answers(asked))
    assert sum(hit.right and hit.first for hit in hits if hit.present) == len(pictures)
    assert len([hit for hit in hits if not hit.present]) == 3 * len(pictures)
    assert not any(hit.right for hit in hits if not hit.present)


def test_average_precision_of_one_order() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6])
    assert average_precision(scores, np.array([1.0, 0.0, 1.0, 0.0])) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(scores, np.zeros(4)) == 0
