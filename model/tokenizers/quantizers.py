"""The memcodes quantizer: one learned codebook per head, with its own projections for search and lookup."""

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _HeadProjection(nn.Module):
    """One square matrix a head: (heads, K, d) -> (heads, K, d), row vector times matrix."""

    def __init__(self, heads: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(heads, dim, dim))

    def forward(self, rows: Tensor) -> Tensor:
        return torch.einsum("hkd,hde->hke", rows, self.weight)


class MemcodesQuantizer(nn.Module):
    """Splits a latent vector over heads and maps each slice to the id of its best code.

    B batch, h heads, K codes a head, d = latent_dim / h. Keys `codes` (h, K, d), `to_k.weight` and `to_v.weight` (h, d,
    d). Token i always belongs to codebook i.
    """

    value_table: Tensor | None

    def __init__(self, latent_dim: int, heads: int, codebook_size: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (latent_dim // heads) ** -0.5
        self.codes = nn.Parameter(torch.zeros(heads, codebook_size, latent_dim // heads))
        self.to_k = _HeadProjection(heads, latent_dim // heads)
        self.to_v = _HeadProjection(heads, latent_dim // heads)
        self.register_buffer("value_table", None, persistent=False)

    def cache_values(self) -> None:
        """Keep the value vectors of all codes; they are projected anew for each lookup otherwise."""
        self.value_table = self.to_v(self.codes).detach()

    def train(self, mode: bool = True) -> Self:
        """Set training mode, in which no value vectors may be kept: codes and projections change."""
        if mode:
            self.value_table = None
        return super().train(mode)

    def values(self) -> Tensor:
        """The vector that each code stands for: float (h, K, d)."""
        if self.value_table is not None:
            return self.value_table
        values: Tensor = self.to_v(self.codes)
        return values

    def scores(self, latents: Tensor) -> Tensor:
        """How well each code fits: latents float (B, h*d) -> (B, h, K)."""
        # (B, h*d) -> (B, h, d)
        queries = latents.reshape(len(latents), self.heads, -1) * self.scale
        return torch.einsum("bhd,hkd->bhk", queries, self.to_k(self.codes))

    def assign(self, latents: Tensor) -> Tensor:
        """The best code of each head: latents float (B, h*d) -> ids int64 (B, h)."""
        return self.scores(latents).argmax(dim=2)

    def lookup(self, ids: Tensor) -> Tensor:
        """The vectors that codes stand for: ids int (B, h) -> float (B, h*d)."""
        head = torch.arange(self.heads, device=ids.device)
        # (B, h, d) -> (B, h*d)
        return self.values()[head, ids].flatten(1)

    def expected_values(self, probabilities: Tensor) -> Tensor:
        """The probability-weighted mean of each head's value vectors: float (B, h, K) -> (B, h*d).

        One-hot probabilities give what `lookup` gives.
        """
        # (B, h, d) -> (B, h*d)
        return torch.einsum("bhk,hkd->bhd", probabilities, self.values()).flatten(1)

    def sample(self, latents: Tensor, temperature: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw codes for training: latents (B, h*d) -> values (B, h*d) and ids int64 (B, h).

        Gumbel-softmax, straight-through: values are those of the drawn codes, gradients those of the softmax. The
        noise is drawn on the generator's device.
        """
        scores = self.scores(latents)
        uniform = torch.rand(scores.shape, generator=generator, device=generator.device).to(scores.device)
        # uniform is never 1, so the exponential number is never 0
        exponential = -torch.log(uniform.clamp_min(torch.finfo(uniform.dtype).tiny))
        gumbel = -torch.log(exponential)
        soft = ((scores + gumbel) / temperature).softmax(dim=2)
        ids = soft.argmax(dim=2)
        hard = F.one_hot(ids, soft.shape[2]).to(soft.dtype)
        return self.expected_values(hard + soft - soft.detach()), ids

    def initialise(self, generator: torch.Generator) -> None:
        """Fill the parameters for training: standard normal codes, Xavier-uniform projections a head."""
        nn.init.normal_(self.codes, generator=generator)
        for projection in (self.to_k, self.to_v):
            for matrix in projection.weight.data:
                nn.init.xavier_uniform_(matrix, generator=generator)
