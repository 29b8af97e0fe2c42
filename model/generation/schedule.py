"""The generation schedule: number of tokens, temperature and guidance of each step.

`steps_of(TargetPlan(...), conditions)` turns the plan of a target into the steps that
`anyseek.model.generation.generate` runs. Targets are decoded one after the other; a finished target becomes an input of
the next.

Classifier-free guidance combines the logits of several passes, each seeing different conditions. The last pass is
unconditional; with u its logits and c_i the logits of term i,

    logits = u + sum_i w_i (c_i - u)

A negative weight steers away from its condition. Every pass sees the tokens of the target that are already decoded.
With one scale for all conditions, the unconditional pass sees them emptied: of a sequence `[S_1]` remains, as in
training. With a weight for each condition, a pass omits hidden conditions entirely.
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
    """Weighted terms over `conditions`, the inputs hidden from the unconditional pass.

    Without terms that is the only pass; without conditions as well, generation is unguided. `separate`: each condition
    has its own weight.
    """

    conditions: frozenset[str] = frozenset()
    terms: tuple[Term, ...] = ()
    separate: bool = False

    @classmethod
    def from_scale(cls, scale: float, conditions: Sequence[str]) -> Self:
        """One scale for all conditions together; scale 1 or no conditions means no guidance."""
        if scale == 1 or not conditions:
            return cls()
        return cls(frozenset(conditions), (Term(scale, frozenset(conditions)),))

    @classmethod
    def from_weights(cls, weights: Sequence[float], conditions: Sequence[str]) -> Self:
        """One weight for each condition; no pass sees the conditions beyond the weights."""
        terms = tuple(Term(weight, frozenset({key})) for weight, key in zip(weights, conditions, strict=False))
        return cls(frozenset(conditions), terms, separate=True)

    @property
    def passes(self) -> int:
        """The number of passes of a step: one for each term, then the unconditional one."""
        return len(self.terms) + 1

    def hidden_conditions(self, pass_index: int) -> frozenset[str]:
        """The conditions hidden from pass number `pass_index`."""
        return self.conditions - self.terms[pass_index].conditions if pass_index < len(self.terms) else self.conditions


def combine(logits: Sequence[Tensor], guidance: Guidance) -> Tensor:
    """Guided logits from those of all passes, in the order of the terms and the unconditional last; same shapes."""
    *conditional, unconditional = (pass_logits.float() for pass_logits in logits)
    combined = unconditional
    for term, term_logits in zip(guidance.terms, conditional, strict=True):
        combined = combined + term.weight * (term_logits - unconditional)
    return combined


_MIN_TEMPERATURE = 1e-9  # schedules that fall to 0 stop here, so that tokens are still sampled


class ScheduleInvalid(RequestInvalid):
    """A decoding plan that cannot be carried out."""

    code = "schedule-invalid"


class Scheme(StrEnum):
    """The order in which the tokens of a target are decoded."""

    ROAR = "roar"  # image tokens at random positions, a few each step
    MASKGIT = "maskgit"  # image tokens, all predicted in each step and the most probable kept
    AUTOREGRESSIVE = "autoregressive"  # a sequence, token by token


@dataclass(frozen=True)
class TargetPlan:
    """The decoding plan of one target.

    `tokens` is its number of image tokens and `steps` the number of decoding steps. `token_schedule` sets each step's
    share: `linear` or `cosine` (MaskGIT only: ROAR always takes equal shares). Sequences need none of these three.
    `temperature` 0 selects the most probable token; `temperature_schedule` is `constant`, `linear` or
    `onex:<min>:<power>`. `guidance` is a scale for all conditions together (1 is none), or one weight, possibly
    negative, for each condition in order; see `anyseek.model.generation.schedule`.
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
    """One step: decode `tokens` tokens of `target`, or all of it if None (sequences)."""

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
    """Rounded differences of half a cosine: few tokens in the first and last steps, most in the middle.

    The last step takes the remainder, which is negative if many shares were rounded up; `token_counts` corrects that.
    """
    curve = [(1 + math.cos(math.pi * i / steps)) / 2 for i in range(steps + 1)]
    shares = [round(total * (curve[i] - curve[i + 1])) for i in range(steps - 1)]
    return [*shares, total - sum(shares)]


def temperatures(schedule: str, start: float, counts: Sequence[int]) -> list[float]:
    """The temperature of each step under a named schedule; step i decodes `counts[i]` tokens.

    - `constant`: `start`.
    - `linear`: `start` times the share of tokens still to decode.
    - `onex:<min>:<power>`: from `start` towards `min` along 1/x^power. The curve is indexed by step, not by token, as
      it was when the published settings were chosen.

    Raises `ScheduleInvalid` for any other name.
    """
    name, *numbers = schedule.split(":")
    total = sum(counts)
    match name, len(numbers):
        case "constant", 0:
            return [start] * len(counts)
        case "linear", 0:
            open_tokens = [total - sum(counts[:step]) for step in range(len(counts))]
            return [max(start * tokens / total, _MIN_TEMPERATURE) for tokens in open_tokens]
        case "onex", 2:
            try:
                lowest, power = map(float, numbers)
            except ValueError as error:
                raise ScheduleInvalid(
                    f"the temperature schedule {schedule!r} needs two numbers: onex:<min>:<power>"
                ) from error
            curve = 1 / np.linspace(1, 100, total) ** power
            curve = curve - curve.min()
            if curve.max() > 0:
                curve = curve / curve.max()
            remaining = 1 - np.cumsum(counts) / total
            curve = lowest + (start - lowest) * curve[: len(counts)] * remaining
            return [max(float(temperature), _MIN_TEMPERATURE) for temperature in curve]
    raise ScheduleInvalid(f"{schedule!r} is not a temperature schedule; use constant, linear or onex:<min>:<power>")


def steps_of(plan: TargetPlan, conditions: Sequence[str]) -> list[Step]:
    """The steps of one target; guidance applies to the inputs `conditions`. Raises `ScheduleInvalid`."""
    guidance = (
        Guidance.from_weights(plan.guidance, conditions)
        if isinstance(plan.guidance, tuple)
        else Guidance.from_scale(plan.guidance, conditions)
    )
    if plan.scheme is Scheme.AUTOREGRESSIVE:
        return [Step(plan.target, plan.scheme, None, plan.temperature, guidance)]
    counts = token_counts(plan)
    step_temperatures = temperatures(plan.temperature_schedule, plan.temperature, counts)
    return [
        Step(plan.target, plan.scheme, count, temperature, guidance)
        for count, temperature in zip(counts, step_temperatures, strict=True)
    ]


def token_counts(plan: TargetPlan) -> list[int]:
    """The number of image tokens, 1 or more, of each step of a plan; there may be fewer steps than planned.

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
