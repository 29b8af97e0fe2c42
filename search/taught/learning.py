"""Learns an attribute from labelled vectors: classes, yes or no, or numbers. Pure computation with NumPy.

Vectors are unit rows, centred in their space. Every rule is linear, so 100,000 items take one matrix product. The
method of classes, class means or logistic regression, and the scale of its probabilities are those with the lowest
loss on examples that were held out; up to `_MAX_FOLDS` examples are held out one by one, more in folds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from anyseek.model.seam import FloatArray

Label = bool | float | str
IntArray = npt.NDArray[np.int64]

MIN_HELD_OUT = 8  # examples; with fewer, no error is given
# Confidence of an interval, as a multiple of the standard error.
_Z_95 = 1.96
_MAX_FOLDS, _FEW_FOLDS, _MAX_HELD_OUT = 40, 5, 1_000
_PENALTY = 0.003
_STEPS = 60
_SCALES = (1.0, 2.0, 4.0, 8.0, 16.0)
_DEFAULT_SCALE = 4.0  # where nothing can be held out
_RIDGE_PENALTIES = (0.03, 0.3, 3.0)
_MEANS, _LOGISTIC, _RIDGE = "class means", "logistic regression", "ridge regression"


class Kind(StrEnum):
    """What an attribute holds."""

    YES_NO = "yes-no"
    CLASSES = "classes"
    NUMBER = "number"


@dataclass(frozen=True)
class HeldOut:
    """The error on held-out examples with its 95% interval.

    `measure` is `accuracy`, the share of right values, or `mean absolute error`, in units of the labels.
    """

    measure: str
    value: float
    low: float
    high: float
    examples: int


@dataclass(frozen=True)
class Rule:
    """Values of unit vectors: weights float32 (c, d) and bias (c,) of `labels`, or of a number with c = 1."""

    kind: Kind
    labels: tuple[str, ...]
    weights: FloatArray
    bias: FloatArray

    def outputs(self, vectors: FloatArray) -> FloatArray:
        """Probabilities of the labels (n, c), or numbers (n, 1)."""
        outputs: FloatArray = vectors @ self.weights.T + self.bias
        return outputs if self.kind is Kind.NUMBER else _softmax(outputs)


@dataclass(frozen=True)
class Fit:
    """A rule, its method, its loss on held-out examples (infinite without any), and its error, if that can be known."""

    rule: Rule
    method: str
    loss: float
    held_out: HeldOut | None


def fit_classes(kind: Kind, labels: Sequence[str], vectors: FloatArray, is_counted: npt.NDArray[np.bool_]) -> Fit:
    """The rule of at least two classes, from unit rows (n, d) with their labels.

    Rows that do not count (n,), which are no items, are never held out.
    """
    names = ("no", "yes") if kind is Kind.YES_NO else tuple(sorted(set(labels)))
    targets = np.array([names.index(label) for label in labels], np.int64)
    rows, basis = _coordinates(vectors)
    held, folds = _folds(targets, is_counted, len(names))
    outputs, trials = {}, [(math.inf, _LOGISTIC, _DEFAULT_SCALE)]
    for method in (_LOGISTIC, _MEANS) if len(held) else ():
        outputs[method] = _held_out_outputs(method, rows, targets, len(names), held, folds)
        trials += [(_loss(outputs[method] * scale, targets[held]), method, scale) for scale in _SCALES]
    loss, method, scale = min(trials)
    weights, bias = _fit(method, rows, targets, len(names), np.ones((1, len(rows)), np.float32))
    rule = Rule(kind, names, (weights[0] * scale) @ basis.T, bias[0] * scale)
    if len(held) < MIN_HELD_OUT or len(np.unique(targets[held])) < len(names):
        return Fit(rule, method, loss, None)
    right = outputs[method].argmax(axis=1) == targets[held]
    return Fit(rule, method, loss, _wilson(int(right.sum()), len(held)))


def fit_number(labels: Sequence[float], vectors: FloatArray) -> Fit:
    """The rule of a number by ridge regression, whose penalty has the lowest leave-one-out error."""
    rows, basis = _coordinates(vectors)
    mean, values = float(np.mean(labels)), np.asarray(labels, np.float64)
    gram = (rows @ rows.T).astype(np.float64)
    best: tuple[float, npt.NDArray[np.float64], npt.NDArray[np.float64]] | None = None
    for penalty in _RIDGE_PENALTIES:
        inverse = np.linalg.inv(gram + penalty * np.eye(len(rows)))
        dual = inverse @ (values - mean)
        errors = np.abs(dual / np.diag(inverse))  # the exact leave-one-out residuals
        if best is None or errors.mean() < best[0]:
            best = float(errors.mean()), dual, errors
    assert best is not None
    loss, dual, errors = best
    weights: FloatArray = (dual @ rows @ basis.T).astype(np.float32)[np.newaxis]
    rule = Rule(Kind.NUMBER, (), weights, np.array([mean], np.float32))
    if len(rows) < MIN_HELD_OUT:
        return Fit(rule, _RIDGE, loss, None)
    margin = _Z_95 * float(errors.std(ddof=1)) / math.sqrt(len(errors))
    return Fit(
        rule, _RIDGE, loss, HeldOut("mean absolute error", loss, max(0.0, loss - margin), loss + margin, len(errors))
    )


def spread_out(vectors: FloatArray, count: int, taken: FloatArray) -> list[int]:
    """Places of `count` unit rows that are far from each other and from `taken`, in order of choice.

    The first row is always chosen, so put the most doubtful first.
    """
    chosen: list[int] = []
    nearest = (vectors @ taken.T).max(axis=1) if len(taken) else np.full(len(vectors), -1.0, np.float32)
    nearest = nearest - np.linspace(1e-3, 0, len(vectors), dtype=np.float32)  # of equals, the more doubtful
    for place in range(min(count, len(vectors))):
        best = 0 if place == 0 else int(np.argmin(nearest))
        chosen.append(best)
        nearest = np.maximum(nearest, vectors @ vectors[best])
        nearest[best] = np.inf
    return chosen


def _coordinates(vectors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Rows (n, r) in an orthonormal basis (d, r) of what they span: few examples then take little time."""
    if len(vectors) >= vectors.shape[1]:
        return vectors, np.eye(vectors.shape[1], dtype=np.float32)
    basis, coordinates = np.linalg.qr(vectors.T)
    return np.ascontiguousarray(coordinates.T), basis


def _folds(targets: IntArray, is_counted: npt.NDArray[np.bool_], classes: int) -> tuple[IntArray, FloatArray]:
    """Places (h,) of examples to hold out, and a mask (folds, n) of those that each fold learns from.

    An example is held out only if its class keeps another one.
    """
    counts = np.bincount(targets, minlength=classes)
    held = np.flatnonzero(is_counted & (counts[targets] >= 2))
    held = held[np.argsort(targets[held], kind="stable")]  # so that folds share the classes out
    if len(held) > _MAX_HELD_OUT:
        held = held[np.linspace(0, len(held) - 1, _MAX_HELD_OUT).astype(np.int64)]
    folds = len(held) if len(held) <= _MAX_FOLDS else _FEW_FOLDS
    mask = np.ones((folds, len(targets)), np.float32)
    if folds:
        mask[np.arange(len(held)) % folds, held] = 0
    return held, mask


def _held_out_outputs(
    method: str, rows: FloatArray, targets: IntArray, classes: int, held: IntArray, folds: FloatArray
) -> FloatArray:
    """Outputs (h, c) of held-out examples, each by the fit that has not seen it."""
    weights, bias = _fit(method, rows, targets, classes, folds)
    fold = np.arange(len(held)) % len(folds)
    outputs: FloatArray = np.einsum("hr,hcr->hc", rows[held], weights[fold]) + bias[fold]
    return outputs


def _fit(
    method: str, rows: FloatArray, targets: IntArray, classes: int, masks: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Weights (f, c, r) and bias (f, c) of fits to the examples in each mask (f, n); classes count the same."""
    of_class = np.eye(classes, dtype=np.float32)[targets]
    sizes = np.maximum(masks @ of_class, 1)  # (f, c)
    shares = masks * np.take_along_axis(1 / sizes, np.broadcast_to(targets, masks.shape), axis=1)
    if method == _MEANS:
        means = (shares[:, np.newaxis] * of_class.T) @ rows
        lengths = np.maximum(np.linalg.norm(means, axis=2, keepdims=True), 1e-6)
        return means / lengths, np.zeros((len(masks), classes), np.float32)
    return _logistic(rows, of_class, shares[:, :, np.newaxis] / classes)


def _logistic(rows: FloatArray, of_class: FloatArray, shares: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Multinomial logistic regression by Nesterov's accelerated gradient; `shares` (f, n, 1) weigh the examples."""
    folds, classes = len(shares), of_class.shape[1]
    weights = np.zeros((folds, classes, rows.shape[1] + 1), np.float32)
    inputs = np.concatenate([rows, np.ones((len(rows), 1), np.float32)], axis=1)
    penalty = np.full(inputs.shape[1], _PENALTY, np.float32)
    penalty[-1] = 0
    ahead, momentum, step = weights, 1.0, 1 / (1 + _PENALTY)  # rows of length √2: the curvature is at most 1
    for _ in range(_STEPS):
        errors = (_softmax(inputs @ ahead.transpose(0, 2, 1)) - of_class) * shares
        new = ahead - step * (errors.transpose(0, 2, 1) @ inputs + penalty * ahead)
        faster = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        ahead = new + (momentum - 1) / faster * (new - weights)
        weights, momentum = new, faster
    return weights[:, :, :-1], weights[:, :, -1]


def _loss(outputs: FloatArray, targets: IntArray) -> float:
    """The cross-entropy with the right classes, of which one in `n + 2` is expected to be wrong (as Platt 1999)."""
    logs = np.log(np.maximum(_softmax(outputs), 1e-6))
    right, doubt = logs[np.arange(len(targets)), targets], 1 / (len(targets) + 2)
    wrong = (logs.sum(axis=1) - right) / (logs.shape[1] - 1)
    return float(-((1 - doubt) * right + doubt * wrong).mean())


def _softmax(outputs: FloatArray) -> FloatArray:
    powers = np.exp(outputs - outputs.max(axis=-1, keepdims=True, initial=-np.inf))
    shares: FloatArray = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def _wilson(right: int, of: int) -> HeldOut:
    """The share of right values with Wilson's interval."""
    share, square = right / of, _Z_95**2
    middle = (share + square / (2 * of)) / (1 + square / of)
    margin = _Z_95 * math.sqrt(share * (1 - share) / of + square / (4 * of**2)) / (1 + square / of)
    return HeldOut("accuracy", share, max(0.0, middle - margin), min(1.0, middle + margin), of)
