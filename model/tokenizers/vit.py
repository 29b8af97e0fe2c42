"""Vision transformer encoder and decoder of image and map tokenizers.

B batch, C channels, H x W pixels, P patch, h x w tokens, D width. Parameter names match the published tokenizers. There
is no norm after the last block.
"""

import re
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anyseek.model.network.config import ConfigInvalid, FourMConfig
from anyseek.model.network.layers import EncoderBlock, FeedForward, LayerNorm
from anyseek.model.network.modality_embeddings import sincos_2d

_KERNEL = 7
_EXPANSION = 4


class ConvNeXtBlock(nn.Module):
    """ConvNeXt block: depth-wise 7x7 convolution, norm, pointwise MLP with GELU, layer scale, residual."""

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


@dataclass(frozen=True)
class ViTShape:
    """Width, number of blocks and heads of a transformer, and whether a tanh MLP follows the blocks."""

    dim: int
    depth: int
    heads: int
    post_mlp: bool

    @property
    def block(self) -> FourMConfig:
        """Config of one block: GELU, biases, MLP ratio 4."""
        return FourMConfig((), (), dim=self.dim, num_heads=self.heads, act_layer="GELU")


_SIZES = {"s": (512, 8, 8), "b": (768, 12, 12), "l": (1024, 24, 16)}
_CUSTOM_SIZE = re.compile(r"w([1-9]\d*)b([1-9]\d*)h([1-9]\d*)", re.ASCII)


def parse_vit(name: str, side: str, *, post_mlp: bool) -> ViTShape:
    """Parse a shape such as `vit_b_enc`, `vit_<s|b|l>_<side>`; side is `enc` or `dec`. Raises `ConfigInvalid`.

    Unpublished tokenizers may have any size: `vit_w64b2h4_enc` is 64 wide with 2 blocks of 4 heads.
    """
    size = name.removeprefix("vit_").removesuffix(f"_{side}")
    if name == f"vit_{size}_{side}":
        if size in _SIZES:
            return ViTShape(*_SIZES[size], post_mlp)
        if match := _CUSTOM_SIZE.fullmatch(size):
            return ViTShape(int(match[1]), int(match[2]), int(match[3]), post_mlp)
    raise ConfigInvalid(f"{name!r} is not a known {side}oder; use vit_s_{side}, vit_b_{side} or vit_l_{side}")


class _Trunk(nn.Module):
    """Shared layers of encoder and decoder: positions, blocks and the optional MLP."""

    def __init__(self, shape: ViTShape, grid: int) -> None:
        super().__init__()
        table = _to_grid(sincos_2d(grid, grid, shape.dim), torch.Size((grid, grid)))
        self.pos_emb = nn.Parameter(table, requires_grad=False)
        self.blocks = nn.ModuleList(EncoderBlock(shape.block) for _ in range(shape.depth))
        self.norm_mlp = LayerNorm(shape.dim, learned_bias=True) if shape.post_mlp else None
        self.post_mlp = FeedForward(replace(shape.block, act_layer="Tanh")) if shape.post_mlp else None

    def transform(self, x: Tensor) -> Tensor:
        """x float (B, D, h, w) -> (B, h*w, D), patches in row-major order."""
        # (B, D, h, w) -> (B, n, D)
        size = x.shape[2:]
        positions: Tensor = self.pos_emb  # (1, D, h, w), interpolated for any other grid
        if positions.shape[2:] != size:
            positions = F.interpolate(positions.float(), size, mode="bicubic", align_corners=False).to(x.dtype)
        x = (x + positions).flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x, None)
        if self.norm_mlp is not None and self.post_mlp is not None:
            x = x + self.post_mlp(self.norm_mlp(x))
        return x


class ViTEncoder(_Trunk):
    """Encodes images or maps to one vector per token; `patch` is 1 for maps whose positions are patches."""

    def __init__(self, shape: ViTShape, channels: int, grid: int, patch: int) -> None:
        super().__init__(shape, grid)
        self.proj = nn.Conv2d(channels, shape.dim, patch, stride=patch)

    def forward(self, image: Tensor) -> Tensor:
        """image float (B, C, H, W), sides multiples of P -> (B, D, h, w)."""
        x = self.proj(image)
        return _to_grid(self.transform(x), x.shape[2:])


class ViTDecoder(_Trunk):
    """Decodes one vector per token to images or maps; with `out_conv` two ConvNeXt blocks smooth the result."""

    def __init__(self, shape: ViTShape, channels: int, grid: int, patch: int, *, out_conv: bool) -> None:
        super().__init__(shape, grid)
        self.patch = patch
        self.out_proj = nn.Linear(shape.dim, channels * patch**2)
        self.out_conv = nn.Sequential(ConvNeXtBlock(channels), ConvNeXtBlock(channels)) if out_conv else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """x float (B, D, h, w) -> (B, C, h*P, w*P)."""
        # (B, n, C*P*P) -> (B, C*P*P, h, w); channels vary slowest inside a patch
        patches = _to_grid(self.out_proj(self.transform(x)), x.shape[2:])
        image: Tensor = self.out_conv(F.pixel_shuffle(patches, self.patch))
        return image


def _to_grid(tokens: Tensor, size: torch.Size) -> Tensor:
    """Tokens (B, n, D) in row-major order -> (B, D, *size)."""
    return tokens.transpose(1, 2).reshape(len(tokens), tokens.shape[2], *size)
