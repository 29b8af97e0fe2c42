"""The lucid quantizer: one codebook, which maps each latent vector to the id of its nearest code."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anyseek.model.tokenizers.codebook import Codebook, CodebookRule


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
        """How near each code is, higher is nearer: latents float (B, L, h, w) -> (B, h, w, K).

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
