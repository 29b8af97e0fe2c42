"""Embeddings that turn each modality into tokens, and decoder tokens into logits.

Every embedding returns two parts: the *content* of a token and its *embedding* (position + modality). They are added
only after tokens have been selected. Parameter and buffer names are those of the published checkpoints. Masks are
boolean and True means not used. B batch, n tokens of the modality, D width, V vocabulary.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anyseek.model.network.config import SEQUENCE_POSITIONS, ConfigInvalid, EmbeddingKind, ModalityConfig

_TEMPERATURE = 10_000.0


def sincos_1d(length: int, dim: int) -> Tensor:
    """Position table float32 (1, length, dim): all sines first, then all cosines."""
    if _on_meta_device():
        return torch.empty(1, length, dim)
    return _sincos(torch.arange(length), dim).unsqueeze(0)


def sincos_2d(rows: int, columns: int, dim: int) -> Tensor:
    """Position table float32 (1, rows * columns, dim) of a grid numbered row by row.

    Token n has the coordinates (n div rows, n mod rows), first half and second half of the vector. On a square grid
    these are its row and its column; the published tables are made this way for any grid.
    """
    if _on_meta_device():
        return torch.empty(1, rows * columns, dim)
    n = torch.arange(rows * columns)
    halves = (_sincos(n // rows, dim // 2), _sincos(n % rows, dim // 2))
    return torch.cat(halves, dim=1).unsqueeze(0)


def _on_meta_device() -> bool:
    """Whether only shapes are wanted; torch would import two seconds' worth of compiler to find that of a sine."""
    return torch.get_default_device().type == "meta"


def _sincos(positions: Tensor, dim: int) -> Tensor:
    """Sines and cosines (n, dim) of integer positions (n,) at dim/2 frequencies from 1 down to 1/10000.

    In float32 throughout, as the published tables were made: at position 511 that is 3e-5 off the exact value.
    """
    frequencies = dim // 2
    omega = 1 / _TEMPERATURE ** (torch.arange(frequencies, dtype=torch.float32) / frequencies)
    angles = positions.float()[:, None] * omega[None, :]
    return torch.cat((angles.sin(), angles.cos()), dim=1)


def _position_table(row: ModalityConfig, dim: int) -> Tensor:
    return sincos_2d(*row.grid, dim) if row.is_image and row.grid is not None else sincos_1d(SEQUENCE_POSITIONS, dim)


class _Positioned(nn.Module):
    """The base of all embeddings: a position table `pos_emb` (1, n, D) and a modality vector `mod_emb` (1, 1, D)."""

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
        """Position + modality of every token of an image modality: (B, n, D)."""
        return (self.pos_emb + self.mod_emb).expand(batch, -1, -1)

    def sequence_embedding(self, mask: Tensor, limit: int = SEQUENCE_POSITIONS) -> Tensor:
        """Position + modality of a sequence's entries: mask (B, n) -> (B, n, D).

        Used entries are numbered from 0 in order; a number of `limit` or more becomes 0; unused entries have
        the zero position.
        """
        number = (~mask).cumsum(dim=1) - 1
        number = number.masked_fill(mask | (number >= limit), 0)
        positions = F.embedding(number, self.pos_emb[0])
        return positions.masked_fill(mask[..., None], 0.0) + self.mod_emb


class PixelEmbedding(_Positioned):
    """Patches of an image through one linear layer. Keys `proj.weight`, `pos_emb`, `mod_emb`."""

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


class ImageTokenEncoderEmbedding(_Positioned):
    """Codes of an image tokenizer. Keys `token_emb.weight`, `pos_emb`, `mod_emb`."""

    def __init__(self, row: ModalityConfig, dim: int) -> None:
        super().__init__(row, dim)
        self.token_emb = nn.Embedding(row.vocabulary, dim)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """ids int (B, n) or (B, rows, columns), mask (B, n) -> content and embedding, each (B, n, D)."""
        return self.token_emb(ids.flatten(1)), self.grid_embedding(len(ids))


class ImageTokenDecoderEmbedding(_Positioned):
    """Codes of an image tokenizer as targets: they enter as the mask token, so `token_emb` is stored but not read."""

    def __init__(self, row: ModalityConfig, dim: int) -> None:
        super().__init__(row, dim)
        self.token_emb = nn.Embedding(row.vocabulary, dim)
        self.to_logits = nn.Linear(dim, row.vocabulary, bias=False)


class SequenceEncoderEmbedding(_Positioned):
    """Ids of a text tokenizer. Keys `token_emb.weight`, `pos_emb` (512 long), `mod_emb`."""

    def __init__(self, row: ModalityConfig, dim: int) -> None:
        super().__init__(row, dim)
        self.token_emb = nn.Embedding(row.vocabulary, dim)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """ids int (B, n), mask (B, n) -> content and embedding, each (B, n, D)."""
        return self.token_emb(ids), self.sequence_embedding(mask)


class SequenceDecoderEmbedding(_Positioned):
    """The same, with logits. Positions start at 0 at the first target and fall back to 0 from `max_length` on."""

    def __init__(self, row: ModalityConfig, dim: int) -> None:
        super().__init__(row, dim)
        self.token_emb = nn.Embedding(row.vocabulary, dim)
        self.to_logits = nn.Linear(dim, row.vocabulary, bias=False)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """ids int (B, n), target mask (B, n) -> content and embedding, each (B, n, D)."""
        return self.token_emb(ids), self.sequence_embedding(mask, self.row.max_length)


class SequenceEmbeddingEncoder(_Positioned):
    """Vectors of another network, such as T5 states. Keys `emb_proj.{weight,bias}`, `pos_emb`, `mod_emb`."""

    def __init__(self, row: ModalityConfig, dim: int) -> None:
        super().__init__(row, dim)
        self.emb_proj = nn.Linear(row.width, dim)

    def forward(self, vectors: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """vectors float (B, n, width), mask (B, n) -> content and embedding, each (B, n, D)."""
        return self.emb_proj(vectors), self.sequence_embedding(mask)


EncoderEmbedding = PixelEmbedding | ImageTokenEncoderEmbedding | SequenceEncoderEmbedding | SequenceEmbeddingEncoder
DecoderEmbedding = ImageTokenDecoderEmbedding | SequenceDecoderEmbedding


def encoder_embedding(row: ModalityConfig, dim: int) -> EncoderEmbedding:
    """The encoder's embedding for a modality of this kind."""
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
    """The decoder's embedding for a modality of this kind. Raises `ConfigInvalid` for kinds that are input only."""
    if row.kind is EmbeddingKind.IMAGE_TOKENS:
        return ImageTokenDecoderEmbedding(row, dim)
    if row.kind is EmbeddingKind.SEQUENCE:
        return SequenceDecoderEmbedding(row, dim)
    raise ConfigInvalid(f"{row.key!r} ({row.kind}) can only be an input; take it out of domains_out")


def computed_positions(network: nn.Module) -> dict[str, Callable[[], Tensor]]:
    """By name the position tables (1, n, D) of a network that are not learned, and what computes each: float32."""
    embeddings = {name: module for name, module in network.named_modules() if isinstance(module, _Positioned)}
    return {
        f"{name}.pos_emb": partial(_position_table, module.row, module.mod_emb.shape[-1])
        for name, module in embeddings.items()
        if not module.row.learned_positions
    }
