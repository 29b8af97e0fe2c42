"""The residual MLP that encodes and decodes global vectors for a tokenizer."""

import re

from torch import Tensor, nn

from anyseek.model.network.config import ConfigInvalid

_NAME = re.compile(r"BottleneckMLP/B_(?P<blocks>\d+)-Wi_(?P<width>\d+)(-E_(?P<expansion>\d+))?")


class _ResidualBlock(nn.Module):
    """Linear up, GELU, linear down; the last is `block.2`, the activation has no parameters."""

    def __init__(self, width: int, expansion: int) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Linear(width, expansion * width), nn.GELU(), nn.Linear(expansion * width, width))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.block(x)
        return out


class BottleneckMLP(nn.Module):
    """linear_in, residual blocks x + block(LN(x)), linear_out (Bachmann et al., arXiv 2306.13575).

    Named `BottleneckMLP/B_<blocks>-Wi_<width>[-E_<expansion>]` in a config; expansion is 4 where it is not given.
    """

    def __init__(self, dim_in: int, dim_out: int, width: int, blocks: int, expansion: int) -> None:
        super().__init__()
        self.linear_in = nn.Linear(dim_in, width)
        self.linear_out = nn.Linear(width, dim_out)
        self.blocks = nn.ModuleList(_ResidualBlock(width, expansion) for _ in range(blocks))
        self.layernorms = nn.ModuleList(nn.LayerNorm(width, eps=1e-5) for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        """x float (B, dim_in) -> (B, dim_out)."""
        x = self.linear_in(x)
        for block, norm in zip(self.blocks, self.layernorms, strict=True):
            x = x + block(norm(x))
        out: Tensor = self.linear_out(x)
        return out


def is_mlp(name: str) -> bool:
    """Whether a config's `enc_type` or `dec_type` means an MLP, well-formed or not."""
    return name.startswith("BottleneckMLP")


def parse_mlp(name: str) -> tuple[int, int, int]:
    """Blocks, width and expansion from a config's `enc_type` or `dec_type`. Raises `ConfigInvalid`."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise ConfigInvalid(f"{name!r} is not an MLP; a name looks like 'BottleneckMLP/B_6-Wi_1024-E_4'")
    return int(match["blocks"]), int(match["width"]), int(match["expansion"] or 4)
