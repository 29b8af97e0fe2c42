"""The vision transformers that encode images and maps for a tokenizer and decode them again.

B batch, C channels, H x W pixels, P patch, h x w tokens, D width. Parameter names are those of the published
tokenizers. There is no norm after the last block.
"""

import re
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import ConfigInvalid, FourMConfig
from model.layers import EncoderBlock, FeedForward, LayerNorm
from model.modality_embeddings import sincos_2d
from model.tokenizers.convnext import ConvNeXtBlock


@dataclass(frozen=True)
class ViTShape:
    """Width, number of blocks and heads of a transformer, and whether a tanh MLP follows the blocks."""

    dim: int
    depth: int
    heads: int
    post_mlp: bool

    @property
    def block(self) -> FourMConfig:
        """The shape of one block: GELU, biases everywhere, MLP four times as wide."""
        return FourMConfig((), (), dim=self.dim, num_heads=self.heads, act_layer="GELU")


_SIZES = {"s": (512, 8, 8), "b": (768, 12, 12), "l": (1024, 24, 16)}
_OWN_SIZE = re.compile(r"w([1-9]\d*)b([1-9]\d*)h([1-9]\d*)", re.ASCII)


def parse_vit(name: str, side: str, *, post_mlp: bool) -> ViTShape:
    """The shape called `vit_<s|b|l>_<side>` in a config; side is `enc` or `dec`. Raises `ConfigInvalid`.

    Tokenizers that are not published may have any other size: `vit_w64b2h4_enc` is 64 wide with 2 blocks of 4 heads.
    """
    size = name.removeprefix("vit_").removesuffix(f"_{side}")
    if name == f"vit_{size}_{side}":
        if size in _SIZES:
            return ViTShape(*_SIZES[size], post_mlp)
        if own := _OWN_SIZE.fullmatch(size):
            return ViTShape(int(own[1]), int(own[2]), int(own[3]), post_mlp)
    raise ConfigInvalid(f"{name!r} is no {side}oder; vit_s_{side}, vit_b_{side} and vit_l_{side} are")


class _Trunk(nn.Module):
    """Positions, blocks and the MLP after them."""

    def __init__(self, shape: ViTShape, grid: int) -> None:
        super().__init__()
        table = _to_grid(sincos_2d(grid, grid, shape.dim), torch.Size((grid, grid)))
        self.pos_emb = nn.Parameter(table, requires_grad=False)
        self.blocks = nn.ModuleList(EncoderBlock(shape.block) for _ in range(shape.depth))
        self.norm_mlp = LayerNorm(shape.dim, learned_bias=True) if shape.post_mlp else None
        self.post_mlp = FeedForward(replace(shape.block, act_layer="Tanh")) if shape.post_mlp else None

    def transform(self, x: Tensor) -> Tensor:
        """x float (B, D, h, w) -> (B, h*w, D), patches row by row."""
        # (B, D, h, w) -> (B, n, D)
        x = (x + self._positions(x)).flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x, None)
        if self.norm_mlp is not None and self.post_mlp is not None:
            x = x + self.post_mlp(self.norm_mlp(x))
        return x

    def _positions(self, x: Tensor) -> Tensor:
        """The table (1, D, h, w), interpolated where the grid is not the one it was made for."""
        size = x.shape[2:]
        if self.pos_emb.shape[2:] == size:
            return self.pos_emb
        resized = F.interpolate(self.pos_emb.float(), size, mode="bicubic", align_corners=False)
        return resized.to(x.dtype)


class ViTEncoder(_Trunk):
    """Images or maps to one vector a token; `patch` is 1 for maps whose positions already are patches."""

    def __init__(self, shape: ViTShape, channels: int, grid: int, patch: int) -> None:
        super().__init__(shape, grid)
        self.proj = nn.Conv2d(channels, shape.dim, patch, stride=patch)

    def forward(self, image: Tensor) -> Tensor:
        """image float (B, C, H, W), sides multiples of P -> (B, D, h, w)."""
        x = self.proj(image)
        return _to_grid(self.transform(x), x.shape[2:])


class ViTDecoder(_Trunk):
    """One vector a token to images or maps; with `out_conv` two ConvNeXt blocks smooth the result."""

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
    """Tokens (B, n, D), row by row, -> (B, D, *size)."""
    return tokens.transpose(1, 2).reshape(len(tokens), tokens.shape[2], *size)
