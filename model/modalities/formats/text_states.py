"""Text states (`t5_caption`): the last hidden states of a text encoder, as vectors rather than ids. Input only.

Published models take T5-XXL states: at most 77 vectors of 4096 numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anyseek.model.modalities.formats.spans import FormatInvalid, SpecialIds, mask_spans

LONGEST = 77


@dataclass(frozen=True)
class TextStates:
    """`vectors` float32 (n, width) of a text, n at most 77, none of padding."""

    vectors: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.vectors) > LONGEST:
            raise FormatInvalid(f"text states are at most {LONGEST} vectors, not of shape {self.vectors.shape}")


def mask_states(states: TextStates, dropped: Sequence[bool]) -> TextStates:
    """Apply span masking to the states: one zero vector replaces every dropped run."""
    count = len(states.vectors)
    rows = SpecialIds(pad_id=count, end_id=count, sentinel_ids=tuple(range(count, 2 * count + 2)))
    kept = mask_spans([(row,) for row in range(count)], dropped, rows).input
    with_zero = np.concatenate([states.vectors, np.zeros_like(states.vectors, shape=(1, states.vectors.shape[1]))])
    return TextStates(with_zero[[min(row, count) for row in kept]])
