"""The lucid quantizer: one codebook, and each latent vector becomes the id of its nearest code."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _Codebook(nn.Module):
    """The codes and the running statistics that they were trained with, all of them buffers."""

    embed: Tensor

    def __init__(self, latent_dim: int, codebook_size: int, *, running_sums: bool) -> None:
        super().__init__()
        self.register_buffer("initted", torch.ones(1))
        self.register_buffer("cluster_size", torch.zeros(codebook_size))
        self.register_buffer("embed", torch.zeros(codebook_size, latent_dim))
        if running_sums:
            self.register_buffer("embed_avg", torch.zeros(codebook_size, latent_dim))


class LucidQuantizer(nn.Module):
    """Nearest neighbour in a codebook (van den Oord et al., arXiv 1711.00937).

    With `norm_codes` near means of large cosine, else of small Euclidean distance. B batch, L latent width, K codes,
    h x w positions. Keys `_codebook.{initted, cluster_size, embed}`, and `embed_avg` without `norm_codes`.
    """

    def __init__(self, latent_dim: int, codebook_size: int, *, norm_codes: bool) -> None:
        super().__init__()
        self.norm_codes = norm_codes
        self._codebook = _Codebook(latent_dim, codebook_size, running_sums=not norm_codes)

    def scores(self, latents: Tensor) -> Tensor:
        """How near each code is, higher is nearer: latents float (B, L, h, w) -> (B, h, w, K).

        Cosines, or squared distances with a minus sign.
        """
        codes = self._codebook.embed
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
        return F.embedding(ids, self._codebook.embed).movedim(-1, 1)

    def expected_values(self, probabilities: Tensor) -> Tensor:
        """The probability-weighted mean of the codes: float (B, h, w, K) -> (B, L, h, w).

        One-hot probabilities give what `lookup` gives.
        """
        return (probabilities @ self._codebook.embed).movedim(-1, 1)
