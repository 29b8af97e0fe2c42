"""Whether a picture shows people, and whether it was taken indoors: how well words fit it, weighed.

Each question has a logistic regression on how well the kinds and everyday words of `anyseek.model.towers.captions` fit
the picture in the towers' space, relative to each other. They were fitted on photos of several sources, and measured on
sources left out (docs/indexing.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from torch import Tensor, sigmoid

from anyseek.model.image_attributes import Told

PEOPLE, PLACE = "has_people", "place"
INDOORS, OUTDOORS = "indoors", "outdoors"


class Question(StrEnum):
    """What is asked; the answer is yes or no."""

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
        """How many words are weighed."""
        return len(next(iter(self.weights.values()))) - 1

    def probability(self, question: Question, fits: Tensor) -> float:
        """How likely the answer is yes, given how well each of the words fits (words,)."""
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
