"""Lucid quantizer: one codebook, which maps each latent vector to the id of its nearest code.

n latents, K codes, L latent width. Codes are buffers, which training updates by moving averages over batches instead of
gradients; checkpoints include them.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SMOOTHING = 1e-5


@dataclass(frozen=True)
class CodebookRule:
    """Settings of the codebook's moving-average update.

    `decay` is the decay of the exponential moving averages. A code is dead when its average count falls below
    `dead_share` of the count under uniform use; it is then reset to one of the batch's latents.
    """

    decay: float = 0.99
    dead_share: float = 1 / 32


class Codebook(nn.Module):
    """The codes and their running statistics.

    `initted` is 0 until the first batch has initialised the codes.
    """

    initted: Tensor
    cluster_size: Tensor
    embed: Tensor
    embed_avg: Tensor

    def __init__(self, latent_dim: int, codebook_size: int, *, norm_codes: bool) -> None:
        super().__init__()
        self.norm_codes = norm_codes
        self.register_buffer("initted", torch.ones(1))
        self.register_buffer("cluster_size", torch.zeros(codebook_size))
        self.register_buffer("embed", torch.zeros(codebook_size, latent_dim))
        if not norm_codes:
            self.register_buffer("embed_avg", torch.zeros(codebook_size, latent_dim))

    @torch.no_grad()
    def place_codes(self, latents: Tensor, generator: torch.Generator) -> None:
        """Initialise every code to one of the latents float (n, L), with count 0; later calls do nothing."""
        if self.initted.item():
            return
        every_code = torch.ones_like(self.cluster_size, dtype=torch.bool)
        self._place_at_latents(every_code, latents, 0.0, generator)
        self.initted.fill_(1)

    @torch.no_grad()
    def update_codes(self, latents: Tensor, ids: Tensor, rule: CodebookRule, generator: torch.Generator) -> int:
        """Update the codes from latents float (n, L) assigned to ids int (n,); returns the number of dead codes reset.

        With `norm_codes` a code moves towards the mean direction of its latents, and keeps its direction if their mean
        is 0. Otherwise it is the exponential moving average of its latents (arXiv 1711.00937, appendix A.1).
        """
        counts = ids.bincount(minlength=len(self.embed)).to(self.embed.dtype)
        rows = F.normalize(latents, dim=1) if self.norm_codes else latents
        sums = torch.zeros_like(self.embed).index_add_(0, ids, rows)
        self.cluster_size.lerp_(counts, 1 - rule.decay)
        if self.norm_codes:
            directions = F.normalize(sums / counts.clamp_min(1)[:, None], dim=1)
            is_used = counts[:, None] > 0
            self.embed.lerp_(torch.where(is_used, directions, F.normalize(self.embed, dim=1)), 1 - rule.decay)
        else:
            self.embed_avg.lerp_(sums, 1 - rule.decay)
            total = self.cluster_size.sum()
            smoothed = (self.cluster_size + _SMOOTHING) / (total + len(counts) * _SMOOTHING) * total
            self.embed.copy_(self.embed_avg / smoothed[:, None])
        threshold = rule.dead_share * len(latents) / len(self.embed)
        dead = self.cluster_size < threshold
        self._place_at_latents(dead, latents, threshold, generator)
        return int(dead.sum())

    def _place_at_latents(self, mask: Tensor, latents: Tensor, count: float, generator: torch.Generator) -> None:
        """Set the codes in `mask`, bool (K,), to latents sampled from a batch, without replacement if there are enough.

        Their running count is set to `count`.
        """
        number = int(mask.sum())
        rounds = -(-number // len(latents))
        orders = [torch.randperm(len(latents), generator=generator) for _ in range(rounds)]
        if not orders:
            return
        drawn = latents[torch.cat(orders)[:number].to(latents.device)]
        self.embed[mask] = F.normalize(drawn, dim=1) if self.norm_codes else drawn
        self.cluster_size[mask] = count
        if not self.norm_codes:
            self.embed_avg[mask] = count * drawn


@dataclass(frozen=True)
class Quantised:
    """Quantised latents of a training pass.

    `values` float (B, L, h, w) are the codes, with the gradient of the latents; `ids` are int64 (B, h, w); `commitment`
    float () is the mean squared distance of latents to their codes, with a gradient to the latents only.
    """

    values: Tensor
    ids: Tensor
    commitment: Tensor


class LucidQuantizer(nn.Module):
    """Nearest-neighbour vector quantizer (van den Oord et al., arXiv 1711.00937).

    The distance is cosine with `norm_codes`, else Euclidean. B batch, L latent width, K codes,
    h x w positions. Keys `_codebook.{initted, cluster_size, embed}`, and `embed_avg` without `norm_codes`.
    """

    def __init__(self, latent_dim: int, codebook_size: int, *, norm_codes: bool) -> None:
        super().__init__()
        self.norm_codes = norm_codes
        self._codebook = Codebook(latent_dim, codebook_size, norm_codes=norm_codes)

    @property
    def codes(self) -> Tensor:
        """Stored codes, not normalised: float (K, L)."""
        return self._codebook.embed

    def scores(self, latents: Tensor) -> Tensor:
        """Similarity to each code: latents float (B, L, h, w) -> (B, h, w, K).

        Cosines, or negative squared distances without `norm_codes`.
        """
        codes = self.codes
        # (B, L, h, w) -> (B, h, w, L)
        queries = latents.movedim(1, -1)
        if self.norm_codes:
            return F.normalize(queries, dim=-1) @ F.normalize(codes, dim=-1).T
        squares = queries.square().sum(dim=-1, keepdim=True) + codes.square().sum(dim=-1)
        return 2 * (queries @ codes.T) - squares

    def assign(self, latents: Tensor) -> Tensor:
        """Nearest code of each position: latents float (B, L, h, w) -> ids int64 (B, h, w)."""
        return self.scores(latents).argmax(dim=-1)

    def lookup(self, ids: Tensor) -> Tensor:
        """Stored codes of ids, not normalised: int (B, h, w) -> float (B, L, h, w)."""
        return F.embedding(ids, self.codes).movedim(-1, 1)

    def expected_values(self, probabilities: Tensor) -> Tensor:
        """Probability-weighted mean of the codes: float (B, h, w, K) -> (B, L, h, w).

        With one-hot probabilities this equals `lookup`.
        """
        return (probabilities @ self.codes).movedim(-1, 1)

    def quantise(self, latents: Tensor) -> Quantised:
        """Straight-through quantisation of latents float (B, L, h, w) for training (arXiv 1711.00937, section 3.2)."""
        with torch.no_grad():
            ids = self.assign(latents)
            codes = self.lookup(ids)
        commitment = F.mse_loss(latents, codes)
        return Quantised(latents + (codes - latents).detach(), ids, commitment)

    def place_codes(self, latents: Tensor, generator: torch.Generator) -> None:
        """Initialise the codes from the latents float (B, L, h, w) of the first batch; later calls do nothing."""
        self._codebook.place_codes(_rows(latents), generator)

    def update_codes(self, latents: Tensor, ids: Tensor, rule: CodebookRule, generator: torch.Generator) -> int:
        """Update the codes from latents float (B, L, h, w) with ids int (B, h, w): see `Codebook.update_codes`."""
        return self._codebook.update_codes(_rows(latents), ids.flatten(), rule, generator)

    def reset_codes(self) -> None:
        """Make the next `place_codes` initialise the codes again."""
        self._codebook.initted.zero_()


def _rows(latents: Tensor) -> Tensor:
    """(B, L, h, w) -> (B*h*w, L)."""
    return latents.detach().movedim(1, -1).flatten(0, 2)
