"""Batches of modalities, and their packing into one token sequence for the encoder or the decoder.

B batch, n entries of a modality, N encoder tokens, M decoder tokens, D width. Every mask is boolean and True means
*not used*. The sequence has only the used entries of all modalities, in order, padded on the right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from anyseek.model.network.config import FourMConfig


@dataclass(frozen=True)
class ModalityInput:
    """One modality of an encoder input batch.

    `values`: pixels float (B, C, H, W), image tokens int (B, n), a sequence int (B, n) or sequence embeddings float
    (B, n, width). `mask`: bool (B, n) over its tokens.
    """

    values: Tensor
    mask: Tensor


@dataclass(frozen=True)
class ModalityTarget:
    """One modality of a decoder target batch: `ids` int (B, n), `mask` bool (B, n).

    The first entry of a sequence target (a sentinel) is only an input, the last entry only a target.
    """

    ids: Tensor
    mask: Tensor


@dataclass(frozen=True)
class EncoderTokens:
    """Encoder input: `content` and `embedding` float (B, N, D), `mask` bool and `modality` int (B, N).

    `modality` is the modality identifier of each token, -1 for registers and unused tokens.
    """

    content: Tensor
    embedding: Tensor
    mask: Tensor
    modality: Tensor

    @property
    def attention_mask(self) -> Tensor | None:
        """The mask, or None if every token is used."""
        return self.mask if self.mask.any() else None


@dataclass(frozen=True)
class DecoderTokens:
    """Decoder input for training: `content` and `embedding` float (B, M, D), the other fields (B, M) or (B, M, M).

    `modality` is the modality identifier of each token, -1 for unused tokens, whose `target_ids` are 0.
    `self_blocked` is the self-attention mask.
    """

    content: Tensor
    embedding: Tensor
    mask: Tensor
    modality: Tensor
    target_ids: Tensor
    self_blocked: Tensor


@dataclass(frozen=True)
class TargetPart:
    """One target modality before it is packed into `DecoderTokens`: content, embedding (B, n, D), other fields (B, n).

    `reach` is the number of keys by which each token extends the visible prefix of itself and all later tokens.
    """

    identifier: int
    content: Tensor
    embedding: Tensor
    mask: Tensor
    target_ids: Tensor
    reach: Tensor


def image_reach(mask: Tensor) -> Tensor:
    """`TargetPart.reach` of an image: its used tokens at the first one, 0 elsewhere: bool (B, n) -> int (B, n)."""
    used = ~mask
    first = used & (used.cumsum(dim=1) == 1)
    return first * used.sum(dim=1, keepdim=True)


def select_inputs(parts: Sequence[tuple[int, Tensor, Tensor, Tensor]], limit: int | None) -> EncoderTokens:
    """Pack modalities into `limit` tokens per row, or as many as the fullest row uses.

    Each part is a modality's identifier, content (B, n, D), embedding (B, n, D) and mask (B, n).
    """
    mask = torch.cat([mask for _, _, _, mask in parts], dim=1)
    content = torch.cat([content for _, content, _, _ in parts], dim=1)
    embedding = torch.cat([embedding for _, _, embedding, _ in parts], dim=1)
    modality = torch.cat([torch.full_like(mask, i, dtype=torch.long) for i, _, _, mask in parts], dim=1)
    if limit in (None, mask.shape[1]) and not mask.any():
        return EncoderTokens(content, embedding, mask, modality)  # nothing to select: avoid the copies
    order = _order_used_first(mask, limit)
    mask = mask.gather(1, order)
    content, embedding = _gather_rows(content, order), _gather_rows(embedding, order)
    return EncoderTokens(
        content=content.masked_fill(mask[..., None], 0.0),
        embedding=embedding.masked_fill(mask[..., None], 0.0),
        mask=mask,
        modality=modality.gather(1, order).masked_fill(mask, -1),
    )


def select_targets(parts: Sequence[TargetPart], limit: int | None, *, causal: bool, separate: bool) -> DecoderTokens:
    """Pack modalities into `limit` tokens per row (or as many as the fullest row uses) and build the self mask."""
    mask = torch.cat([part.mask for part in parts], dim=1)
    order = _order_used_first(mask, limit)
    mask = mask.gather(1, order)
    modality = torch.cat(
        [torch.full_like(part.mask, part.identifier, dtype=torch.long) for part in parts], dim=1
    ).gather(1, order)
    reach = torch.cat([part.reach for part in parts], dim=1).gather(1, order)
    content = _gather_rows(torch.cat([part.content for part in parts], dim=1), order)
    embedding = _gather_rows(torch.cat([part.embedding for part in parts], dim=1), order)
    target_ids = torch.cat([part.target_ids for part in parts], dim=1).gather(1, order)
    return DecoderTokens(
        content=content.masked_fill(mask[..., None], 0.0),
        embedding=embedding.masked_fill(mask[..., None], 0.0),
        mask=mask,
        modality=modality.masked_fill(mask, -1),
        target_ids=target_ids.masked_fill(mask, 0),
        self_blocked=_self_attention_mask(reach, modality, causal=causal, separate=separate),
    )


def _self_attention_mask(reach: Tensor, modality: Tensor, *, causal: bool, separate: bool) -> Tensor:
    """Mask of the keys blocked for each decoder token: reach and modality int (B, M) -> bool (B, M, M).

    Token i sees as many keys as `reach` sums to up to i: all of its image, or the past of its sequence. With `causal`
    it sees keys up to itself instead; with `separate` it never sees keys of another modality.
    """
    keys = torch.arange(reach.shape[1], device=reach.device)
    if causal:
        blocked = (keys[None, :] > keys[:, None]).expand(len(reach), -1, -1)
    else:
        blocked = keys[None, None, :] >= reach.cumsum(dim=1)[:, :, None]
    if separate:
        blocked = blocked | (modality[:, :, None] != modality[:, None, :])
    return blocked


def _order_used_first(mask: Tensor, limit: int | None) -> Tensor:
    """Indices (B, count) of the first entries per row: used ones in order, then unused ones."""
    count = int((~mask).sum(dim=1).max()) if limit is None else limit
    return mask.int().argsort(dim=1, stable=True)[:, :count]


def _gather_rows(x: Tensor, order: Tensor) -> Tensor:
    """Rows of x (B, n, D) at the indices order (B, count) -> (B, count, D)."""
    return x.gather(1, order[..., None].expand(-1, -1, x.shape[-1]))


def limit_grid_tokens(
    inputs: Mapping[str, ModalityInput], config: FourMConfig, budget: int
) -> dict[str, ModalityInput]:
    """Mask all but `budget` tokens of each image modality, at the same positions in every row.

    Sequences are not shortened.
    """
    limited = dict(inputs)
    for key, item in inputs.items():
        row = config.row(key)
        if row.is_image and row.grid is not None and budget < row.tokens:
            dropped = ~dither_mask(row.grid, budget)
            limited[key] = ModalityInput(item.values, item.mask | dropped.to(item.mask.device))
    return limited


def dither_mask(grid: tuple[int, int], count: int) -> Tensor:
    """Mask of `count` evenly spread positions of a grid (rows, columns): bool (rows * columns,), True to keep.

    Deterministic, in the order of Bayer's dither matrix: first every other position of every other row, then their
    diagonal neighbours (a chessboard, half of the grid). A larger count keeps all positions of a smaller one.
    """
    row, column = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    rank = torch.zeros_like(row)
    for bit in range(max(grid).bit_length()):
        # the lowest bits of the coordinates, in which neighbours differ, have the highest weight
        rank = 4 * rank + 2 * ((row ^ column) >> bit & 1) + (row >> bit & 1)
    mask = torch.zeros(rank.numel(), dtype=torch.bool)
    mask[rank.flatten().argsort()[:count]] = True
    return mask
