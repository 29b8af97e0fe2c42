"""The certainty of a picture's caption, and alternative captions.

A network with a small vocabulary captions every picture, right or wrong. Its caption therefore competes with three
guesses: the most probable class of the image classifier, the most probable kind of class (a dog of any breed), and the
best-fitting everyday word. The certainty of each is a logistic regression, one per origin, on how much better the words
fit than other words do in the towers' space, and on the classifier's probability. The weights were fitted on pictures
of many sources, and validated on held-out sources (by `model/training/certainty.py` of commit 3a57150).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, sigmoid

from anyseek.model.encoders.efficientnet import Features, class_names
from anyseek.model.image_attributes import ImageAttribute
from anyseek.model.seam import Certainty, Guess, Prediction, Value
from anyseek.model.towers.space import LEARNED, PLACES, WHOLE, WORDS, Towers

PEOPLE, PLACE = "has_people", "place"
INDOORS, OUTDOORS = "indoors", "outdoors"


class Question(StrEnum):
    """A yes-or-no question."""

    PEOPLE = "people"
    INDOORS = "indoors"


@dataclass(frozen=True)
class Answers:
    """Logistic regressions that answer questions from word scores.

    `weights` holds, by question, a weight for each word and the intercept; an answer is reported from a probability of
    `sure`. Raises ValueError for a question without weights, weights of different lengths, and `sure` outside 0.5 to 1.
    """

    weights: Mapping[Question, tuple[float, ...]]
    sure: float

    def __post_init__(self) -> None:
        if set(self.weights) != set(Question) or len({len(row) for row in self.weights.values()}) != 1:
            raise ValueError(f"each of {', '.join(Question)} needs the same number of weights")
        if not 0.5 <= self.sure < 1:
            raise ValueError(f"sure must be a probability from 0.5 to 1, not {self.sure}")

    @property
    def words(self) -> int:
        """The number of words with a weight."""
        return len(next(iter(self.weights.values()))) - 1

    def probability(self, question: Question, scores: Tensor) -> float:
        """The probability of a yes, given the scores of the words (words,)."""
        *weights, constant = self.weights[question]
        return float(sigmoid(scores @ scores.new_tensor(weights) + constant))

    def confident_answers(self, scores: Tensor) -> dict[str, ImageAttribute]:
        """The answers that are sure. The absence of people is never reported: small people are easily missed."""
        people, indoors = (self.probability(question, scores) for question in (Question.PEOPLE, Question.INDOORS))
        answers = {
            PEOPLE: ImageAttribute(True, people),
            PLACE: ImageAttribute(INDOORS if indoors >= 0.5 else OUTDOORS, max(indoors, 1 - indoors)),
        }
        return {name: answer for name, answer in answers.items() if answer.confidence >= self.sure}


SIGNALS = 5  # inputs of a logistic regression, without the intercept
# A general word is a name of a vector if its standard scores among all words, in the two blocks of words, add up to
# this: the lowest multiple of 0.5 from which at least 0.8 of the best names are right in each of seven sources
# (docs/weights.md#names). No floor serves the image classifier's classes: airliners are "military aircraft" at 10.
NAME_FLOOR = 8.0
_EPSILON = 1e-4  # smaller probabilities and deviations count as this
_QUALIFIER = re.compile(r"\s*[(/].*")  # "(bird of prey)" after a class's name, " / carton"

# Ranges of ImageNet class indices, end exclusive.
_KINDS: Mapping[str, tuple[tuple[int, int], ...]] = {
    "fish": ((0, 7), (389, 398)),
    "bird": ((7, 25), (80, 101), (127, 147)),
    "lizard": ((38, 49),),
    "snake": ((52, 69),),
    "spider": ((72, 78),),
    "dog": ((151, 269),),
    "wolf": ((269, 276),),
    "cat": ((281, 286),),
    "big cat": ((286, 294),),
    "bear": ((294, 298),),
    "insect": ((300, 327),),
    "butterfly": ((321, 327),),
    "monkey": ((365, 385),),
    "elephant": ((385, 387),),
}
_ARTICLE = re.compile(r"^a photo of (an? )?")
_EVERYDAY = Path(__file__).with_name("everyday_words.txt")


class CaptionOrigin(StrEnum):
    """The origin of a caption; more specific ones come first."""

    NETWORK = "network"
    CLASS = "class"
    KIND = "kind"
    EVERYDAY = "everyday"


@dataclass(frozen=True)
class Candidate:
    """A caption, its origin, and `SIGNALS` numbers that measure its fit."""

    text: str
    origin: CaptionOrigin
    signals: tuple[float, ...]


@dataclass(frozen=True)
class Calibration:
    """Logistic regressions of captions' certainty.

    `weights` holds, by origin, a weight for each signal and the intercept; a caption is sure from a probability of
    `sure`. Raises ValueError for an origin without weights or with another number of them, and `sure` outside 0 to 1.
    """

    weights: Mapping[CaptionOrigin, tuple[float, ...]]
    sure: float

    def __post_init__(self) -> None:
        if set(self.weights) != set(CaptionOrigin) or any(len(row) != SIGNALS + 1 for row in self.weights.values()):
            raise ValueError(f"there must be {SIGNALS + 1} weights for each of {', '.join(CaptionOrigin)}")
        if not 0 < self.sure < 1:
            raise ValueError(f"sure must be a probability between 0 and 1, not {self.sure}")

    def probability(self, candidate: Candidate) -> float:
        """The probability that the caption fits, 0 to 1."""
        *weights, constant = self.weights[candidate.origin]
        total = sum(w * signal for w, signal in zip(weights, candidate.signals, strict=True)) + constant
        return float(torch.sigmoid(torch.tensor(total)))

    def rank(self, candidates: Sequence[Candidate]) -> tuple[Guess, ...]:
        """The chosen candidate, then all others by descending probability.

        Of the sure candidates, the most specific one is chosen. Without any it is the most probable one, unless the
        network does not call the picture a photo: guesses are about photos, so its own caption is chosen.
        """
        rated = [(self.probability(candidate), candidate) for candidate in candidates]
        rated.sort(key=lambda pair: -pair[0])
        order = list(CaptionOrigin)
        sure = [pair for pair in rated if pair[0] >= self.sure]
        no_photo = [pair for pair in rated if pair[1].origin is CaptionOrigin.NETWORK and "photo" not in pair[1].text]
        chosen = min(sure, key=lambda pair: order.index(pair[1].origin)) if sure else (no_photo or rated)[0]
        ranked = [chosen, *(pair for pair in rated if pair[1].text != chosen[1].text)]
        best = {candidate.text: probability for probability, candidate in reversed(ranked)}
        return tuple(Guess(text, best[text]) for text in dict.fromkeys(candidate.text for _, candidate in ranked))


class Captioner:
    """Captions pictures with known words, and rates the certainty of captions.

    `image_features` gives the image encoder's output for a picture, `sentence_vectors` the vectors (n, 384) of n texts.
    Without `calibration` there are candidates but no certainty. `answers` answer questions from `word_scores`.
    """

    def __init__(
        self,
        towers: Towers,
        image_features: Callable[[Value], Features],
        sentence_vectors: Callable[[Sequence[str]], Tensor],
        calibration: Calibration | None,
        answers: Answers | None = None,
    ) -> None:
        self._towers, self._image_features, self._sentence_vectors = towers, image_features, sentence_vectors
        self._calibration, self._answers = calibration, answers
        self._classes = [_photo_caption(name) for name in class_names()]
        self._general = general_words()

    @cached_property
    def _word_blocks(self) -> Mapping[str, Tensor]:
        """The caption blocks of all classes, kinds and everyday words, in this order."""
        classes = F.normalize(self._towers.get_buffer("classes"), dim=1)
        return self._towers.caption_blocks(torch.cat([classes, self._sentence_vectors(self._general)]))

    @torch.inference_mode()
    def with_certainty(self, predicted: Prediction, picture: Value, keep_text: bool) -> Prediction:
        """The predicted caption with its certainty, or a guess that `Calibration.rank` prefers.

        With `keep_text` the text stays what the network predicted.
        """
        if self._calibration is None or not isinstance(predicted.value, str):
            return predicted
        caption = predicted.value
        guesses = self._calibration.rank(self.candidates(self._image_features(picture), caption))
        kept = [guess for guess in guesses if guess.text == caption] if keep_text else []
        first = kept[0] if kept else guesses[0]
        others = tuple(guess for guess in guesses if guess is not first)
        certainty = Certainty(first.probability, first.probability >= self._calibration.sure, others)
        if first.text == caption:
            return replace(predicted, certainty=certainty)
        if keep_text:  # an empty caption fits nothing
            return replace(predicted, certainty=Certainty(0.0, False, guesses))
        return replace(predicted, value=first.text, tokens=None, certainty=certainty)

    @torch.inference_mode()
    def attributes(self, picture: Value) -> dict[str, ImageAttribute]:
        """The certain attributes of a picture; see `AttributeEmbedder.image_attributes`."""
        features = self._image_features(picture)
        answers = {} if self._answers is None else self._answers.confident_answers(self.word_scores(features))
        if self._calibration is None:
            return answers
        rated = [(self._calibration.probability(each), each) for each in self.candidates(features, "")]
        sure = {_ARTICLE.sub("", each.text): share for share, each in rated if share >= self._calibration.sure}
        return {"shows": ImageAttribute(tuple(sure), min(sure.values())), **answers} if sure else answers

    @torch.inference_mode()
    def word_scores(self, features: Features) -> Tensor:
        """The fit of each of `general_words` to a picture, in standard deviations over all known words."""
        word_cosines = self._word_cosines(self._towers.photo_blocks(self._towers.tower_input(features)))
        return _standardise(word_cosines)[:, len(self._classes) :].mean(dim=0)

    def _word_cosines(self, photo: Mapping[str, Tensor]) -> Tensor:
        """Cosines (2, n) of a picture's blocks with all n known words, in the blocks `words` and `learned`."""
        return torch.stack([(self._word_blocks[block] @ photo[block].T)[:, 0] for block in (WORDS, LEARNED)])

    @torch.inference_mode()
    def names(self, vectors: Tensor, most: int) -> list[tuple[str, ...]]:
        """The general words that reach `NAME_FLOOR`, of vectors (n, d) of the towers' space, at most `most` each.

        They are without articles, best first.
        """
        blocks = torch.split(vectors, list(self._towers.blocks), dim=1)
        by_block = dict(zip((WHOLE, PLACES, WORDS, LEARNED), blocks, strict=True))
        in_words, learned = (
            _standardise(F.normalize(by_block[block], dim=1) @ self._word_blocks[block].T) for block in (WORDS, LEARNED)
        )
        fits = (in_words + learned)[:, len(self._classes) :]
        words = [_ARTICLE.sub("", text) for text in self._general]
        counts = (fits >= NAME_FLOOR).sum(dim=1).tolist()
        ranked = fits.argsort(dim=1, descending=True).tolist()
        # A word may occur twice: as kind and everyday word.
        named = [[words[place] for place in row[:count]] for row, count in zip(ranked, counts, strict=True)]
        return [tuple(dict.fromkeys(names))[:most] for names in named]

    def candidates(self, features: Features, caption: str) -> list[Candidate]:
        """The network's `caption`, unless it is empty, and three guesses for the picture with these features."""
        photo = self._towers.photo_blocks(self._towers.tower_input(features))
        word_cosines = self._word_cosines(photo)
        shares = features.logits[0].softmax(dim=0)
        kinds = torch.stack([torch.cat([shares[a:b] for a, b in ranges]).sum() for ranges in _KINDS.values()])
        first_kind, first_everyday = len(self._classes), len(self._classes) + len(_KINDS)
        scores = _standardise(word_cosines)
        everyday = int(scores[:, first_everyday:].sum(dim=0).argmax()) + first_everyday
        kind = int(kinds.argmax())
        texts = [*self._classes, *self._general]
        guesses = [
            (CaptionOrigin.CLASS, int(shares.argmax()), shares.max()),
            (CaptionOrigin.KIND, first_kind + kind, kinds[kind]),
            (CaptionOrigin.EVERYDAY, everyday, shares.max()),
        ]
        candidates = [
            Candidate(texts[index], origin, _signals(word_cosines[:, index], word_cosines, share))
            for origin, index, share in guesses
        ]
        if caption.strip():
            blocks = self._towers.caption_blocks(self._sentence_vectors([caption]))
            cosines = torch.stack([(blocks[block] @ photo[block].T)[0, 0] for block in (WORDS, LEARNED)])
            signals = _signals(cosines, word_cosines, shares.max())
            candidates.insert(0, Candidate(caption, CaptionOrigin.NETWORK, signals))
        return candidates


def general_words() -> list[str]:
    """The kinds and everyday words, as captions."""
    everyday = _EVERYDAY.read_text(encoding="utf-8").splitlines()
    return [*map(_photo_caption, _KINDS), *(f"a photo of {words}" for words in everyday)]


def _standardise(cosines: Tensor) -> Tensor:
    """Cosines (m, n) as standard scores of their row."""
    return (cosines - cosines.mean(dim=1, keepdim=True)) / cosines.std(dim=1, keepdim=True).clamp(min=_EPSILON)


def _signals(cosines: Tensor, word_cosines: Tensor, share: Tensor) -> tuple[float, ...]:
    """Signals of a caption with cosines (2,): its standard scores among all words (2, n), its distances to the best of
    them, and the logit of the classifier's probability.
    """
    relative = (cosines - word_cosines.mean(dim=1)) / word_cosines.std(dim=1)
    to_best = cosines - word_cosines.amax(dim=1)
    logit = share.clamp(_EPSILON, 1 - _EPSILON).logit()
    return tuple(float(number) for number in (*relative, *(10 * to_best), logit))


def _photo_caption(name: str) -> str:
    plain = _QUALIFIER.sub("", name)
    if plain.endswith("s") and not plain.endswith(("ss", "us", "is", "as")):  # jeans
        return f"a photo of {plain}"
    return f"a photo of {'an' if plain[0].lower() in 'aeiou' else 'a'} {plain}"
