"""The state of a batch during generation: which entries of each modality are inputs and which are still to decode.

B batch, n entries. Every mask is boolean and True means *not used*: an entry is an input where `input_mask` is False, a
target where `target_mask` is False, and unused where both are True. States are immutable.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from anyseek.model.modalities.formats.spans import SpecialIds
from anyseek.model.network.config import EmbeddingKind, ModalityConfig
from anyseek.model.network.tokens import ModalityInput


@dataclass(frozen=True)
class ModalityState:
    """One modality of a batch.

    `values` as in `ModalityInput`: pixels float (B, C, H, W), ids int64 (B, n) or vectors float (B, n, width).
    `input_mask` and `target_mask`: bool (B, n) over its tokens. The first target entry of a sequence is the sentinel
    from which it is decoded, the last one the token that ends it.
    """

    values: Tensor
    input_mask: Tensor
    target_mask: Tensor

    def with_tokens(self, positions: Tensor, tokens: Tensor) -> "ModalityState":
        """A copy with tokens int64 (B, m) at positions int64 (B, m), which become inputs."""
        return ModalityState(
            values=self.values.scatter(1, positions, tokens),
            input_mask=self.input_mask.scatter(1, positions, False),
            target_mask=self.target_mask.scatter(1, positions, True),
        )

    def prefix(self, count: int) -> "ModalityState":
        """The first `count` entries of a sequence."""
        return ModalityState(self.values[:, :count], self.input_mask[:, :count], self.target_mask[:, :count])

    def select(self, rows: slice) -> "ModalityState":
        """The rows of a slice."""
        return ModalityState(self.values[rows], self.input_mask[rows], self.target_mask[rows])

    def to(self, device: torch.device) -> "ModalityState":
        """The same state on a device."""
        return ModalityState(self.values.to(device), self.input_mask.to(device), self.target_mask.to(device))

    def target_rows(self) -> list[list[int]]:
        """The target entries of each row."""
        return [row[~unused].tolist() for row, unused in zip(self.values.cpu(), self.target_mask.cpu(), strict=True)]

    def input_rows(self) -> list[list[int]]:
        """The input entries of each row."""
        return [row[~unused].tolist() for row, unused in zip(self.values.cpu(), self.input_mask.cpu(), strict=True)]


State = Mapping[str, ModalityState]


def input_state(values: Tensor, mask: Tensor) -> ModalityState:
    """A modality with inputs where `mask` bool (B, n) is False, and no targets."""
    return ModalityState(values, mask, torch.ones_like(mask))


def sequence_input(rows: Sequence[Sequence[int]], ids: SpecialIds) -> ModalityState:
    """Complete sequences as inputs; shorter rows are padded on the right."""
    values, mask = _pad(rows, ids)
    return input_state(values, mask)


def image_target(batch: int, tokens: int) -> ModalityState:
    """An image of which all tokens are still to decode: ids 0, no inputs."""
    everything = torch.ones(batch, tokens, dtype=torch.bool)
    return ModalityState(torch.zeros(batch, tokens, dtype=torch.int64), everything, ~everything)


def sequence_target(batch: int, tokens: int, ids: SpecialIds) -> ModalityState:
    """A sequence that is still to decode, in `tokens` entries (2 or more): its input is `[S_1]`.

    Up to `tokens` - 1 new tokens will be decoded, fewer if `[S_2]` comes earlier.
    """
    return text_target([[ids.sentinel(1)]] * batch, tokens - 1, ids, end=ids.sentinel(2))


def empty_target(row: ModalityConfig, ids: SpecialIds, batch: int = 1) -> ModalityState:
    """A target with nothing decoded yet, with the most tokens that the network's `row` allows."""
    return image_target(batch, row.tokens) if row.is_image else sequence_target(batch, row.longest + 1, ids)


def text_target(rows: Sequence[Sequence[int]], tokens: int, ids: SpecialIds, end: int | None = None) -> ModalityState:
    """Partial sequences: `rows` are inputs, and the text at their `[S_1]` is decoded.

    Up to `tokens` (1 or more) new tokens are decoded, fewer if `end` (default `[EOS]`) comes earlier.
    The rows are used unchanged: to continue a text, end it with `[S_1]`.
    """
    end = ids.end_id if end is None else end
    target = [ids.sentinel(1), *[ids.pad_id] * (tokens - 2), end][:tokens]
    values, unused = _pad([[*row, *target] for row in rows], ids)
    positions = torch.arange(values.shape[1])
    after_input = positions >= torch.tensor([[len(row)] for row in rows])
    return ModalityState(values, after_input, ~after_input | unused)


def empty_input(state: ModalityState, kind: EmbeddingKind, ids: SpecialIds) -> ModalityInput:
    """What remains of an input hidden by guidance: nothing of an image, `[S_1]` of a sequence, and one zero vector of
    sequence embeddings.
    """
    mask = torch.ones_like(state.input_mask)
    values = state.values
    if kind is EmbeddingKind.SEQUENCE:
        mask[:, 0], values = False, torch.full_like(values, ids.sentinel(1))
    elif kind is EmbeddingKind.SEQUENCE_EMBEDDING:
        mask[:, 0], values = False, torch.zeros_like(values)
    return ModalityInput(values, mask)


def _pad(rows: Sequence[Sequence[int]], ids: SpecialIds) -> tuple[Tensor, Tensor]:
    """Rows as int64 (B, n), n at least 1, padded on the right, and the mask of the padding: bool (B, n)."""
    longest = max(1, *(len(row) for row in rows))
    values = torch.tensor([[*row, *[ids.pad_id] * (longest - len(row))] for row in rows])
    lengths = torch.tensor([[len(row)] for row in rows])
    return values, torch.arange(longest) >= lengths
