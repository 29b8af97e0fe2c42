"""Span masking: drop runs of a sequence from the input, and make the target that restores them. Does not import torch.

A sequence is a list of *chunks*: ids that are kept or dropped together (a single id, or a whole pair of metadata). In
the input, a sentinel replaces every run of dropped chunks: `[S_1]`, `[S_2]`, … (never `[S_0]`). The target lists each
run's sentinel followed by its ids, and ends with the next sentinel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from anyseek.model.errors import RequestInvalid
from anyseek.model.tokenizers.text import TextTokenizer


class FormatInvalid(RequestInvalid):
    """A value has no string or no ids in its format, or does not fit into a sequence."""

    code = "format-invalid"


@dataclass(frozen=True)
class SpecialIds:
    """The ids that have a meaning of their own in every sequence: `[PAD]`, `[EOS]` and `[S_0]`, `[S_1]`, …"""

    pad_id: int
    end_id: int
    sentinel_ids: tuple[int, ...]

    @classmethod
    def of(cls, tokenizer: TextTokenizer) -> Self:
        """Those of a vocabulary."""
        return cls(tokenizer.pad_id, tokenizer.end_id, tokenizer.sentinel_ids)

    def sentinel(self, number: int) -> int:
        """The id of `[S_number]`. Raises `FormatInvalid` where the vocabulary has too few."""
        if number >= len(self.sentinel_ids):
            raise FormatInvalid(f"the sequence needs sentinel [S_{number}]; the vocabulary ends before it")
        return self.sentinel_ids[number]


# The special ids of the published vocabulary.
PUBLISHED_IDS = SpecialIds(pad_id=0, end_id=3, sentinel_ids=tuple(range(4, 204)))


@dataclass(frozen=True)
class MaskedSpans:
    """Ids of the input, with sentinels for what is missing, and of the target that fills them in."""

    input: tuple[int, ...]
    target: tuple[int, ...]


def mask_spans(chunks: Sequence[Sequence[int]], dropped: Sequence[bool], ids: SpecialIds) -> MaskedSpans:
    """Split a sequence into input and target; `dropped` has one entry per chunk.

    With nothing dropped the target is `[S_1]` alone. Raises `FormatInvalid` for more runs than there are sentinels.
    """
    inputs: list[int] = []
    targets: list[int] = []
    runs, in_run = 0, False
    for chunk, drop in zip(chunks, dropped, strict=True):
        if drop and not in_run:
            runs += 1
            inputs.append(ids.sentinel(runs))
            targets.append(ids.sentinel(runs))
        (targets if drop else inputs).extend(chunk)
        in_run = bool(drop)
    targets.append(ids.sentinel(runs + 1))
    return MaskedSpans(tuple(inputs), tuple(targets))


def merge_spans(inputs: Sequence[int], predicted: Sequence[int], ids: SpecialIds) -> list[int]:
    """The inverse of `mask_spans`: each sentinel of the input gives way to what follows it in the prediction.

    A sentinel that the prediction lacks vanishes; of one that it repeats the first occurrence counts. What precedes
    the prediction's first sentinel is ignored.
    """
    sentinels = frozenset(ids.sentinel_ids)
    spans: dict[int, list[int]] = {}
    current: list[int] = []
    for token in predicted:
        if token in sentinels:
            current = []
            spans.setdefault(token, current)
        else:
            current.append(token)
    merged: list[int] = []
    for token in inputs:
        merged.extend(spans.get(token, []) if token in sentinels else [token])
    return merged


MAX_LENGTH = 77


@dataclass(frozen=True)
class TextStates:
    """`vectors` float32 (n, width) of a text, n at most 77, none of padding."""

    vectors: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.vectors) > MAX_LENGTH:
            raise FormatInvalid(f"text states are at most {MAX_LENGTH} vectors, not of shape {self.vectors.shape}")


def mask_states(states: TextStates, dropped: Sequence[bool]) -> TextStates:
    """Apply span masking to the states: one zero vector replaces every dropped run."""
    count = len(states.vectors)
    rows = SpecialIds(pad_id=count, end_id=count, sentinel_ids=tuple(range(count, 2 * count + 2)))
    kept = mask_spans([(row,) for row in range(count)], dropped, rows).input
    with_zero = np.concatenate([states.vectors, np.zeros_like(states.vectors, shape=(1, states.vectors.shape[1]))])
    return TextStates(with_zero[[min(row, count) for row in kept]])
