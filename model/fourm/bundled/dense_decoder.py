"""Depth, normals and regions from the image encoder's maps, without a pass of the network.

The 4M network sees a picture as 7 x 7 vectors and says which of 512 codes is likely at 14 x 14 places, which is enough
for walls and floors and too little for things. This decoder starts from the encoder's maps at strides 32, 16 and 8
instead. One set of weights serves every input that can be rendered as a picture; an embedding tells it which one it
sees. The last map has 56 x 56 places and is enlarged to images of 112 x 112 pixels.
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

from anyseek.model.checkpoints.quantized import dequantized
from anyseek.model.encoders.efficientnet import LEVELS
from anyseek.model.errors import WeightsCorrupt
from anyseek.model.fourm.images import flipped_normals
from anyseek.model.modalities.drawings import ByteArray

FILE = "dense_decoder.safetensors"
SEEN = ("rgb", "canny_edge", "depth", "normal", "semseg", "bounding_boxes")  # what it decodes from, in this order
TARGETS = ("depth", "normal", "semseg")  # what it decodes to
SIDE = 112  # pixels of a decoded image
_WIDTHS = (48, 80, 128)  # channels at strides 8, 16 and 32
_SIZES = (8.0, 6.0, 2.5)  # the usual size of numbers in these maps
_LAST = 32  # channels at 56 x 56 places
_NORMAL = 3


@dataclass(frozen=True)
class Decoded:
    """Images of B inputs, float32 (B, C, side, side), of the side that `DenseDecoder.forward` says.

    `depth` (C = 1) is in metres, roughly: pictures do not say how large rooms are. `normal` (C = 3) has unit length,
    `semseg` are logits of labels, 0 for none.
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
    `SEEN`: of several inputs the best one is used.
    """

    errors: Tensor

    def __init__(self, labels: int) -> None:
        super().__init__()
        fine, middle, coarse = _WIDTHS
        self.inputs = nn.Embedding(len(SEEN), coarse)
        self.sideways = nn.ModuleList(
            nn.Conv2d(channels, width, 1) for width, (_, channels, _) in zip(_WIDTHS, LEVELS, strict=True)
        )
        self.down = nn.ModuleList([nn.Conv2d(middle, fine, 1), nn.Conv2d(coarse, middle, 1)])
        self.mixed = nn.ModuleList(Residual(width) for width in _WIDTHS)
        self.last = nn.Conv2d(fine, _LAST, 3, padding=1)
        self.images = nn.Conv2d(_LAST, 1 + _NORMAL, 3, padding=1)
        self.regions = nn.Conv2d(_LAST, labels, 1)
        self.things = nn.Conv2d(fine, labels, 1)
        self.register_buffer("errors", torch.zeros(len(TARGETS), len(SEEN)))

    @property
    def labels(self) -> int:
        """The number of labels of regions, with none."""
        return self.regions.out_channels

    def forward(self, levels: Sequence[Tensor], inputs: Tensor) -> Decoded:
        """Maps of `EfficientNetLite0.levels` and `inputs` int64 (B,), numbers of `SEEN` -> images of 56 x 56."""
        seen = zip(self.sideways, levels, _SIZES, strict=True)
        fine, middle, coarse = (side(level / size) for side, level, size in seen)
        x = self.mixed[2](coarse + self.inputs(inputs)[:, :, None, None])
        x = self.mixed[1](middle + _doubled(self.down[1](x)))
        x = self.mixed[0](fine + _doubled(self.down[0](x)))
        things = self.things(F.relu(x))
        x = F.relu(self.last(_doubled(F.relu(x))))
        images = self.images(x)
        return Decoded(images[:, :1], F.normalize(images[:, 1:], dim=1), self.regions(x) + _doubled(things))

    @torch.inference_mode()
    def decoded(self, levels: Sequence[Tensor], modality: str) -> Decoded:
        """The images of B inputs of one modality of `SEEN`, with 112 x 112 pixels."""
        inputs = torch.full((len(levels[0]),), SEEN.index(modality), device=levels[0].device)
        small: Decoded = self(levels, inputs)
        logits = _doubled(small.semseg)
        logits[:, 0] = -torch.inf  # it never learned where nothing is
        return Decoded(_doubled(small.depth), F.normalize(_doubled(small.normal), dim=1), logits)

    @torch.inference_mode()
    def decoded_both_ways(self, levels: Sequence[Tensor], modality: str) -> Decoded:
        """The images of one input (B = 1), from the maps of its look and of its mirrored look (B = 2): their mean."""
        found = self.decoded(levels, modality)
        turned = found.normal[1:].flip(-1) * found.normal.new_tensor([-1.0, 1.0, 1.0])[:, None, None]
        likely = found.semseg.softmax(dim=1)
        return Decoded(
            (found.depth[:1] + found.depth[1:].flip(-1)) / 2,
            F.normalize(found.normal[:1] + turned, dim=1),
            (likely[:1] + likely[1:].flip(-1)).log(),
        )

    def best_input(self, target: str, given: Collection[str]) -> str | None:
        """The modality of `given` that shows `target` best; None where it decodes none of them."""
        if target not in TARGETS:
            return None
        known = [name for name in SEEN if name in given]
        row = self.errors[TARGETS.index(target)]
        return min(known, key=lambda name: float(row[SEEN.index(name)]), default=None)


def mirrored(modality: str, look: ByteArray) -> ByteArray:
    """The look uint8 (H, W, 3) of a value mirrored from left to right; normals point the other way then."""
    return flipped_normals(look) if modality == "normal" else np.ascontiguousarray(look[:, ::-1])


def load_decoder(path: Path) -> DenseDecoder:
    """Load a decoder for evaluation. Raises `WeightsCorrupt` for a broken file or one of other shapes."""
    try:
        tensors = dequantized(load_file(path))
        decoder = DenseDecoder(len(tensors["regions.bias"]))
        shapes = decoder.state_dict()
        decoder.load_state_dict({name: tensor.view_as(shapes[name]) for name, tensor in tensors.items()})
    except (SafetensorError, KeyError, RuntimeError) as error:
        raise WeightsCorrupt(f"{path} is not a decoder of images: {error}") from error
    return decoder.eval().requires_grad_(False)


def _doubled(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, 2 H, 2 W), interpolated."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
