"""Calibration error and average precision over all hits, on hits whose answers are known."""

import numpy as np
import pytest

from anyseek.search.evaluation.calibration import average_precision, calibration_error


def test_probabilities_that_are_true_have_no_error() -> None:
    guesses = np.repeat([0.0, 0.5, 1.0], 100)
    right = np.concatenate([np.zeros(100), np.tile([0.0, 1.0], 50), np.ones(100)])
    assert calibration_error(guesses, right, bins=3) == pytest.approx(0)


def test_the_error_is_the_mean_distance_of_bins() -> None:
    assert calibration_error(np.full(100, 0.9), np.zeros(100)) == pytest.approx(0.9)
    guesses, right = np.repeat([0.2, 0.8], 50), np.repeat([0.0, 1.0], 50)
    assert calibration_error(guesses, right, bins=2) == pytest.approx(0.2)
    assert calibration_error(np.array([]), np.array([])) == 0


def test_average_precision_of_one_order() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6])
    assert average_precision(scores, np.array([1.0, 0.0, 1.0, 0.0])) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(scores, np.zeros(4)) == 0
