"""Tokenizers of pictures, depth, normals and edges: ViT encoder, lucid quantizer and diffusion decoder.

The decoder is a UNet that denoises an image in patches, conditioned on a grid of code vectors (arXiv 2105.05233). B
batch, C channels, H x W positions, E width of the time embedding. Parameter names match the published tokenizers.
"""

import math
from collections import OrderedDict
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anyseek.model.network.config import ConfigInvalid
from anyseek.model.network.layers import attend
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.diffusion import (
    Diffusion,
    NoiseSource,
    Prediction,
    Progress,
    Sampling,
    Scheduler,
    alphas_cumprod,
    sample,
)
from anyseek.model.tokenizers.image_vqvae import ImageTokenizer

_PATCH = 4
_MULTIPLIERS = (1, 2, 2, 2)  # of the width, per level; level i has 1/2^i of the resolution
_ATTENTION_LEVELS = (2, 3)
SIDE_MULTIPLE = _PATCH * 2 ** (len(_MULTIPLIERS) - 1)  # image sides in pixels must be multiples of it
_TIME_EXPANSION = 4
_GROUPS = 32
_MAX_PERIOD = 10_000.0


def group_norm(channels: int) -> nn.GroupNorm:
    """Group normalisation with 32 groups; `channels` must be a multiple of 32."""
    return nn.GroupNorm(_GROUPS, channels, eps=1e-5)


def embed_timesteps(timesteps: Tensor, width: int) -> Tensor:
    """Sinusoidal timestep embedding: (B,) -> float32 (B, width), all cosines first, then all sines."""
    half = width // 2
    frequencies = torch.exp(-math.log(_MAX_PERIOD) * torch.arange(half, dtype=torch.float32) / half)
    angles = timesteps.float()[:, None] * frequencies.to(timesteps.device)
    return torch.cat((angles.cos(), angles.sin()), dim=1)


class ResidualBlock(nn.Module):
    """Two convolutions, the time embedding added between them; a 1x1 convolution on the skip if channels change."""

    def __init__(self, channels: int, out_channels: int, time_width: int) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(group_norm(channels), nn.SiLU(), nn.Conv2d(channels, out_channels, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(time_width, out_channels))
        # the identity stands for the dropout, so that the key of the convolution is `out_layers.3`
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


def _downsample(channels: int) -> nn.Module:
    """Halve the resolution by a convolution of stride 2."""
    return nn.Sequential(OrderedDict(op=nn.Conv2d(channels, channels, 3, stride=2, padding=1)))


def _upsample(channels: int) -> nn.Module:
    """Double the resolution by nearest-neighbour upsampling and a convolution."""
    layers = OrderedDict(
        up=nn.Upsample(scale_factor=2, mode="nearest"), conv=nn.Conv2d(channels, channels, 3, padding=1)
    )
    return nn.Sequential(layers)


class Stage(nn.ModuleList):
    """Blocks in sequence; the residual blocks also receive the time embedding."""

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x float (B, C, H, W), time float (B, E) -> float of the stage's channels and size."""
        for block in self:
            x = block(x, time) if isinstance(block, ResidualBlock) else block(x)
        return x


class PatchedUNet(nn.Module):
    """UNet over image patches, conditioned on a grid of codes (Ronneberger et al., arXiv 1505.04597).

    B batch, C channels, H x W pixels, P patch, L latent width, h x w codes. `width` is the channels of the first level,
    a multiple of 32, and `blocks` the residual blocks per level; everything else is as in the published decoders.
    """

    def __init__(self, channels: int, latent_dim: int, width: int = 256, blocks: int = 3) -> None:
        super().__init__()
        self._width, self._time_width = width, _TIME_EXPANSION * width
        self.time_embed = nn.Sequential(
            nn.Linear(width, self._time_width), nn.SiLU(), nn.Linear(self._time_width, self._time_width)
        )
        patch_channels = channels * _PATCH**2
        levels = [width * multiplier for multiplier in _MULTIPLIERS]
        down_stages = [Stage([nn.Conv2d(patch_channels + latent_dim, width, 3, padding=1)])]
        skips = [width]  # output channels of each stage, for the skip connections
        for level, level_channels in enumerate(levels):
            if level:
                down_stages.append(Stage([_downsample(skips[-1])]))
                skips.append(skips[-1])
            for _ in range(blocks):
                down_stages.append(self._stage(level, skips[-1], level_channels))
                skips.append(level_channels)
        self.input_blocks = nn.ModuleList(down_stages)
        bottleneck = levels[-1]
        ends = [ResidualBlock(bottleneck, bottleneck, self._time_width) for _ in range(2)]
        self.middle_block = Stage([ends[0], AttentionBlock(bottleneck), ends[1]])
        up_stages, previous = [], bottleneck
        for level, level_channels in reversed(list(enumerate(levels))):
            for block in range(blocks + 1):
                stage = self._stage(level, previous + skips.pop(), level_channels)
                if level and block == blocks:
                    stage.append(_upsample(level_channels))
                up_stages.append(stage)
                previous = level_channels
        self.output_blocks = nn.ModuleList(up_stages)
        self.out = nn.Sequential(group_norm(width), nn.SiLU(), nn.Conv2d(width, patch_channels, 3, padding=1))

    def _stage(self, level: int, channels: int, out_channels: int) -> Stage:
        stage = Stage([ResidualBlock(channels, out_channels, self._time_width)])
        if level in _ATTENTION_LEVELS:
            stage.append(AttentionBlock(out_channels))
        return stage

    def forward(self, image: Tensor, timesteps: Tensor, codes: Tensor) -> Tensor:
        """image float (B, C, H, W), timesteps int (B,), codes float (B, L, h, w) -> float (B, C, H, W).

        Raises ValueError for sides that are not multiples of 32.
        """
        height, width = image.shape[2:]
        if height % SIDE_MULTIPLE or width % SIDE_MULTIPLE:
            raise ValueError(f"an image of {height} x {width} must have sides that are multiples of {SIDE_MULTIPLE}")
        time = self.time_embed(embed_timesteps(timesteps, self._width).to(image.dtype))
        # (B, C, H, W) -> (B, C*P*P, H/P, W/P); channels vary slowest inside a patch
        patches = F.pixel_unshuffle(image, _PATCH)
        x = torch.cat((patches, F.interpolate(codes, patches.shape[2:], mode="nearest")), dim=1)
        skips = []
        for stage in self.input_blocks:
            x = stage(x, time)
            skips.append(x)
        x = self.middle_block(x, time)
        for stage in self.output_blocks:
            x = stage(torch.cat((x, skips.pop()), dim=1), time)
        return F.pixel_shuffle(self.out(x), _PATCH)


class DiVAE(ImageTokenizer):
    """Image tokenizer with a diffusion decoder conditioned on the codes (Mizrahi et al., arXiv 2312.06647).

    Decoding starts from noise and is deterministic for the same tokens and noise.
    """

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__(config)
        supported = {  # all that published diffusion decoders use
            "conditioning": ("concat",),
            "prediction_type": tuple(Prediction),
            "scheduler": tuple(Scheduler),
            "n_labels": (None,),
        }
        for name, values in supported.items():
            if getattr(config, name) not in values:
                expected = " or ".join(map(str, values))
                raise ConfigInvalid(f"a diffusion decoder needs {name} {expected}, not {getattr(config, name)!r}")
        if config.unet_width % _GROUPS:
            raise ConfigInvalid(
                f"a diffusion decoder needs a unet_width that is a multiple of {_GROUPS}, not {config.unet_width}"
            )
        self.decoder = PatchedUNet(config.n_channels, config.latent_dim, config.unet_width, config.unet_blocks)

    @cached_property
    def diffusion(self) -> Diffusion:
        """The diffusion process that the decoder was trained for."""
        config = self.config
        alphas = alphas_cumprod(
            config.beta_schedule, config.num_train_timesteps, zero_terminal_snr=config.zero_terminal_snr
        )
        # dynamic thresholding at most 1, the only published maximum, equals clipping for any quantile
        clips = config.thresholding or config.clip_sample
        return Diffusion(tuple(alphas.tolist()), Prediction(config.prediction_type), clips)

    @property
    def default_sampling(self) -> Sampling:
        """25 steps of the scheduler that the config names."""
        return Sampling(Scheduler(self.config.scheduler))

    def denoise(self, image: Tensor, timestep: int, codes: Tensor) -> Tensor:
        """The network's prediction: noisy image (B, C, H, W) and codes (B, L, h, w), float -> float32 (B, C, H, W)."""
        timesteps = torch.full((len(image),), timestep, device=image.device)
        predicted: Tensor = self.decoder(image.to(codes.dtype), timesteps, codes)
        return predicted.float()

    @torch.inference_mode()
    def decode_tokens(
        self,
        tokens: Tensor,
        noise: NoiseSource,
        sampling: Sampling | None = None,
        size: tuple[int, int] | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """Tokens int (B, h, w) -> images float32 (B, C, H, W), in [-1, 1] unless the config disables clipping.

        The first call of `noise` gives the start image; DDPM calls it once more for each step but the last. `size`
        (H, W), multiples of 32, defaults to the token grid times the patch, `sampling` to `default_sampling`. Raises
        ValueError for another size or a number of steps out of range.
        """
        codes = self.quantize.lookup(tokens)
        rows, columns = tokens.shape[1:]
        height, width = size or (rows * self.patch, columns * self.patch)
        start = noise((len(tokens), self.config.n_channels, height, width)).to(codes.device)

        def predict(image: Tensor, timestep: int) -> Tensor:
            return self.denoise(image, timestep, codes)

        return sample(predict, start, self.diffusion, sampling or self.default_sampling, noise, progress)
