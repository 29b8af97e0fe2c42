"""The certainty of a picture's caption, and other guesses at its content.

A network with a small vocabulary has a caption for every picture, right or wrong. So its caption stands beside three
guesses: the likeliest of the image classifier's classes, the likeliest kind of them (a dog of whatever breed), and the
everyday word that fits best. How sure each is comes from a logistic regression for each of the four, on how much better
the words fit than other words do in the towers' space, and on the classifier's probability. Its weights were fitted on
pictures of many sources, and checked on sources left out (by `model/training/certainty.py` of commit 3a57150).
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
from anyseek.model.image_attributes import Told
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
    """`weights` of the words and a constant at the end, by question; an answer is given from a probability of `sure`.

    Raises ValueError for a question without weights, weights of different lengths, and a `sure` outside 0.5 to 1.
    """

    weights: Mapping[Question, tuple[float, ...]]
    sure: float

    def __post_init__(self) -> None:
        if set(self.weights) != set(Question) or len({len(row) for row in self.weights.values()}) != 1:
            raise ValueError(f"there are as many weights for each of {', '.join(Question)}")
        if not 0.5 <= self.sure < 1:
            raise ValueError(f"an answer is given from a probability of 0.5 to 1, not {self.sure}")

    @property
    def words(self) -> int:
        """The number of weighed words."""
        return len(next(iter(self.weights.values()))) - 1

    def probability(self, question: Question, fits: Tensor) -> float:
        """The probability of a yes, given how well each of the words fits (words,)."""
        *weights, constant = self.weights[question]
        return float(sigmoid(fits @ fits.new_tensor(weights) + constant))

    def told(self, fits: Tensor) -> dict[str, Told]:
        """The answers that are sure. That nobody is there is never told: small people are easily overlooked."""
        people, indoors = (self.probability(question, fits) for question in (Question.PEOPLE, Question.INDOORS))
        found = {
            PEOPLE: Told(True, people),
            PLACE: Told(INDOORS if indoors >= 0.5 else OUTDOORS, max(indoors, 1 - indoors)),
        }
        return {name: told for name, told in found.items() if told.confidence >= self.sure}


SIGNALS = 5  # that a logistic regression sees, with a constant
_LEAST = 1e-4  # a probability below it says no more than it does
_HINT = re.compile(r"\s*[(/].*")  # "(bird of prey)" behind a class's name, " / carton"

# Classes of ImageNet by their places: first, and last plus one.
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


class From(StrEnum):
    """The origin of words for a picture; those that say more come first."""

    NETWORK = "network"
    CLASS = "class"
    KIND = "kind"
    EVERYDAY = "everyday"


@dataclass(frozen=True)
class Candidate:
    """A caption, where it is from, and `SIGNALS` numbers that tell how well it fits."""

    text: str
    origin: From
    signals: tuple[float, ...]


@dataclass(frozen=True)
class Calibration:
    """`weights` of the signals and a constant at the end, by origin; a caption is sure from a probability of `sure`.

    Raises ValueError for an origin without weights or with another number of them, and a `sure` outside 0 to 1.
    """

    weights: Mapping[From, tuple[float, ...]]
    sure: float

    def __post_init__(self) -> None:
        if set(self.weights) != set(From) or any(len(row) != SIGNALS + 1 for row in self.weights.values()):
            raise ValueError(f"there are {SIGNALS + 1} weights for each of {', '.join(From)}")
        if not 0 < self.sure < 1:
            raise ValueError(f"a caption is sure from a probability between 0 and 1, not {self.sure}")

    def probability(self, candidate: Candidate) -> float:
        """The probability that the caption fits, 0 to 1."""
        *weights, constant = self.weights[candidate.origin]
        total = sum(w * signal for w, signal in zip(weights, candidate.signals, strict=True)) + constant
        return float(torch.sigmoid(torch.tensor(total)))

    def ordered(self, candidates: Sequence[Candidate]) -> tuple[Guess, ...]:
        """All candidates, the likeliest first, but the chosen one before them.

        Of those that are sure, the one that says most is chosen. Else it is the likeliest; but guesses are of photos,
        so what the network itself does not call a photo keeps its caption.
        """
        told = [(self.probability(candidate), candidate) for candidate in candidates]
        told.sort(key=lambda pair: -pair[0])
        order = list(From)
        sure = [pair for pair in told if pair[0] >= self.sure]
        drawn = [pair for pair in told if pair[1].origin is From.NETWORK and "photo" not in pair[1].text]
        chosen = min(sure, key=lambda pair: order.index(pair[1].origin)) if sure else (drawn or told)[0]
        ranked = [chosen, *(pair for pair in told if pair[1].text != chosen[1].text)]
        best = {candidate.text: probability for probability, candidate in reversed(ranked)}
        return tuple(Guess(text, best[text]) for text in dict.fromkeys(candidate.text for _, candidate in ranked))


class Captioner:
    """The words that pictures may be told in, and how sure each is.

    `look` gives the image encoder's output for a picture, `read` the vectors (n, 384) of n texts. Without `calibration`
    nothing can be told, and only candidates are there. `answers` weigh how well `general_words` fit.
    """

    def __init__(
        self,
        towers: Towers,
        look: Callable[[Value], Features],
        read: Callable[[Sequence[str]], Tensor],
        calibration: Calibration | None,
        answers: Answers | None = None,
    ) -> None:
        self._towers, self._look, self._read = towers, look, read
        self._calibration, self._answers = calibration, answers
        self._classes = [_photo_of(name) for name in class_names()]
        self._others = general_words()

    @cached_property
    def _bank(self) -> Mapping[str, Tensor]:
        """The blocks of all classes, kinds and everyday words, in this order."""
        classes = F.normalize(self._towers.get_buffer("classes"), dim=1)
        return self._towers.captions(torch.cat([classes, self._read(self._others)]))

    @torch.inference_mode()
    def told(self, predicted: Prediction, picture: Value, as_it_is: bool) -> Prediction:
        """A predicted caption of a picture with how sure it is; another text takes its place where that is surer.

        With `as_it_is` the text stays what the network predicted.
        """
        if self._calibration is None or not isinstance(predicted.value, str):
            return predicted
        own = predicted.value
        guesses = self._calibration.ordered(self.candidates(self._look(picture), own))
        kept = [guess for guess in guesses if guess.text == own] if as_it_is else []
        first = kept[0] if kept else guesses[0]
        others = tuple(guess for guess in guesses if guess is not first)
        certainty = Certainty(first.probability, first.probability >= self._calibration.sure, others)
        if first.text == own:
            return replace(predicted, certainty=certainty)
        if as_it_is:  # an empty caption fits nothing
            return replace(predicted, certainty=Certainty(0.0, False, guesses))
        return replace(predicted, value=first.text, tokens=None, certainty=certainty)

    @torch.inference_mode()
    def tell(self, picture: Value) -> dict[str, Told]:
        """The words it is sure of in a picture; see `anyseek.model.image_attributes.TellingEmbedder.tell`."""
        found = self._look(picture)
        told = {} if self._answers is None else self._answers.told(self.fits(found))
        if self._calibration is None:
            return told
        rated = [(self._calibration.probability(each), each) for each in self.candidates(found, "")]
        sure = {_ARTICLE.sub("", each.text): share for share, each in rated if share >= self._calibration.sure}
        return {"shows": Told(tuple(sure), min(sure.values())), **told} if sure else told

    @torch.inference_mode()
    def fits(self, found: Features) -> Tensor:
        """The fit of each of `general_words` to a picture, beside all words that are known, in standard deviations."""
        known = self._known(self._towers.photos(self._towers.see(found)))
        return _standardised(known)[:, len(self._classes) :].mean(dim=0)

    def _known(self, photo: Mapping[str, Tensor]) -> Tensor:
        """The cosines of a picture, given by its blocks, with all words that are known, in two blocks (2, n)."""
        return torch.stack([(self._bank[block] @ photo[block].T)[:, 0] for block in (WORDS, LEARNED)])

    @torch.inference_mode()
    def names(self, vectors: Tensor, most: int) -> list[tuple[str, ...]]:
        """The words that fit vectors (n, d) of the towers' space best, at most `most` of each, without articles."""
        own = torch.split(vectors, list(self._towers.blocks), dim=1)
        starts = dict(zip((WHOLE, PLACES, WORDS, LEARNED), own, strict=True))
        fits = vectors.new_zeros(len(vectors), len(self._classes) + len(self._others))
        for block in (WORDS, LEARNED):
            cosines = F.normalize(starts[block], dim=1) @ self._bank[block].T
            fits += (cosines - cosines.mean(dim=1, keepdim=True)) / cosines.std(dim=1, keepdim=True).clamp(min=_LEAST)
        bare = [_ARTICLE.sub("", text) for text in (*self._classes, *self._others)]
        # A kind may be a class and an everyday word as well.
        ordered = fits.argsort(dim=1, descending=True)[:, : 3 * most].tolist()
        return [tuple(dict.fromkeys(bare[place] for place in row))[:most] for row in ordered]

    def candidates(self, found: Features, own: str) -> list[Candidate]:
        """The network's `own` caption, unless it is empty, and three guesses for the picture that `found` is of."""
        photo = self._towers.photos(self._towers.see(found))
        known = self._known(photo)
        shares = found.logits[0].softmax(dim=0)
        kinds = torch.stack([torch.cat([shares[a:b] for a, b in places]).sum() for places in _KINDS.values()])
        count, behind = len(self._classes), len(self._classes) + len(_KINDS)
        fits = _standardised(known)
        best, likeliest = int(fits[:, behind:].sum(dim=0).argmax()) + behind, int(kinds.argmax())
        texts = [*self._classes, *self._others]
        guesses = [
            (From.CLASS, int(shares.argmax()), shares.max()),
            (From.KIND, count + likeliest, kinds[likeliest]),
            (From.EVERYDAY, best, shares.max()),
        ]
        candidates = [
            Candidate(texts[place], origin, _signals(known[:, place], known, share)) for origin, place, share in guesses
        ]
        if own.strip():
            asked = self._towers.captions(self._read([own]))
            cosines = torch.stack([(asked[block] @ photo[block].T)[0, 0] for block in (WORDS, LEARNED)])
            candidates.insert(0, Candidate(own, From.NETWORK, _signals(cosines, known, shares.max())))
        return candidates


def general_words() -> list[str]:
    """The kinds and everyday words, as captions."""
    everyday = _EVERYDAY.read_text(encoding="utf-8").splitlines()
    return [*map(_photo_of, _KINDS), *(f"a photo of {words}" for words in everyday)]


def _standardised(cosines: Tensor) -> Tensor:
    """Cosines (2, n) in standard deviations from the mean of their row."""
    return (cosines - cosines.mean(dim=1, keepdim=True)) / cosines.std(dim=1, keepdim=True)


def _signals(cosines: Tensor, known: Tensor, share: Tensor) -> tuple[float, ...]:
    """The fit of words (2,), beside all that are known (2, n): relative to these, and to the best of them; and the
    classifier's probability as a logit.
    """
    relative = (cosines - known.mean(dim=1)) / known.std(dim=1)
    behind = cosines - known.amax(dim=1)
    doubt = share.clamp(_LEAST, 1 - _LEAST).logit()
    return tuple(float(number) for number in (*relative, *(10 * behind), doubt))


def _photo_of(name: str) -> str:
    plain = _HINT.sub("", name)
    if plain.endswith("s") and not plain.endswith(("ss", "us", "is", "as")):  # jeans
        return f"a photo of {plain}"
    return f"a photo of {'an' if plain[0].lower() in 'aeiou' else 'a'} {plain}"
