"""Rules learned from a few unit vectors, and the errors they state."""

import numpy as np
import pytest

from anyseek.model.seam import FloatArray
from anyseek.search.taught.learning import MIN_HELD_OUT, Kind, fit_classes, fit_number, spread_out

WIDTH = 24


def unit(rows: FloatArray) -> FloatArray:
    normed: FloatArray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return normed.astype(np.float32)


def clusters(each: int, noise: float, classes: int = 3, seed: int = 0) -> tuple[list[str], FloatArray]:
    """`each` rows around each of several directions, and the names of these."""
    generator = np.random.default_rng(seed)
    labels = [str(number) for number in range(classes) for _ in range(each)]
    rows = np.eye(WIDTH)[[int(label) for label in labels]] + noise * generator.standard_normal((len(labels), WIDTH))
    return labels, unit(rows)


@pytest.mark.parametrize("each", [1, 2, 5, 40])
def test_classes_are_told_apart_from_few_and_many_examples(each: int) -> None:
    labels, rows = clusters(each, 0.1)
    fit = fit_classes(Kind.CLASSES, labels, rows, np.ones(len(labels), bool))
    wanted, others = clusters(20, 0.1, seed=1)
    right = [
        fit.rule.labels[place] == label for place, label in zip(fit.rule.outputs(others).argmax(1), wanted, strict=True)
    ]
    assert np.mean(right) > 0.95
    assert np.allclose(fit.rule.outputs(others).sum(axis=1), 1, atol=1e-5)


def test_the_stated_error_is_that_of_examples_that_were_held_out() -> None:
    generator = np.random.default_rng(0)
    rows = unit(generator.standard_normal((200, WIDTH)))
    labels = [str(number) for number in generator.integers(0, 2, 200)]  # nothing to learn
    held_out = fit_classes(Kind.CLASSES, labels, rows, np.ones(200, bool)).held_out
    assert held_out is not None
    assert held_out.low < 0.5 < held_out.high
    assert held_out.examples == 200


def test_with_few_examples_no_error_is_stated() -> None:
    labels, rows = clusters(2, 0.1)
    assert len(labels) < MIN_HELD_OUT
    assert fit_classes(Kind.CLASSES, labels, rows, np.ones(len(labels), bool)).held_out is None
    assert fit_number([1.0, 2.0, 3.0], clusters(1, 0.1)[1]).held_out is None


def test_captions_are_never_held_out() -> None:
    labels, rows = clusters(4, 0.1)
    is_counted = np.arange(len(labels)) % 4 != 0
    held_out = fit_classes(Kind.CLASSES, labels, rows, is_counted).held_out
    assert held_out is not None
    assert held_out.examples == is_counted.sum()


def test_the_error_of_a_number_is_that_of_leaving_each_one_out() -> None:
    labels, rows = clusters(8, 0.2)
    values = [float(label) for label in labels]
    fit = fit_number(values, rows)
    errors = []
    for place in range(len(values)):
        others = [number for number in range(len(values)) if number != place]
        alone = fit_number([values[number] for number in others], rows[others])
        errors.append(abs(float(alone.rule.outputs(rows[[place]])[0, 0]) - values[place]))
    assert fit.held_out is not None
    assert fit.held_out.value == pytest.approx(np.mean(errors), abs=0.1)


def test_suggestions_are_far_from_each_other_and_from_what_is_known() -> None:
    _, rows = clusters(3, 0.01)
    chosen = spread_out(rows, 3, rows[:0])
    assert chosen[0] == 0
    assert {place // 3 for place in chosen} == {0, 1, 2}
    assert {place // 3 for place in spread_out(rows[3:], 2, rows[:3])} == {0, 1}
