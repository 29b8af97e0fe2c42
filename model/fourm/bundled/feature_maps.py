"""The image encoder's 7x7x1280 feature map, reduced to 256 channels: 25 KB per picture instead of 125 KB."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from anyseek.model.checkpoints.quantized import dequantized
from anyseek.model.encoders.efficientnet import CHANNELS

MAP_CHANNELS = 256


class Projection(nn.Module):
    """A fixed principal-component projection of each of the 49 vectors; on average its outputs have unit variance."""

    mean: Tensor
    axes: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(CHANNELS))
        self.register_buffer("axes", torch.zeros(MAP_CHANNELS, CHANNELS))

    def forward(self, grid: Tensor) -> Tensor:
        """float32 (B, 1280, 7, 7) -> (B, 256, 7, 7)."""
        return torch.einsum("oc,bchw->bohw", self.axes, grid - self.mean[:, None, None])


def load_projection(path: Path) -> Projection:
    """Load the projection at `path` as float32, even where its tensors are stored as int8."""
    projection = Projection()
    projection.load_state_dict(dequantized(load_file(path)))
    return projection.requires_grad_(False)
