"""The blocks of a diffusion UNet (Dhariwal and Nichol, arXiv 2105.05233).

B batch, C channels, H x W positions, E width of the time embedding. Parameter names match the published tokenizers.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anyseek.model.network.layers import attend

_GROUPS = 32
_LONGEST_PERIOD = 10_000.0


def group_norm(channels: int) -> nn.GroupNorm:
    """Normalisation over 32 groups of channels; `channels` must be a multiple of 32."""
    return nn.GroupNorm(_GROUPS, channels, eps=1e-5)


def embed_timesteps(timesteps: Tensor, width: int) -> Tensor:
    """Sinusoids of timesteps (B,) -> float32 (B, width): all cosines first, then all sines."""
    half = width // 2
    frequencies = torch.exp(-math.log(_LONGEST_PERIOD) * torch.arange(half, dtype=torch.float32) / half)
    angles = timesteps.float()[:, None] * frequencies.to(timesteps.device)
    return torch.cat((angles.cos(), angles.sin()), dim=1)


class ResidualBlock(nn.Module):
    """Two convolutions with the time added between them; a 1x1 convolution in the skip where channels change."""

    def __init__(self, channels: int, out_channels: int, time_width: int) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(group_norm(channels), nn.SiLU(), nn.Conv2d(channels, out_channels, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(time_width, out_channels))
        # the identity has the place of the dropout, so that the convolution is called `out_layers.3`
        self.out_layers = nn.Sequential(
            group_norm(out_channels), nn.SiLU(), nn.Identity(), nn.Conv2d(out_channels, out_channels, 3, padding=1)
        )
        changes = channels != out_channels
        self.skip_connection = nn.Conv2d(channels, out_channels, 1) if changes else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x float (B, C, H, W), time float (B, E) -> (B, out_channels, H, W)."""
        hidden = self.in_layers(x) + self.emb_layers(time)[:, :, None, None]
        out: Tensor = self.skip_connection(x) + self.out_layers(hidden)
        return out


class AttentionBlock(nn.Module):
    """Self-attention of all positions with one head over all channels, added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x float (B, C, H, W) -> (B, C, H, W)."""
        # (B, C, H, W) -> (B, 3*C, n) -> three of (B, 1, n, C)
        qkv = self.qkv(self.norm(x).flatten(2))
        query, key, value = qkv.transpose(1, 2).unsqueeze(1).chunk(3, dim=-1)
        # (B, n, C) -> (B, C, n)
        attended = self.proj_out(attend(query, key, value, None).transpose(1, 2))
        out: Tensor = x + attended.reshape(x.shape)
        return out


class Downsample(nn.Module):
    """Half the size by a convolution of stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """x float (B, C, H, W) -> (B, C, H/2, W/2)."""
        out: Tensor = self.op(x)
        return out


class Upsample(nn.Module):
    """Twice the size by repetition, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """x float (B, C, H, W) -> (B, C, 2*H, 2*W)."""
        out: Tensor = self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))
        return out


class Stage(nn.ModuleList):
    """Blocks that run one after the other; the residual ones see the time."""

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x float (B, C, H, W), time float (B, E) -> float of other channels and size."""
        for block in self:
            x = block(x, time) if isinstance(block, ResidualBlock) else block(x)
        return x
