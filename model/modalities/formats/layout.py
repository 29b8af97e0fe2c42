"""Lay out one sequence for training: choose what to drop, fit it into the budgets, and place its ids.

A layout has 2 * (longest + 1) entries: input ids start at entry 0, target ids at entry `budgets.input`, and `[PAD]`
fills the rest. The masks are boolean and True means not used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from anyseek.model.modalities.formats.spans import FormatInvalid, MaskedSpans, SpecialIds, mask_spans

_KEEP_DECAY = 0.9  # by which the share of kept chunks shrinks while the input is too long


class Randomness(Protocol):
    """The draws of a layout; `numpy.random.Generator` has them."""

    def random(self, size: int, /) -> npt.NDArray[np.float64]:
        """Uniform numbers in [0, 1)."""
        ...

    def integers(self, high: int, /) -> Any:
        """A whole number from 0 to high - 1."""
        ...


class Keep(StrEnum):
    """How a modality chooses the probability of keeping a chunk."""

    RANDOM = "random"  # uniform in [0, 1)
    ALL = "all"  # 1
    BINARY = "binary"  # 0 or 1, as likely

    def draw(self, random: Randomness) -> float:
        """A probability of keeping a chunk."""
        match self:
            case Keep.RANDOM:
                return float(random.random(1)[0])
            case Keep.ALL:
                return 1.0
            case Keep.BINARY:
                return float(random.integers(2))


@dataclass(frozen=True)
class Budgets:
    """Most ids of a sequence before masking, of its input and of its target."""

    longest: int
    input: int
    target: int


@dataclass(frozen=True)
class SequenceLayout:
    """`ids` int64 (2 * (longest + 1),), `input_mask` and `target_mask` bool of the same length."""

    ids: npt.NDArray[np.int64]
    input_mask: npt.NDArray[np.bool_]
    target_mask: npt.NDArray[np.bool_]


def lay_out(
    chunks: Sequence[Sequence[int]], budgets: Budgets, keep: float, ids: SpecialIds, random: Randomness
) -> SequenceLayout:
    """Mask a sequence with keep probability `keep` and fit it into its budgets.

    `chunks` end with `[EOS]` as a chunk of its own; those beyond `budgets.longest` ids are left out first. While the
    input is too long the probability is lowered and everything drawn again. A target that is too long is cut.
    Raises `FormatInvalid` where the two budgets exceed the layout's length.
    """
    length = 2 * (budgets.longest + 1)
    if budgets.input + budgets.target > length:
        raise FormatInvalid(f"{budgets.input} input and {budgets.target} target ids do not fit into {length} entries")
    lengths = accumulate(map(len, chunks))
    shortened = [chunk for chunk, total in zip(chunks, lengths, strict=True) if total <= budgets.longest]
    spans = _mask_to_fit(shortened, budgets.input, keep, ids, random)
    target = _cut_target(spans.target, budgets.target, ids, random)
    values = np.full(length, ids.pad_id, np.int64)
    input_mask, target_mask = np.ones(length, np.bool_), np.ones(length, np.bool_)
    for start, part, mask in ((0, spans.input, input_mask), (budgets.input, target, target_mask)):
        values[start : start + len(part)] = part
        mask[start : start + len(part)] = False
    return SequenceLayout(values, input_mask, target_mask)


def _mask_to_fit(
    chunks: Sequence[Sequence[int]], budget: int, keep: float, ids: SpecialIds, random: Randomness
) -> MaskedSpans:
    if budget == 0:
        return MaskedSpans((), mask_spans(chunks, [True] * len(chunks), ids).target)
    while True:
        spans = mask_spans(chunks, (random.random(len(chunks)) >= keep).tolist(), ids)
        if len(spans.input) <= budget:
            return spans
        keep *= _KEEP_DECAY


def _cut_target(target: tuple[int, ...], budget: int, ids: SpecialIds, random: Randomness) -> tuple[int, ...]:
    """A part of the target that begins with a sentinel and has at most `budget` ids.

    It begins at a random sentinel if enough follows, else at the first one from which the rest fits.
    """
    if len(target) <= budget:
        return target
    sentinels = frozenset(ids.sentinel_ids)
    starts = [place for place, token in enumerate(target) if token in sentinels]
    candidates = starts[:-1] or starts  # the closing sentinel has nothing after it
    start = candidates[int(random.integers(len(candidates)))]
    if len(target) - start < budget:
        start = next((place for place in starts if len(target) - place <= budget), start)
    return target[start : start + budget]
