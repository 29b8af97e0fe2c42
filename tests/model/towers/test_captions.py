"""What a picture may be told in, how sure that is, and which of it is said."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from anyseek.model.encoders.efficientnet import CHANNELS, CLASSES, COARSE, FINE_CHANNELS, PARTS, Features, class_names
from anyseek.model.encoders.minilm import WIDTH
from anyseek.model.image_attributes import ImageAttribute
from anyseek.model.seam import Certainty, Prediction
from anyseek.model.towers.captions import (
    INDOORS,
    OUTDOORS,
    PEOPLE,
    PLACE,
    SIGNALS,
    Answers,
    Calibration,
    Candidate,
    Captioner,
    CaptionOrigin,
    Question,
    general_words,
)
from anyseek.model.towers.space import LEARNED, WORDS, Shape, Towers, Weights

BY_DOUBT = (0.0,) * (SIGNALS - 1) + (1.0, 0.0)  # as likely as the classifier says
NEVER = (0.0,) * SIGNALS + (-9.0,)
DALMATIAN = class_names().index("Dalmatian")


def calibration(**weights: tuple[float, ...]) -> Calibration:
    return Calibration({origin: weights.get(origin.value, NEVER) for origin in CaptionOrigin}, 0.6)


def features(shares: dict[int, float]) -> Features:
    """What the encoder sees of one picture, with these classes' probabilities."""
    rest = (1 - sum(shares.values())) / (CLASSES - len(shares))
    probabilities = torch.full((1, CLASSES), rest)
    for place, share in shares.items():
        probabilities[0, place] = share
    torch.manual_seed(0)
    return Features(
        torch.rand(1, CHANNELS, 7, 7),
        torch.rand(1, CHANNELS),
        probabilities.log(),
        torch.rand(1, FINE_CHANNELS, PARTS, PARTS),
        torch.rand(1, *COARSE),
    )


def read(texts: Sequence[str]) -> Tensor:
    rows = [torch.randn(WIDTH, generator=torch.Generator().manual_seed(len(text))) for text in texts]
    return F.normalize(torch.stack(rows), dim=1)


def captioner(known: Calibration | None, shares: dict[int, float]) -> Captioner:
    torch.manual_seed(0)
    towers = Towers(Shape(32, 32, 16, 16), {"rgb": Weights(whole=1)}, {}, {})
    for projection in (towers.whole, towers.places, towers.seen):
        projection.axes.normal_()
    towers.get_buffer("classes").normal_()
    return Captioner(towers.eval(), lambda picture: features(shares), read, known)


def told(known: Calibration | None, shares: dict[int, float], own: str, keep_text: bool = False) -> Prediction:
    predicted = Prediction("caption", own, np.zeros(3, np.int64))
    return captioner(known, shares).with_certainty(predicted, np.zeros((8, 8, 3), np.uint8), keep_text)


def certainty(found: Prediction) -> Certainty:
    assert found.certainty is not None
    return found.certainty


def test_a_class_that_is_surer_takes_the_place_of_the_networks_caption() -> None:
    found = told(calibration(**{"class": BY_DOUBT}), {DALMATIAN: 0.9}, "a photo of cup")
    assert found.value == "a photo of a Dalmatian"
    assert found.tokens is None
    assert certainty(found).sure
    assert certainty(found).confidence == pytest.approx(0.9, abs=1e-3)
    assert "a photo of cup" in [guess.text for guess in certainty(found).guesses]


def test_kinds_add_up_their_classes() -> None:
    found = told(calibration(kind=BY_DOUBT), {DALMATIAN: 0.4, DALMATIAN + 1: 0.4}, "a photo of cup")
    assert found.value == "a photo of a dog"


def test_a_sure_caption_of_the_network_stays() -> None:
    sure = calibration(network=(0.0,) * SIGNALS + (0.5,), **{"class": BY_DOUBT})
    found = told(sure, {DALMATIAN: 0.9}, "a dog with spots")
    assert found.value == "a dog with spots"
    assert found.tokens is not None
    assert certainty(found).sure


def test_not_sure_is_an_answer_with_the_likeliest_guess_first() -> None:
    found = told(calibration(**{"class": BY_DOUBT}), {DALMATIAN: 0.3}, "a photo of cup")
    assert found.value == "a photo of a Dalmatian"
    assert not certainty(found).sure
    probabilities = [guess.probability for guess in certainty(found).guesses]
    assert probabilities == sorted(probabilities, reverse=True)


def test_what_the_network_does_not_call_a_photo_keeps_its_caption_unless_a_guess_is_sure() -> None:
    known = calibration(**{"class": BY_DOUBT})
    doubtful = told(known, {DALMATIAN: 0.4}, "a picture of dog face")
    assert doubtful.value == "a picture of dog face"
    assert not certainty(doubtful).sure
    assert told(known, {DALMATIAN: 0.8}, "a picture of dog face").value == "a photo of a Dalmatian"


def test_a_caption_whose_drawing_was_chosen_is_judged_and_not_replaced() -> None:
    found = told(calibration(**{"class": BY_DOUBT}), {DALMATIAN: 0.9}, "a photo of cup", keep_text=True)
    assert found.value == "a photo of cup"
    assert not certainty(found).sure
    assert certainty(found).guesses[0].text == "a photo of a Dalmatian"
    empty = told(calibration(**{"class": BY_DOUBT}), {DALMATIAN: 0.9}, "", keep_text=True)
    assert empty.value == ""
    assert certainty(empty).confidence == 0


def test_a_model_without_calibration_tells_nothing() -> None:
    assert told(None, {DALMATIAN: 0.9}, "a photo of cup").certainty is None


def test_the_same_words_are_one_guess() -> None:
    ordered = calibration(kind=BY_DOUBT, everyday=BY_DOUBT).rank(
        [
            Candidate("a photo of a dog", CaptionOrigin.KIND, (0.0,) * (SIGNALS - 1) + (-1.0,)),
            Candidate("a photo of a dog", CaptionOrigin.EVERYDAY, (0.0,) * (SIGNALS - 1) + (-2.0,)),
        ]
    )
    assert [guess.text for guess in ordered] == ["a photo of a dog"]
    assert ordered[0].probability == pytest.approx(1 / (1 + np.e), abs=1e-6)


def test_a_calibration_has_weights_for_every_origin() -> None:
    with pytest.raises(ValueError, match="6 weights for each of network, class, kind, everyday"):
        Calibration({CaptionOrigin.CLASS: BY_DOUBT}, 0.5)
    with pytest.raises(ValueError, match="between 0 and 1, not 1"):
        Calibration(dict.fromkeys(CaptionOrigin, NEVER), 1.0)


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
    told = Answers(WEIGHTS, 0.9).confident_answers(torch.tensor(fits))
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
    told = captioner(known, {DALMATIAN: 0.7}).attributes(PICTURE)["shows"]
    assert told.value == ("Dalmatian", "dog")
    assert told.confidence == pytest.approx(0.7, abs=0.01)  # of the less sure one
    assert "shows" not in captioner(known, {DALMATIAN: 0.5}).attributes(PICTURE)
    assert captioner(None, {DALMATIAN: 0.9}).attributes(PICTURE) == {}


def test_a_captioner_weighs_how_well_words_fit() -> None:
    known = captioner(None, {DALMATIAN: 0.9})
    fits = known.word_scores(known._image_features(PICTURE))
    assert fits.shape == (len(general_words()),)
    always = (0.0,) * len(general_words())
    answers = Answers({Question.PEOPLE: (*always, 3.0), Question.INDOORS: (*always, 0.0)}, 0.9)
    told = Captioner(known._towers, known._image_features, known._sentence_vectors, None, answers).attributes(PICTURE)
    assert told == {PEOPLE: ImageAttribute(True, pytest.approx(1 / (1 + np.exp(-3))))}


def test_a_vector_has_the_names_that_fit_it_far_better_than_other_words_do() -> None:
    known = captioner(None, {DALMATIAN: 0.9})
    place = len(known._classes) + general_words().index("a photo of a group of people")
    people = torch.cat([torch.zeros(64), *(known._word_blocks[block][place] for block in (WORDS, LEARNED))])
    noise = torch.randn(20, len(people), generator=torch.Generator().manual_seed(0))
    assert known.names(people[None], 3) == [("group of people",)]
    assert known.names(torch.stack([people * 2, people + 0.05 * noise[0]]), 1) == [("group of people",)] * 2
    assert known.names(torch.cat([noise, torch.zeros(1, len(people))]), 3) == [()] * 21


def test_a_class_of_the_image_classifier_is_no_name() -> None:
    known = captioner(None, {DALMATIAN: 0.9})
    row = torch.cat([torch.zeros(64), *(known._word_blocks[block][DALMATIAN] for block in (WORDS, LEARNED))])
    assert known.names(row[None], 3) == [()]
