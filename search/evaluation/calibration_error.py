"""Calibration: expected calibration error, average precision over all hits, and logistic regression. NumPy only."""

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]

_STEPS, _HALVINGS = 50, 20
_CLOSE = 1e-9  # of the loss, by which a further step gains nothing


def logistic(
    columns: Numbers, targets: Numbers, weights: Numbers, ridge: Numbers, given: Numbers | float = 0
) -> Numbers:
    """The numbers (p,) for which the logits `given` + `columns` (n, p) @ numbers fit targets in [0, 1] (n,) best.

    What is least is the sum of the log losses by `weights` (n,) and of half the numbers' squares by `ridge` (p,).
    """

    def loss(numbers: Numbers) -> float:
        logits = given + columns @ numbers
        return float(weights @ (np.logaddexp(0, logits) - targets * logits) + ridge @ numbers**2 / 2)

    numbers = np.zeros(columns.shape[1])
    now = loss(numbers)
    for _ in range(_STEPS):
        guess = sigmoid(given + columns @ numbers)
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


BINS = 10


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


def average_precision(scores: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> float:
    """The average precision of hits of many queries in one order by their scores, highest first."""
    order = np.argsort(-scores, kind="stable")
    places = np.flatnonzero(right[order]) + 1
    return float((np.arange(1, len(places) + 1) / places).mean()) if len(places) else 0.0
