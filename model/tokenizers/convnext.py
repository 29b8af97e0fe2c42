"""The ConvNeXt block (Liu et al., arXiv 2201.03545, fig. 4)."""

import torch
from torch import Tensor, nn

from model.layers import LayerNorm

_KERNEL = 7
_EXPANSION = 4


class ConvNeXtBlock(nn.Module):
    """Depth-wise 7x7 convolution, norm, two linear layers over channels with GELU between, scaled and added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, _KERNEL, padding=_KERNEL // 2, groups=channels)
        self.norm = LayerNorm(channels, learned_bias=True)
        self.pwconv1 = nn.Linear(channels, _EXPANSION * channels)
        self.act = nn.GELU()
        self.pwconv2 = nn.Linear(_EXPANSION * channels, channels)
        self.gamma = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """x float (B, C, H, W) -> (B, C, H, W)."""
        # (B, C, H, W) -> (B, H, W, C)
        hidden = self.norm(self.dwconv(x).movedim(1, -1))
        hidden = self.gamma * self.pwconv2(self.act(self.pwconv1(hidden)))
        out: Tensor = x + hidden.movedim(-1, 1)
        return out
