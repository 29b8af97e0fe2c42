"""Decoder of depth, normals and regions from the image encoder's maps, without a pass of the network.

The 4M network sees a picture as 7 x 7 vectors and predicts one of 512 codes at 14 x 14 positions, which suffices for
walls and floors but not for objects. This decoder starts from the encoder's maps at strides 32, 16 and 8 instead. One
set of weights serves every input that can be rendered as a picture; an embedding identifies the modality. The last map
has 56 x 56 positions and is upsampled to images of 112 x 112 pixels.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from anyseek.model.checkpoints.quantized import dequantize
from anyseek.model.encoders.efficientnet import LEVELS
from anyseek.model.errors import WeightsCorrupt
from anyseek.model.fourm.images import flip_normals
from anyseek.model.modalities.drawings import ByteArray

FILE = "dense_decoder.safetensors"
SOURCES = ("rgb", "canny_edge", "depth", "normal", "semseg", "bounding_boxes")  # what it decodes from, in this order
TARGETS = ("depth", "normal", "semseg")  # what it decodes to
SIDE = 112  # pixels of a decoded image
_WIDTHS = (48, 80, 128)  # channels at strides 8, 16 and 32
_SCALES = (8.0, 6.0, 2.5)  # typical magnitude of these maps
_LAST = 32  # channels at 56 x 56 positions
_NORMAL = 3


@dataclass(frozen=True)
class DenseImages:
    """Images of B inputs, float32 (B, C, side, side).

    `depth` (C = 1) is roughly in metres, as pictures leave the scale open. `normal` (C = 3) has unit length, `semseg`
    are logits of labels, 0 for none.
    """

    depth: Tensor
    normal: Tensor
    semseg: Tensor


class Residual(nn.Module):
    """Two 3 x 3 convolutions, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        out: Tensor = x + self.second(F.relu(self.first(F.relu(x))))
        return out


class DenseDecoder(nn.Module):
    """The decoder for `labels` labels of regions.

    The buffer `errors` (targets, inputs) holds each input's error on validation samples, in the order of `TARGETS` and
    `SOURCES`: of several inputs the best one is used.
    """

    errors: Tensor

    def __init__(self, labels: int) -> None:
        super().__init__()
        fine, middle, coarse = _WIDTHS
        self.inputs = nn.Embedding(len(SOURCES), coarse)
        self.sideways = nn.ModuleList(
            nn.Conv2d(channels, width, 1) for width, (_, channels, _) in zip(_WIDTHS, LEVELS, strict=True)
        )
        self.down = nn.ModuleList([nn.Conv2d(middle, fine, 1), nn.Conv2d(coarse, middle, 1)])
        self.mixed = nn.ModuleList(Residual(width) for width in _WIDTHS)
        self.last = nn.Conv2d(fine, _LAST, 3, padding=1)
        self.images = nn.Conv2d(_LAST, 1 + _NORMAL, 3, padding=1)
        self.regions = nn.Conv2d(_LAST, labels, 1)
        self.things = nn.Conv2d(fine, labels, 1)
        self.register_buffer("errors", torch.zeros(len(TARGETS), len(SOURCES)))

    @property
    def labels(self) -> int:
        """The number of labels of regions, including 0 for none."""
        return self.regions.out_channels

    def forward(self, levels: Sequence[Tensor], inputs: Tensor) -> DenseImages:
        """Maps of `EfficientNetLite0.levels` and `inputs` int64 (B,), indices of `SOURCES` -> images of 56 x 56."""
        laterals = zip(self.sideways, levels, _SCALES, strict=True)
        fine, middle, coarse = (lateral(level / scale) for lateral, level, scale in laterals)
        x = self.mixed[2](coarse + self.inputs(inputs)[:, :, None, None])
        x = self.mixed[1](middle + _upsample(self.down[1](x)))
        x = self.mixed[0](fine + _upsample(self.down[0](x)))
        things = self.things(F.relu(x))
        x = F.relu(self.last(_upsample(F.relu(x))))
        images = self.images(x)
        return DenseImages(images[:, :1], F.normalize(images[:, 1:], dim=1), self.regions(x) + _upsample(things))

    @torch.inference_mode()
    def decode(self, levels: Sequence[Tensor], modality: str) -> DenseImages:
        """The images of B inputs of one modality of `SOURCES`, with 112 x 112 pixels."""
        inputs = torch.full((len(levels[0]),), SOURCES.index(modality), device=levels[0].device)
        small: DenseImages = self(levels, inputs)
        logits = _upsample(small.semseg)
        logits[:, 0] = -torch.inf  # the label for none was not trained
        return DenseImages(_upsample(small.depth), F.normalize(_upsample(small.normal), dim=1), logits)

    @torch.inference_mode()
    def decode_mirrored(self, levels: Sequence[Tensor], modality: str) -> DenseImages:
        """The images of one input (B = 1), averaged over the maps of its look and of the mirrored look (B = 2)."""
        images = self.decode(levels, modality)
        flipped = images.normal[1:].flip(-1) * images.normal.new_tensor([-1.0, 1.0, 1.0])[:, None, None]
        probabilities = images.semseg.softmax(dim=1)
        return DenseImages(
            (images.depth[:1] + images.depth[1:].flip(-1)) / 2,
            F.normalize(images.normal[:1] + flipped, dim=1),
            (probabilities[:1] + probabilities[1:].flip(-1)).log(),
        )

    def best_input(self, target: str, given: Collection[str]) -> str | None:
        """The modality of `given` with the smallest error for `target`; None if it decodes from none of them."""
        if target not in TARGETS:
            return None
        known = [name for name in SOURCES if name in given]
        row = self.errors[TARGETS.index(target)]
        return min(known, key=lambda name: float(row[SOURCES.index(name)]), default=None)


def mirror(modality: str, look: ByteArray) -> ByteArray:
    """Mirror the look uint8 (H, W, 3) of a value from left to right; normals change direction."""
    return flip_normals(look) if modality == "normal" else np.ascontiguousarray(look[:, ::-1])


def load_decoder(path: Path) -> DenseDecoder:
    """Load a decoder in evaluation mode. Raises `WeightsCorrupt` for a broken file or other shapes."""
    try:
        tensors = dequantize(load_file(path))
        decoder = DenseDecoder(len(tensors["regions.bias"]))
        shapes = decoder.state_dict()
        decoder.load_state_dict({name: tensor.view_as(shapes[name]) for name, tensor in tensors.items()})
    except (SafetensorError, KeyError, RuntimeError) as error:
        raise WeightsCorrupt(f"{path} is not a decoder of images: {error}") from error
    return decoder.eval().requires_grad_(False)


def _upsample(x: Tensor) -> Tensor:
    """Bilinear upsampling: (B, C, H, W) -> (B, C, 2 H, 2 W)."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
