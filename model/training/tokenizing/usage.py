"""How many of its codes a tokenizer uses, and how evenly."""

import torch
from torch import Tensor


class CodeCounts:
    """How often each code was chosen, for each of `heads` codebooks of `size` codes."""

    def __init__(self, heads: int, size: int) -> None:
        self._counts = torch.zeros(heads, size, dtype=torch.int64)

    def add(self, ids: Tensor) -> None:
        """Tokens int: of one codebook (B, h, w), or (B, heads)."""
        heads, size = self._counts.shape
        columns = ids.reshape(-1, heads).cpu()
        for head in range(heads):
            self._counts[head] += columns[:, head].bincount(minlength=size)

    def used(self) -> float:
        """The share of codes that were chosen at all."""
        return float((self._counts > 0).double().mean())

    def perplexity(self) -> float:
        """exp of the entropy of the choice, the mean over codebooks: how many codes alike would be as uncertain."""
        shares = self._counts / self._counts.sum(dim=1, keepdim=True).clamp_min(1)
        return float(torch.special.entr(shares.double()).sum(dim=1).exp().mean())
