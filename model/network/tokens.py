"""Batches of modalities, and the single list of tokens that the encoder or the decoder sees.

B batch, n entries of a modality, N encoder tokens, M decoder tokens, D width. Every mask is boolean and True means
*not used*. The list keeps only the used entries of all modalities, in order, padded on the right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from anyseek.model.network.config import FourMConfig


@dataclass(frozen=True)
class ModalityInput:
    """One modality of a batch as the encoder sees it.

    `values`: pixels float (B, C, H, W), image tokens int (B, n), a sequence int (B, n) or sequence embeddings float
    (B, n, width). `mask`: bool (B, n) over its tokens.
    """

    values: Tensor
    mask: Tensor


@dataclass(frozen=True)
class ModalityTarget:
    """One modality of a batch as the decoder sees it: `ids` int (B, n), `mask` bool (B, n).

    The first target entry of a sequence (a sentinel) is only ever an input, its last only ever a target.
    """

    ids: Tensor
    mask: Tensor


@dataclass(frozen=True)
class EncoderTokens:
    """Encoder input: `content` and `embedding` float (B, N, D), `mask` bool and `modality` int (B, N).

    `modality` holds identifiers of modalities, -1 for registers and unused tokens.
    """

    content: Tensor
    embedding: Tensor
    mask: Tensor
    modality: Tensor

    @property
    def attention_mask(self) -> Tensor | None:
        """The mask, None where all tokens are used."""
        return self.mask if self.mask.any() else None


@dataclass(frozen=True)
class DecoderTokens:
    """Decoder input of training: `content` and `embedding` float (B, M, D), the rest (B, M) or (B, M, M).

    `modality` holds identifiers of modalities, -1 for unused tokens; `target_ids` is 0 there. `self_blocked` is
    the mask of self-attention.
    """

    content: Tensor
    embedding: Tensor
    mask: Tensor
    modality: Tensor
    target_ids: Tensor
    self_blocked: Tensor


@dataclass(frozen=True)
class TargetPart:
    """One modality on its way into `DecoderTokens`: content and embedding (B, n, D), the rest (B, n).

    `reach` is by how many keys each token extends what it and all later tokens may see.
    """

    identifier: int
    content: Tensor
    embedding: Tensor
    mask: Tensor
    target_ids: Tensor
    reach: Tensor


def image_reach(mask: Tensor) -> Tensor:
    """The number of target tokens at the first of them, 0 elsewhere: bool (B, n) -> int (B, n)."""
    used = ~mask
    first = used & (used.cumsum(dim=1) == 1)
    return first * used.sum(dim=1, keepdim=True)


def select_inputs(parts: Sequence[tuple[int, Tensor, Tensor, Tensor]], limit: int | None) -> EncoderTokens:
    """Join modalities and keep `limit` tokens a row, or as many as the fullest row uses.

    Each part is a modality's identifier, content (B, n, D), embedding (B, n, D) and mask (B, n).
    """
    mask = torch.cat([mask for _, _, _, mask in parts], dim=1)
    content = torch.cat([content for _, content, _, _ in parts], dim=1)
    embedding = torch.cat([embedding for _, _, embedding, _ in parts], dim=1)
    modality = torch.cat([torch.full_like(mask, i, dtype=torch.long) for i, _, _, mask in parts], dim=1)
    if limit in (None, mask.shape[1]) and not mask.any():
        return EncoderTokens(content, embedding, mask, modality)  # nothing to choose: spare the copies
    order = _used_first(mask, limit)
    mask = mask.gather(1, order)
    content, embedding = _gather(content, order), _gather(embedding, order)
    return EncoderTokens(
        content=content.masked_fill(mask[..., None], 0.0),
        embedding=embedding.masked_fill(mask[..., None], 0.0),
        mask=mask,
        modality=modality.gather(1, order).masked_fill(mask, -1),
    )


def select_targets(parts: Sequence[TargetPart], limit: int | None, *, causal: bool, separate: bool) -> DecoderTokens:
    """Join modalities, keep `limit` tokens a row (or as many as the fullest row uses) and make the self mask."""
    mask = torch.cat([part.mask for part in parts], dim=1)
    order = _used_first(mask, limit)
    mask = mask.gather(1, order)
    modality = torch.cat(
        [torch.full_like(part.mask, part.identifier, dtype=torch.long) for part in parts], dim=1
    ).gather(1, order)
    reach = torch.cat([part.reach for part in parts], dim=1).gather(1, order)
    content = _gather(torch.cat([part.content for part in parts], dim=1), order)
    embedding = _gather(torch.cat([part.embedding for part in parts], dim=1), order)
    target_ids = torch.cat([part.target_ids for part in parts], dim=1).gather(1, order)
    return DecoderTokens(
        content=content.masked_fill(mask[..., None], 0.0),
        embedding=embedding.masked_fill(mask[..., None], 0.0),
        mask=mask,
        modality=modality.masked_fill(mask, -1),
        target_ids=target_ids.masked_fill(mask, 0),
        self_blocked=_self_mask(reach, modality, causal=causal, separate=separate),
    )


def _self_mask(reach: Tensor, modality: Tensor, *, causal: bool, separate: bool) -> Tensor:
    """The mask of keys that each decoder token may not see: reach and modality int (B, M) -> bool (B, M, M).

    Token i sees the keys before the sum of `reach` up to i: all of an image modality, the past of a sequence. With
    `causal` it sees keys up to itself instead; with `separate` never those of another modality.
    """
    keys = torch.arange(reach.shape[1], device=reach.device)
    if causal:
        blocked = (keys[None, :] > keys[:, None]).expand(len(reach), -1, -1)
    else:
        blocked = keys[None, None, :] >= reach.cumsum(dim=1)[:, :, None]
    if separate:
        blocked = blocked | (modality[:, :, None] != modality[:, None, :])
    return blocked


def _used_first(mask: Tensor, limit: int | None) -> Tensor:
    """Indices (B, kept) of each row's used entries in order, then of unused ones."""
    kept = int((~mask).sum(dim=1).max()) if limit is None else limit
    return mask.int().argsort(dim=1, stable=True)[:, :kept]


def _gather(x: Tensor, order: Tensor) -> Tensor:
    """Rows of x (B, n, D) at order (B, kept) -> (B, kept, D)."""
    return x.gather(1, order[..., None].expand(-1, -1, x.shape[-1]))


def within_budget(inputs: Mapping[str, ModalityInput], config: FourMConfig, budget: int) -> dict[str, ModalityInput]:
    """Keep at most `budget` tokens of each modality on a grid, at the same places in every row.

    Sequences stay whole.
    """
    thinned = dict(inputs)
    for key, whole in inputs.items():
        row = config.row(key)
        if row.is_image and row.grid is not None and budget < row.tokens:
            left_out = ~spread(row.grid, budget)
            thinned[key] = ModalityInput(whole.values, whole.mask | left_out.to(whole.mask.device))
    return thinned


def spread(grid: tuple[int, int], count: int) -> Tensor:
    """Mask of the `count` places of a grid (rows, columns) to keep: bool (rows * columns,), row by row.

    Always the same, and evenly spread, in the order of Bayer's dither matrix: first every other place of every other
    row, then those diagonally between them (half of the grid, as on a chessboard). More places keep all of fewer.
    """
    row, column = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    rank = torch.zeros_like(row)
    for bit in range(max(grid).bit_length()):
        # the lowest bits of the coordinates, where neighbours differ, decide first
        rank = 4 * rank + 2 * ((row ^ column) >> bit & 1) + (row >> bit & 1)
    kept = torch.zeros(rank.numel(), dtype=torch.bool)
    kept[rank.flatten().argsort()[:count]] = True
    return kept
