"""What is told of a picture: answers that are sure, and the names of what it shows."""

import numpy as np
import pytest
import torch

from anyseek.model.image_attributes import Told
from anyseek.model.towers.captions import Captioner, general_words
from anyseek.model.towers.telling import INDOORS, OUTDOORS, PEOPLE, PLACE, Answers, Question
from tests.model.towers.test_captions import BY_DOUBT, DALMATIAN, calibration, captioner

WEIGHTS = {Question.PEOPLE: (2.0, 0.0, -1.0), Question.INDOORS: (0.0, 4.0, 0.0)}
PICTURE = np.zeros((8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("fits", "expected"),
    [
        ((0.0, 0.0), set()),
        ((3.0, 0.0), {(PEOPLE, True)}),
        ((-9.0, 0.0), set()),  # that nobody is there is never told
        ((0.0, 1.0), {(PLACE, INDOORS)}),
        ((3.0, -1.0), {(PEOPLE, True), (PLACE, OUTDOORS)}),
    ],
)
def test_answers_are_told_when_they_are_sure(fits: tuple[float, ...], expected: set[tuple[str, object]]) -> None:
    told = Answers(WEIGHTS, 0.9).told(torch.tensor(fits))
    assert {(name, each.value) for name, each in told.items()} == expected
    assert all(0.9 <= each.confidence < 1 for each in told.values())


def test_a_probability_is_that_of_the_weighed_words() -> None:
    answers = Answers(WEIGHTS, 0.9)
    assert answers.probability(Question.PEOPLE, torch.tensor([1.0, 5.0])) == pytest.approx(1 / (1 + np.exp(-1)))
    assert answers.words == 2


@pytest.mark.parametrize(
    ("weights", "sure"),
    [
        ({Question.PEOPLE: (1.0, 0.0)}, 0.9),
        (WEIGHTS | {Question.PEOPLE: (1.0, 0.0)}, 0.9),
        (WEIGHTS, 0.4),
        (WEIGHTS, 1),
    ],
)
def test_answers_that_cannot_be_are_refused(weights: dict[Question, tuple[float, ...]], sure: float) -> None:
    with pytest.raises(ValueError, match=r"weights|probability"):
        Answers(weights, sure)


def test_what_is_shown_is_named_by_all_that_is_sure() -> None:
    known = calibration(**{"class": BY_DOUBT, "kind": BY_DOUBT})
    told = captioner(known, {DALMATIAN: 0.7}).tell(PICTURE)["shows"]
    assert told.value == ("Dalmatian", "dog")
    assert told.confidence == pytest.approx(0.7, abs=0.01)  # of the less sure one
    assert "shows" not in captioner(known, {DALMATIAN: 0.5}).tell(PICTURE)
    assert captioner(None, {DALMATIAN: 0.9}).tell(PICTURE) == {}


def test_a_captioner_weighs_how_well_words_fit() -> None:
    known = captioner(None, {DALMATIAN: 0.9})
    fits = known.fits(known._look(PICTURE))
    assert fits.shape == (len(general_words()),)
    always = (0.0,) * len(general_words())
    answers = Answers({Question.PEOPLE: (*always, 3.0), Question.INDOORS: (*always, 0.0)}, 0.9)
    told = Captioner(known._towers, known._look, known._read, None, answers).tell(PICTURE)
    assert told == {PEOPLE: Told(True, pytest.approx(1 / (1 + np.exp(-3))))}
