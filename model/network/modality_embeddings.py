"""Embeddings that turn each modality into tokens, and decoder tokens into logits.

Every embedding returns the *content* of each token and its *embedding* (position + modality) separately; they are added
after tokens have been selected. Parameter and buffer names match the published checkpoints. Masks are boolean and True
means not used. B batch, n tokens of the modality, D width, V vocabulary.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anyseek.model.network.config import SEQUENCE_POSITIONS, ConfigInvalid, EmbeddingKind, ModalityConfig

_TEMPERATURE = 10_000.0


def sincos_1d(length: int, dim: int) -> Tensor:
    """Sin-cos position table float32 (1, length, dim): all sines first, then all cosines."""
    if _on_meta_device():
        return torch.empty(1, length, dim)
    return _sincos(torch.arange(length), dim).unsqueeze(0)


def sincos_2d(rows: int, columns: int, dim: int) -> Tensor:
    """Sin-cos position table float32 (1, rows * columns, dim) of a grid in row-major order.

    The two halves of vector n encode n div rows and n mod rows. On a square grid these are the row and the column; the
    published tables are computed this way for any grid.
    """
    if _on_meta_device():
        return torch.empty(1, rows * columns, dim)
    n = torch.arange(rows * columns)
    halves = (_sincos(n // rows, dim // 2), _sincos(n % rows, dim // 2))
    return torch.cat(halves, dim=1).unsqueeze(0)


def _on_meta_device() -> bool:
    """Whether only shapes matter: the shape of a sine makes torch import its compiler, which takes two seconds."""
    return torch.get_default_device().type == "meta"


def _sincos(positions: Tensor, dim: int) -> Tensor:
    """Sines and cosines (n, dim) of integer positions (n,) at dim/2 frequencies from 1 down to 1/10000.

    In float32 throughout, like the published tables; the error is 3e-5 at position 511.
    """
    frequencies = dim // 2
    omega = 1 / _TEMPERATURE ** (torch.arange(frequencies, dtype=torch.float32) / frequencies)
    angles = positions.float()[:, None] * omega[None, :]
    return torch.cat((angles.sin(), angles.cos()), dim=1)


def _position_table(row: ModalityConfig, dim: int) -> Tensor:
    return sincos_2d(*row.grid, dim) if row.is_image and row.grid is not None else sincos_1d(SEQUENCE_POSITIONS, dim)


class _PositionedEmbedding(nn.Module):
    """Base of modality embeddings: a position table `pos_emb` (1, n, D) and a modality vector `mod_emb` (1, 1, D)."""

    pos_emb: Tensor

    def __init__(self, row: ModalityConfig, dim: int) -> None:
        super().__init__()
        self.row = row
        table = _position_table(row, dim)
        if row.learned_positions:
            self.register_parameter("pos_emb", nn.Parameter(torch.zeros(table.shape)))
        else:
            self.register_buffer("pos_emb", table)
        self.mod_emb = nn.Parameter(torch.zeros(1, 1, dim))

    def grid_embedding(self, batch: int) -> Tensor:
        """Position + modality embedding of every token of an image modality: (B, n, D)."""
        return (self.pos_emb + self.mod_emb).expand(batch, -1, -1)

    def sequence_embedding(self, mask: Tensor, limit: int = SEQUENCE_POSITIONS) -> Tensor:
        """Position + modality embedding of the entries of a sequence: mask (B, n) -> (B, n, D).

        Used entries have positions from 0 on, in order; positions from `limit` on become 0; unused entries have a
        zero position vector.
        """
        position = (~mask).cumsum(dim=1) - 1
        position = position.masked_fill(mask | (position >= limit), 0)
        vectors = F.embedding(position, self.pos_emb[0])
        return vectors.masked_fill(mask[..., None], 0.0) + self.mod_emb


class PixelEmbedding(_PositionedEmbedding):
    """Linear embedding of image patches. Keys `proj.weight`, `pos_emb`, `mod_emb`."""

    def __init__(self, row: ModalityConfig, dim: int) -> None:
        super().__init__(row, dim)
        self.patch = row.patch or 1
        self.proj = nn.Linear(row.channels * self.patch**2, dim, bias=False)

    def forward(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """image float (B, C, H, W), mask (B, n) -> content and embedding, each (B, n, D)."""
        batch, channels, height, width = image.shape
        rows, columns, patch = height // self.patch, width // self.patch, self.patch
        # (B, C, H, W) -> (B, C, rows, P, columns, P)
        patches = image.reshape(batch, channels, rows, patch, columns, patch)
        # -> (B, rows, columns, P, P, C) -> (B, n, P*P*C): channels vary fastest inside a patch
        patches = patches.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)
        return self.proj(patches), self.grid_embedding(len(image))


class ImageTokenEncoderEmbedding(_PositionedEmbedding):
    """Encoder embedding of image tokenizer codes. Keys `token_emb.weight`, `pos_emb`, `mod_emb`."""

    def __init__(self, row: ModalityConfig, dim: int) -> None:
        super().__init__(row, dim)
        self.token_emb = nn.Embedding(row.vocabulary, dim)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """ids int (B, n) or (B, rows, columns), mask (B, n) -> content and embedding, each (B, n, D)."""
        return self.token_emb(ids.flatten(1)), self.grid_embedding(len(ids))


class ImageTokenDecoderEmbedding(_PositionedEmbedding):
    """Image tokenizer codes as targets: their input is the mask token, so `token_emb` is stored but not read."""

    def __init__(self, row: ModalityConfig, dim: int) -> None:
        super().__init__(row, dim)
        self.token_emb = nn.Embedding(row.vocabulary, dim)
        self.to_logits = nn.Linear(dim, row.vocabulary, bias=False)


class SequenceEncoderEmbedding(_PositionedEmbedding):
    """Encoder embedding of text tokenizer ids. Keys `token_emb.weight`, `pos_emb` (512 long), `mod_emb`."""

    def __init__(self, row: ModalityConfig, dim: int) -> None:
        super().__init__(row, dim)
        self.token_emb = nn.Embedding(row.vocabulary, dim)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """ids int (B, n), mask (B, n) -> content and embedding, each (B, n, D)."""
        return self.token_emb(ids), self.sequence_embedding(mask)


class SequenceDecoderEmbedding(_PositionedEmbedding):
    """Text tokenizer ids as targets. Positions count from 0 at the first target; from `max_length` on they are 0."""

    def __init__(self, row: ModalityConfig, dim: int) -> None:
        super().__init__(row, dim)
        self.token_emb = nn.Embedding(row.vocabulary, dim)
        self.to_logits = nn.Linear(dim, row.vocabulary, bias=False)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """ids int (B, n), target mask (B, n) -> content and embedding, each (B, n, D)."""
        return self.token_emb(ids), self.sequence_embedding(mask, self.row.max_length)


class SequenceEmbeddingEncoder(_PositionedEmbedding):
    """Projected vectors of another network, e.g. T5 states. Keys `emb_proj.{weight,bias}`, `pos_emb`, `mod_emb`."""

    def __init__(self, row: ModalityConfig, dim: int) -> None:
        super().__init__(row, dim)
        self.emb_proj = nn.Linear(row.width, dim)

    def forward(self, vectors: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """vectors float (B, n, width), mask (B, n) -> content and embedding, each (B, n, D)."""
        return self.emb_proj(vectors), self.sequence_embedding(mask)


EncoderEmbedding = PixelEmbedding | ImageTokenEncoderEmbedding | SequenceEncoderEmbedding | SequenceEmbeddingEncoder
DecoderEmbedding = ImageTokenDecoderEmbedding | SequenceDecoderEmbedding


def encoder_embedding(row: ModalityConfig, dim: int) -> EncoderEmbedding:
    """Build the encoder embedding of a modality."""
    match row.kind:
        case EmbeddingKind.PIXELS:
            return PixelEmbedding(row, dim)
        case EmbeddingKind.IMAGE_TOKENS:
            return ImageTokenEncoderEmbedding(row, dim)
        case EmbeddingKind.SEQUENCE:
            return SequenceEncoderEmbedding(row, dim)
        case EmbeddingKind.SEQUENCE_EMBEDDING:
            return SequenceEmbeddingEncoder(row, dim)


def decoder_embedding(row: ModalityConfig, dim: int) -> DecoderEmbedding:
    """Build the decoder embedding of a modality. Raises `ConfigInvalid` for input-only kinds."""
    if row.kind is EmbeddingKind.IMAGE_TOKENS:
        return ImageTokenDecoderEmbedding(row, dim)
    if row.kind is EmbeddingKind.SEQUENCE:
        return SequenceDecoderEmbedding(row, dim)
    raise ConfigInvalid(f"{row.key!r} ({row.kind}) can only be an input; remove it from domains_out")


def fixed_position_tables(network: nn.Module) -> dict[str, Callable[[], Tensor]]:
    """Buffer names of a network's fixed position tables, each with a function that computes it: float32 (1, n, D)."""
    embeddings = {name: module for name, module in network.named_modules() if isinstance(module, _PositionedEmbedding)}
    return {
        f"{name}.pos_emb": partial(_position_table, module.row, module.mod_emb.shape[-1])
        for name, module in embeddings.items()
        if not module.row.learned_positions
    }
