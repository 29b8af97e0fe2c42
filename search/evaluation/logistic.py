"""Logistic regression by Newton's method: small problems, fitted to the end. NumPy only."""

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
