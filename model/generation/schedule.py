"""The generation schedule: how many tokens each step decodes, at which temperature, and with which guidance.

`steps_of(TargetPlan(...), conditions)` turns the plan of a target into the steps that
`anyseek.model.generation.generate` runs. Targets are decoded one after the other; a finished target becomes an input of
the next.

Classifier-free guidance combines the logits of several passes, each seeing different conditions. The last pass sees
none of them; with u its logits and c_i those of term i,

    logits = u + sum_i w_i (c_i - u)

A negative weight steers away from its condition. Every pass sees the target's own tokens that are already decoded. With
one scale for all conditions, the last pass sees them emptied. An emptied sequence still has an input: `[S_1]` alone, as
in training. With a weight for each condition, a pass leaves hidden conditions out entirely.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import numpy as np
from torch import Tensor

from anyseek.model.errors import RequestInvalid


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
        """The number of passes of a step: one for each term, then the one that sees no condition."""
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


_COLDEST = 1e-9  # temperatures that fall to 0 by schedule stop here, so that sampling goes on


class ScheduleInvalid(RequestInvalid):
    """A plan of decoding that cannot be carried out."""

    code = "schedule-invalid"


class Scheme(StrEnum):
    """The order in which the tokens of a target are decoded."""

    ROAR = "roar"  # image tokens at random places, a few each step
    MASKGIT = "maskgit"  # image tokens, all predicted in each step and the likeliest kept
    AUTOREGRESSIVE = "autoregressive"  # a sequence, token by token


@dataclass(frozen=True)
class TargetPlan:
    """The plan of decoding one target.

    `tokens` is its number of image tokens and `steps` the number of decoding steps. `token_schedule` sets each step's
    share: `linear` or `cosine` (MaskGIT only: ROAR always takes equal shares). Sequences need none of these three.
    `temperature` 0 picks the likeliest token; `temperature_schedule` is `constant`, `linear` or `onex:<min>:<power>`.
    `guidance` is a scale for all conditions together (1 is none), or one weight for each condition in order, which
    may be negative; see `anyseek.model.generation.schedule`.
    """

    target: str
    scheme: Scheme
    tokens: int = 0
    steps: int = 1
    token_schedule: str = "linear"
    temperature: float = 0.0
    temperature_schedule: str = "constant"
    guidance: float | tuple[float, ...] = 1.0


@dataclass(frozen=True)
class Step:
    """One step: decode `tokens` tokens of `target`, or all of it where that is None (sequences)."""

    target: str
    scheme: Scheme
    tokens: int | None
    temperature: float
    guidance: Guidance


def linear_counts(steps: int, total: int) -> list[int]:
    """Nearly equal shares of `total` tokens, larger ones first; fewer than `steps` where some would be 0."""
    ends = np.linspace(0, total, steps + 1).astype(np.int64)
    shares = sorted(np.diff(ends).tolist(), reverse=True)
    return [share for share in shares if share > 0]


def cosine_counts(steps: int, total: int) -> list[int]:
    """Few tokens in the first steps, most in the middle, few again: the differences of half a cosine, rounded.

    The last step takes the rest, which is negative if many shares were rounded up; `token_counts` corrects that.
    """
    curve = [(1 + math.cos(math.pi * i / steps)) / 2 for i in range(steps + 1)]
    shares = [round(total * (curve[i] - curve[i + 1])) for i in range(steps - 1)]
    return [*shares, total - sum(shares)]


def temperatures(schedule: str, start: float, counts: Sequence[int]) -> list[float]:
    """The temperature of each step that decodes `counts` tokens, by the name of a schedule.

    - `constant`: `start`.
    - `linear`: `start` times the share of tokens still to decode.
    - `onex:<min>:<power>`: from `start` towards `min` along 1/x^power. Its curve is read at the number of the step,
      not at that of the token; published settings were found with it like that.

    Raises `ScheduleInvalid` for any other.
    """
    name, *numbers = schedule.split(":")
    total = sum(counts)
    match name, len(numbers):
        case "constant", 0:
            return [start] * len(counts)
        case "linear", 0:
            remaining = [total - sum(counts[:step]) for step in range(len(counts))]
            return [max(start * tokens / total, _COLDEST) for tokens in remaining]
        case "onex", 2:
            try:
                least, power = map(float, numbers)
            except ValueError as error:
                raise ScheduleInvalid(
                    f"the temperature schedule {schedule!r} needs two numbers: onex:<min>:<power>"
                ) from error
            curve = 1 / np.linspace(1, 100, total) ** power
            curve = curve - curve.min()
            if curve.max() > 0:
                curve = curve / curve.max()
            left = 1 - np.cumsum(counts) / total
            return [max(float(least + (start - least) * curve[i] * left[i]), _COLDEST) for i in range(len(counts))]
    raise ScheduleInvalid(f"{schedule!r} is not a temperature schedule; use constant, linear or onex:<min>:<power>")


def steps_of(plan: TargetPlan, conditions: Sequence[str]) -> list[Step]:
    """The steps of one target; `conditions` are the inputs that guidance applies to. Raises `ScheduleInvalid`."""
    guidance = (
        Guidance.weighted(plan.guidance, conditions)
        if isinstance(plan.guidance, tuple)
        else Guidance.together(plan.guidance, conditions)
    )
    if plan.scheme is Scheme.AUTOREGRESSIVE:
        return [Step(plan.target, plan.scheme, None, plan.temperature, guidance)]
    counts = token_counts(plan)
    warmth = temperatures(plan.temperature_schedule, plan.temperature, counts)
    return [
        Step(plan.target, plan.scheme, count, temperature, guidance)
        for count, temperature in zip(counts, warmth, strict=True)
    ]


def token_counts(plan: TargetPlan) -> list[int]:
    """The number of image tokens that each step of a plan decodes, one or more; there may be fewer steps than planned.

    Raises `ScheduleInvalid`.
    """
    if plan.tokens < 1 or plan.steps < 1:
        raise ScheduleInvalid(f"{plan.target} needs 1 or more tokens and steps, not {plan.tokens} and {plan.steps}")
    if plan.scheme is Scheme.ROAR or plan.token_schedule == "linear":
        return linear_counts(plan.steps, plan.tokens)
    if plan.token_schedule == "cosine":
        ends = np.minimum(np.cumsum(cosine_counts(plan.steps, plan.tokens)), plan.tokens)
        return [share for share in np.diff(ends, prepend=0).tolist() if share > 0]
    raise ScheduleInvalid(f"{plan.token_schedule!r} is not a token schedule; use linear or cosine")
