"""The UNet that denoises an image in patches, conditioned on a grid of code vectors (arXiv 2105.05233).

B batch, C channels, H x W positions, E width of the time embedding. Parameter names match the published tokenizers.
"""

import math
from dataclasses import dataclass

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


_TIME_EXPANSION = 4


@dataclass(frozen=True)
class UNetShape:
    """The published decoders have this shape; no config key changes it.

    Level i of `multipliers` has `width * multipliers[i]` channels (multiples of 32) on a grid halved i times, and
    attention where i is in `attention_levels`.
    """

    patch: int = 4
    width: int = 256
    multipliers: tuple[int, ...] = (1, 2, 2, 2)
    blocks_a_level: int = 3
    attention_levels: frozenset[int] = frozenset({2, 3})

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(self.width * multiplier for multiplier in self.multipliers)

    @property
    def side_multiple(self) -> int:
        """Sides of images must be multiples of this many pixels."""
        return int(self.patch * 2 ** (len(self.multipliers) - 1))


class PatchedUNet(nn.Module):
    """An image of patches and its codes through a UNet (Ronneberger et al., arXiv 1505.04597).

    B batch, C channels, H x W pixels, P patch, L latent width, h x w codes.
    """

    def __init__(self, channels: int, latent_dim: int, shape: UNetShape) -> None:
        super().__init__()
        self.shape = shape
        self._time_width = _TIME_EXPANSION * shape.width
        self.time_embed = nn.Sequential(
            nn.Linear(shape.width, self._time_width), nn.SiLU(), nn.Linear(self._time_width, self._time_width)
        )
        patch_channels = channels * shape.patch**2
        self.input_blocks, skips = self._make_descent(patch_channels + latent_dim)
        deepest = shape.channels[-1]
        self.middle_block = Stage(
            [
                ResidualBlock(deepest, deepest, self._time_width),
                AttentionBlock(deepest),
                ResidualBlock(deepest, deepest, self._time_width),
            ]
        )
        self.output_blocks = self._make_ascent(skips)
        self.out = nn.Sequential(
            group_norm(shape.width), nn.SiLU(), nn.Conv2d(shape.width, patch_channels, 3, padding=1)
        )

    def _make_descent(self, in_channels: int) -> tuple[nn.ModuleList, list[int]]:
        """The stages down and the channels that each of them hands on to the way up."""
        shape = self.shape
        stem = nn.Conv2d(in_channels, shape.width, 3, padding=1)
        stages = [Stage([stem])]
        skips = [shape.width]
        for level, channels in enumerate(shape.channels):
            if level:
                stages.append(Stage([Downsample(skips[-1])]))
                skips.append(skips[-1])
            for _ in range(shape.blocks_a_level):
                stages.append(self._stage(level, skips[-1], channels))
                skips.append(channels)
        return nn.ModuleList(stages), skips

    def _make_ascent(self, skips: list[int]) -> nn.ModuleList:
        """The stages up; each takes what the last gave together with one of `skips`, from the end."""
        shape, stages = self.shape, []
        waiting, before = list(skips), shape.channels[-1]
        for level, channels in reversed(list(enumerate(shape.channels))):
            for block in range(shape.blocks_a_level + 1):
                stage = self._stage(level, before + waiting.pop(), channels)
                if level and block == shape.blocks_a_level:
                    stage.append(Upsample(channels))
                stages.append(stage)
                before = channels
        return nn.ModuleList(stages)

    def _stage(self, level: int, channels: int, out_channels: int) -> Stage:
        stage = Stage([ResidualBlock(channels, out_channels, self._time_width)])
        if level in self.shape.attention_levels:
            stage.append(AttentionBlock(out_channels))
        return stage

    def forward(self, image: Tensor, timesteps: Tensor, codes: Tensor) -> Tensor:
        """image float (B, C, H, W), timesteps int (B,), codes float (B, L, h, w) -> float (B, C, H, W).

        Raises ValueError for sides that are not multiples of `shape.side_multiple`.
        """
        self._check(image)
        time = self.time_embed(embed_timesteps(timesteps, self.shape.width).to(image.dtype))
        # (B, C, H, W) -> (B, C*P*P, H/P, W/P); channels vary slowest inside a patch
        patches = F.pixel_unshuffle(image, self.shape.patch)
        spread = F.interpolate(codes, patches.shape[2:], mode="nearest")
        x = self._transform(torch.cat((patches, spread), dim=1), time)
        return F.pixel_shuffle(self.out(x), self.shape.patch)

    def _transform(self, x: Tensor, time: Tensor) -> Tensor:
        skips = []
        for stage in self.input_blocks:
            x = stage(x, time)
            skips.append(x)
        x = self.middle_block(x, time)
        for stage in self.output_blocks:
            x = stage(torch.cat((x, skips.pop()), dim=1), time)
        return x

    def _check(self, image: Tensor) -> None:
        multiple = self.shape.side_multiple
        height, width = image.shape[2:]
        if height % multiple or width % multiple:
            raise ValueError(f"an image of {height} x {width} must have sides that are multiples of {multiple}")
