"""No judged photo is an example, and suggestions are taken from the others alone."""

import numpy as np
import pytest

from benchmarks.teaching import accuracy, ask, draw, judged, prototype_accuracy

LABELS = np.repeat(["cat", "dog", "fish"], 20)
ROWS = np.eye(3, 8, dtype=np.float32).repeat(20, axis=0)


@pytest.mark.parametrize("examples", [1, 5])
def test_examples_are_of_each_class_and_never_judged(examples: int) -> None:
    drawn = draw(LABELS, examples, 0)
    assert sorted(LABELS[drawn]) == sorted(np.repeat(["cat", "dog", "fish"], examples))
    assert not set(drawn) & set(judged(LABELS))
    assert len(judged(LABELS)) == 30
    assert list(draw(LABELS, examples, 1)) != list(drawn)


def test_what_is_suggested_is_never_judged_and_labelled_once() -> None:
    known = ask(ROWS, LABELS, draw(LABELS, 1, 0), 15)
    assert len(set(known)) == 15
    assert not set(known) & set(judged(LABELS))


def test_accuracy_is_of_the_judged_photos_alone() -> None:
    drawn, rows = draw(LABELS, 2, 0), ROWS.copy()
    assert accuracy(ROWS, LABELS, drawn) == prototype_accuracy(ROWS, LABELS, drawn) == 1
    rows[judged(LABELS)[0]] = np.eye(8, dtype=np.float32)[1]  # a cat that looks like a dog
    assert accuracy(rows, LABELS, drawn) == pytest.approx(29 / 30)
