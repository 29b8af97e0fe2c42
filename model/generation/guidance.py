"""Classifier-free guidance: combine the logits of several passes, each seeing different conditions.

The last pass sees none of the conditions; with u its logits and c_i those of term i,

    logits = u + sum_i w_i (c_i - u)

A negative weight steers away from its condition. Every pass sees the target's own tokens that are already decoded. With
one scale for all conditions, the last pass sees them emptied. An emptied sequence still has an input: `[S_1]` alone, as
in training. With a weight for each condition, a pass leaves hidden conditions out entirely.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from torch import Tensor


@dataclass(frozen=True)
class Term:
    """A pass that sees `conditions`, and the weight of its contribution."""

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
    """Combine the logits of all passes, the terms' first, into guided ones; all have the same shape."""
    *conditional, unconditional = (of_pass.float() for of_pass in logits)
    combined = unconditional
    for term, seen in zip(guidance.terms, conditional, strict=True):
        combined = combined + term.weight * (seen - unconditional)
    return combined
