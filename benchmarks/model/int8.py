"""Linear layers in int8, which no model offers: docs/speed.md says why.

Weights are rounded once, and activations row by row as they come, so nothing needs to be calibrated.
Each output's weights and each token's activations have a scale of their own, so one large number does not round away
those of other tokens, and a sample's result does not depend on the batch it is in. Products are exact in int32. Logits,
attention, norms and residuals stay float32.
"""

import torch
from torch import Tensor, nn

from anyseek.model.network.transformer import FourM

_LARGEST = 127
_TINY = 1e-30  # in place of 0, for rows of zeros
# Folded cross-attention needs its keys' and values' matrices as they are.
_LEFT_ALONE = "kv"


class Int8Linear(nn.Module):
    """Computes roughly the same as `linear`, float32, from int8 weights; for inference."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        rounded, scale = _rounded(linear.weight.detach().float())
        self.weight, self.scale = rounded.t(), scale.t()
        self.bias = None if linear.bias is None else linear.bias.detach().float()

    def forward(self, x: Tensor) -> Tensor:
        """x float32 (..., in) -> (..., out)."""
        rows, scale = _rounded(x.reshape(-1, x.shape[-1]))
        out = torch._int_mm(rows, self.weight).mul(scale).mul_(self.scale)
        if self.bias is not None:
            out += self.bias
        return out.view(*x.shape[:-1], out.shape[1])


def round_to_int8(network: FourM) -> None:
    """Make the linear layers of encoder and decoder `Int8Linear`. Embeddings and logits stay as they are."""
    _round_below(network.encoder)
    _round_below(network.decoder)


def _round_below(module: nn.Module) -> None:
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Linear) and name != _LEFT_ALONE:
            setattr(module, name, Int8Linear(child))
        else:
            _round_below(child)


def _rounded(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows float32 (n, d) as int8 (n, d), and the scale of each (n, 1)."""
    scale = rows.abs().amax(dim=1, keepdim=True).clamp_min_(_TINY) / _LARGEST
    return (rows / scale).round_().to(torch.int8), scale
