"""The lucid quantizer: one codebook, which maps each latent vector to the id of its nearest code.

n latents, K codes, L latent width. Codes are buffers, which training updates by averages over batches, without
gradients; checkpoints include them.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SMOOTHING = 1e-5


@dataclass(frozen=True)
class CodebookRule:
    """The update of codes towards the latents that choose them.

    `decay` is the decay of the exponential averages. A code is dead when its average count falls below `dead_share` of
    the count that each would have if all were chosen equally often; it then restarts at one of the batch's latents.
    """

    decay: float = 0.99
    dead_share: float = 1 / 32


class Codebook(nn.Module):
    """The codes, and the running statistics from which they are trained.

    `initted` is 0 until the first batch has placed the codes.
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
    def begin(self, latents: Tensor, generator: torch.Generator) -> None:
        """Put every code at one of the latents float (n, L), chosen by none so far, unless that was done before."""
        if self.initted.item():
            return
        everywhere = torch.ones_like(self.cluster_size, dtype=torch.bool)
        self._place(everywhere, latents, 0.0, generator)
        self.initted.fill_(1)

    @torch.no_grad()
    def learn(self, latents: Tensor, ids: Tensor, rule: CodebookRule, generator: torch.Generator) -> int:
        """Update the codes int (n,) from the latents float (n, L) that chose them; returns how many dead codes restart.

        With `norm_codes` a code moves towards the mean direction of its latents, and stays in place if that mean has
        none. Otherwise it is the mean of all latents it ever had, with recent ones counting more (van den Oord et al.,
        arXiv 1711.00937, appendix A.1).
        """
        counts = ids.bincount(minlength=len(self.embed)).to(self.embed.dtype)
        seen = F.normalize(latents, dim=1) if self.norm_codes else latents
        sums = torch.zeros_like(self.embed).index_add_(0, ids, seen)
        self.cluster_size.lerp_(counts, 1 - rule.decay)
        if self.norm_codes:
            directions = F.normalize(sums / counts.clamp_min(1)[:, None], dim=1)
            chosen = counts[:, None] > 0
            self.embed.lerp_(torch.where(chosen, directions, F.normalize(self.embed, dim=1)), 1 - rule.decay)
        else:
            self.embed_avg.lerp_(sums, 1 - rule.decay)
            total = self.cluster_size.sum()
            smoothed = (self.cluster_size + _SMOOTHING) / (total + len(counts) * _SMOOTHING) * total
            self.embed.copy_(self.embed_avg / smoothed[:, None])
        least = rule.dead_share * len(latents) / len(self.embed)
        dead = self.cluster_size < least
        self._place(dead, latents, least, generator)
        return int(dead.sum())

    def _place(self, which: Tensor, latents: Tensor, count: float, generator: torch.Generator) -> None:
        """Put the codes `which`, bool (K,), at latents drawn from a batch, different ones as far as there are enough.

        They begin as if they had been chosen `count` times a batch.
        """
        number = int(which.sum())
        rounds = -(-number // len(latents))
        orders = [torch.randperm(len(latents), generator=generator) for _ in range(rounds)]
        if not orders:
            return
        drawn = latents[torch.cat(orders)[:number].to(latents.device)]
        self.embed[which] = F.normalize(drawn, dim=1) if self.norm_codes else drawn
        self.cluster_size[which] = count
        if not self.norm_codes:
            self.embed_avg[which] = count * drawn


@dataclass(frozen=True)
class Quantised:
    """Latents float (B, L, h, w) as codes.

    `values` float (B, L, h, w) are the codes, with the gradient of the latents; `ids` are int64 (B, h, w); `commitment`
    float () is the mean squared distance of latents to their codes, with a gradient to the latents only.
    """

    values: Tensor
    ids: Tensor
    commitment: Tensor


class LucidQuantizer(nn.Module):
    """Nearest neighbour in a codebook (van den Oord et al., arXiv 1711.00937).

    With `norm_codes` near means of large cosine, else of small Euclidean distance. B batch, L latent width, K codes,
    h x w positions. Keys `_codebook.{initted, cluster_size, embed}`, and `embed_avg` without `norm_codes`.
    """

    def __init__(self, latent_dim: int, codebook_size: int, *, norm_codes: bool) -> None:
        super().__init__()
        self.norm_codes = norm_codes
        self._codebook = Codebook(latent_dim, codebook_size, norm_codes=norm_codes)

    @property
    def codes(self) -> Tensor:
        """The codes as they are stored, of any length: float (K, L)."""
        return self._codebook.embed

    def scores(self, latents: Tensor) -> Tensor:
        """The nearness of each code, higher is nearer: latents float (B, L, h, w) -> (B, h, w, K).

        Cosines, or squared distances with a minus sign.
        """
        codes = self.codes
        # (B, L, h, w) -> (B, h, w, L)
        queries = latents.movedim(1, -1)
        if self.norm_codes:
            return F.normalize(queries, dim=-1) @ F.normalize(codes, dim=-1).T
        squares = queries.square().sum(dim=-1, keepdim=True) + codes.square().sum(dim=-1)
        return 2 * (queries @ codes.T) - squares

    def assign(self, latents: Tensor) -> Tensor:
        """The nearest code of each position: latents float (B, L, h, w) -> ids int64 (B, h, w)."""
        return self.scores(latents).argmax(dim=-1)

    def lookup(self, ids: Tensor) -> Tensor:
        """The codes of ids as they are stored, of any length: int (B, h, w) -> float (B, L, h, w)."""
        return F.embedding(ids, self.codes).movedim(-1, 1)

    def expected_values(self, probabilities: Tensor) -> Tensor:
        """The probability-weighted mean of the codes: float (B, h, w, K) -> (B, L, h, w).

        One-hot probabilities give what `lookup` gives.
        """
        return (probabilities @ self.codes).movedim(-1, 1)

    def quantise(self, latents: Tensor) -> Quantised:
        """The training pass of latents float (B, L, h, w): straight through (arXiv 1711.00937, section 3.2)."""
        with torch.no_grad():
            ids = self.assign(latents)
            codes = self.lookup(ids)
        commitment = F.mse_loss(latents, codes)
        return Quantised(latents + (codes - latents).detach(), ids, commitment)

    def begin(self, latents: Tensor, generator: torch.Generator) -> None:
        """Put the codes at latents float (B, L, h, w) of a first batch; later batches change nothing."""
        self._codebook.begin(_rows(latents), generator)

    def learn(self, latents: Tensor, ids: Tensor, rule: CodebookRule, generator: torch.Generator) -> int:
        """Move the codes int (B, h, w) towards the latents float (B, L, h, w) that chose them: `Codebook.learn`."""
        return self._codebook.learn(_rows(latents), ids.flatten(), rule, generator)

    def forget(self) -> None:
        """Have the next `begin` place the codes."""
        self._codebook.initted.zero_()


def _rows(latents: Tensor) -> Tensor:
    """(B, L, h, w) -> (B*h*w, L)."""
    return latents.detach().movedim(1, -1).flatten(0, 2)
