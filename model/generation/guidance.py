"""Classifier-free guidance: how the logits of several passes, each seeing other conditions, become one.

The last pass sees none of the conditions; with u its logits and c_i those of term i,

    logits = u + sum_i w_i (c_i - u)

A negative weight leads away from its condition. Tokens already decoded of the target itself are in every pass. One
scale for all conditions empties them in the last pass, and an emptied sequence is not nothing: its input is `[S_1]`
alone, as in training. With a weight for each condition, a pass does not have the others at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from torch import Tensor


@dataclass(frozen=True)
class Term:
    """A pass that sees `conditions`, and the weight of what it adds."""

    weight: float
    conditions: frozenset[str]


@dataclass(frozen=True)
class Guidance:
    """Weighted terms over `conditions`, the inputs that the last pass does not see.

    Without terms there is that one pass; with no conditions either it is the plain, unguided one. `separate` says that
    each condition has a weight of its own.
    """

    conditions: frozenset[str] = frozenset()
    terms: tuple[Term, ...] = ()
    separate: bool = False

    @classmethod
    def together(cls, scale: float, conditions: Sequence[str]) -> Self:
        """One scale for all conditions at once; 1, or no condition, is no guidance."""
        if scale == 1 or not conditions:
            return cls()
        return cls(frozenset(conditions), (Term(scale, frozenset(conditions)),))

    @classmethod
    def weighted(cls, weights: Sequence[float], conditions: Sequence[str]) -> Self:
        """One weight for each condition; conditions beyond the weights are seen by no pass."""
        terms = tuple(Term(weight, frozenset({key})) for weight, key in zip(weights, conditions, strict=False))
        return cls(frozenset(conditions), terms, separate=True)

    @property
    def passes(self) -> int:
        """How many passes a step makes: one for each term, then the one that sees no condition."""
        return len(self.terms) + 1

    def hidden(self, place: int) -> frozenset[str]:
        """The conditions that pass number `place` does not see."""
        return self.conditions - self.terms[place].conditions if place < len(self.terms) else self.conditions


def combine(logits: Sequence[Tensor], guidance: Guidance) -> Tensor:
    """The guided logits of those of all passes, the terms' first; all of one shape."""
    *conditional, unconditional = (one.float() for one in logits)
    combined = unconditional
    for term, seen in zip(guidance.terms, conditional, strict=True):
        combined = combined + term.weight * (seen - unconditional)
    return combined
