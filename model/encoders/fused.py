"""EfficientNet-Lite0 with each convolution, its bias and what follows it as one operation of oneDNN.

Torch's own layers write a map, read it again for the ReLU6 or the residual, and put the weights into oneDNN's layout on
every call. Results are the same up to rounding, so both share a fingerprint. A fused network can neither be trained,
saved nor moved.
"""

import logging
from dataclasses import fields
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anyseek.model.checkpoints.files import shapes_only
from anyseek.model.compute.devices import MIN_COSINE
from anyseek.model.encoders.efficientnet import (
    IMAGE_SIZE,
    EfficientNetLite0,
    Features,
    InvertedBottleneck,
    SameConv,
    load_efficientnet,
)

_BATCH = 4  # pictures for which oneDNN chooses the layout; it serves any number of them
_RELU6 = ("hardtanh", (0.0, 6.0), "")
_NOTHING: tuple[str, tuple[float, ...], str] = ("none", (), "")

# Waves that differ in every channel: (1, 3, 224, 224) between -1 and 1.
_WAVES = torch.outer(torch.arange(1.0, 4.0), torch.linspace(0, 20, IMAGE_SIZE))
_PATTERN = (_WAVES.sin()[:, None, :] * _WAVES.cos()[:, :, None])[None]

_log = logging.getLogger(__name__)


def load_fastest(path: Path) -> EfficientNetLite0:
    """The encoder with the converted weights at `path`, for the CPU, fused where that gives the same features."""
    return fuse_if_equal(load_efficientnet(path))


def fuse_if_equal(network: EfficientNetLite0) -> EfficientNetLite0:
    """The network fused; itself, with a warning, where that fails on this processor or gives other features."""
    if not can_fuse():
        return network
    try:
        faster = fuse(network)
        cosine = min_cosine(faster(_PATTERN), network(_PATTERN))
    except RuntimeError as error:
        _log.warning("Torch's fused operations cannot be used: %s", " ".join(str(error).split()))
        return network
    if not cosine >= MIN_COSINE:  # nor where it is NaN
        _log.warning("Torch's fused operations give other features (cosine %.5f), so they are not used", cosine)
        return network
    return faster


def min_cosine(features: Features, others: Features) -> float:
    """The least cosine between two encoders' outputs for the same pictures, of any of their tensors; NaN if one is."""
    names = [part.name for part in fields(Features)]
    pairs = ((getattr(features, name).flatten(1), getattr(others, name).flatten(1)) for name in names)
    return float(torch.cat([F.cosine_similarity(a.double(), b.double()) for a, b in pairs]).min())


class FusedConv(nn.Module):
    """Computes the same as `conv` does for an input of `side` pixels a side, plus what is given to be added."""

    def __init__(self, conv: SameConv, side: int) -> None:
        super().__init__()
        weight, padding = conv.weight.detach(), conv.padding_of(side)
        if padding % 2 == 1:
            # The operation pads all sides alike. A row and a column of zeros before the kernel do what an odd pixel
            # less of padding there would do, and take less time than copying the map with its padding.
            weight, padding = F.pad(weight, (1, 0, 1, 0)), padding + 1
        self._shape = [padding // 2] * 2, list(conv.stride), [1, 1], conv.groups
        self.weight: Tensor = torch.ops.mkldnn._reorder_convolution_weight(
            weight, *self._shape, [_BATCH, conv.in_channels, side, side]
        )
        self.bias = None if conv.bias is None else conv.bias.detach()
        self._then = _RELU6 if conv.clamped else _NOTHING

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride); `added`, of that shape, is for what is not clamped."""
        if added is not None:
            return torch.ops.mkldnn._convolution_pointwise.binary(  # type: ignore[no-any-return]
                x, added, self.weight, self.bias, *self._shape, "add", 1.0, None, [], None
            )
        return torch.ops.mkldnn._convolution_pointwise(x, self.weight, self.bias, *self._shape, *self._then)  # type: ignore[no-any-return]


class FusedBottleneck(nn.Module):
    """Computes the same as `block` does for an input of `side` pixels a side."""

    def __init__(self, block: InvertedBottleneck, side: int) -> None:
        super().__init__()
        self.expand = None if block.expand is None else FusedConv(block.expand, side)
        self.depthwise = FusedConv(block.depthwise, side)
        self.project = FusedConv(block.project, side // block.depthwise.stride[0])
        self.residual = block.residual

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        y = self.depthwise(x if self.expand is None else self.expand(x))
        out: Tensor = self.project(y, x if self.residual else None)
        return out


def can_fuse() -> bool:
    """Whether this build of torch has the operations, which a processor may still lack."""
    names = ("_convolution_pointwise", "_reorder_convolution_weight")
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in names)  # type: ignore[no-untyped-call]


def fuse(network: EfficientNetLite0) -> EfficientNetLite0:
    """`network`, on the CPU and in float32, with all convolutions fused; it stays as it was itself.

    Raises `RuntimeError` where this processor cannot.
    """
    with shapes_only():
        copy = EfficientNetLite0().eval()
    side, blocks = IMAGE_SIZE, nn.ModuleList()
    copy.stem = FusedConv(network.stem, side)  # type: ignore[assignment]
    side //= network.stem.stride[0]
    for block in network.blocks:
        assert isinstance(block, InvertedBottleneck), "it is fused already"
        blocks.append(FusedBottleneck(block, side))
        side //= block.depthwise.stride[0]
    copy.blocks, copy.head = blocks, FusedConv(network.head, side)  # type: ignore[assignment]
    copy.classifier = network.classifier
    return copy
