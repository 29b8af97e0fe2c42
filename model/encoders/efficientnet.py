"""EfficientNet-Lite0: takes pictures and returns a 7x7 feature map, a pooled vector and class logits.

The network is that of Tan and Le, "EfficientNet" (2019), in its Lite variant: no squeeze-and-excitation, ReLU6
everywhere. It is used for inference only. So converting the weights folds batch norms into the convolutions, and the
network overwrites its intermediate results in place.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from anyseek.model.checkpoints.files import shapes_only
from anyseek.model.compute.placement import moved

IMAGE_SIZE = 224
CHANNELS = 1280
CLASSES = 1000
FINE_GRID, FINE_CHANNELS = 14, 112  # of the map that the last stages begin with
FINE_BLOCKS = 11  # blocks before it
COARSE, COARSE_BLOCKS = (192, 7, 7), 14  # a map at stride 32, and the blocks before it
PARTS = 4  # a side of the grid of parts that this map is averaged in
LEVELS = ((28, 40, 5), (14, 112, 11), (7, 320, 16))  # maps at strides 8, 16 and 32: side, channels, blocks before it
_BATCH_NORM_EPSILON = 1e-3
_CLASS_NAMES = Path(__file__).with_name("imagenet_classes.txt")

# kernel, stride, expansion, output channels, repeats
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)


@dataclass(frozen=True)
class Features:
    """The encoder's output for B pictures, float32.

    `grid` (B, 1280, 7, 7), `pooled` (B, 1280), `logits` (B, 1000), `parts` (B, 112, 4, 4): the map at stride 16,
    averaged in 4 x 4 overlapping parts, and `coarse` (B, 192, 7, 7), the map that the last two blocks begin with.
    """

    grid: Tensor
    pooled: Tensor
    logits: Tensor
    parts: Tensor
    coarse: Tensor


ImageEncoder = Callable[[Tensor], Features]  # of float32 (B, 3, 224, 224)


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's "same" padding: the odd pixel of padding goes right and below.

    A ReLU6 follows if `clamped`.
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1, clamped: bool = False
    ) -> None:
        super().__init__(channels_in, channels_out, kernel, stride, groups=groups)
        self.clamped = clamped

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        tall, wide = self.padding_of(x.shape[2]), self.padding_of(x.shape[3])
        if tall % 2 == wide % 2 == 0:  # without a copy
            x = F.conv2d(x, self.weight, self.bias, self.stride, (tall // 2, wide // 2), 1, self.groups)
        else:
            x = F.pad(x, (wide // 2, wide - wide // 2, tall // 2, tall - tall // 2))
            x = F.conv2d(x, self.weight, self.bias, self.stride, 0, 1, self.groups)
        return F.relu6(x, inplace=True) if self.clamped else x

    def padding_of(self, size: int) -> int:
        """The pixels of padding, both sides together, of an input of `size` pixels."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        return max((-(-size // stride) - 1) * stride + kernel - size, 0)


class InvertedBottleneck(nn.Module):
    """MBConv: widen by a 1x1 convolution, filter each channel, narrow again; a residual where shapes allow."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels_in * expansion
        self.expand = SameConv(channels_in, wide, 1, clamped=True) if expansion != 1 else None
        self.depthwise = SameConv(wide, wide, kernel, stride, groups=wide, clamped=True)
        self.project = SameConv(wide, channels_out, 1)
        self.residual = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        y = self.project(self.depthwise(x if self.expand is None else self.expand(x)))
        out: Tensor = y.add_(x) if self.residual else y
        return out


class EfficientNetLite0(nn.Module):
    """The encoder; 4.6 M parameters after folding."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, 32, 3, 2, clamped=True)
        blocks, channels = [], 32
        for kernel, stride, expansion, channels_out, repeats in _STAGES:
            for index in range(repeats):
                first = index == 0
                blocks.append(InvertedBottleneck(channels, channels_out, kernel, stride if first else 1, expansion))
                channels = channels_out
        self.blocks = nn.ModuleList(blocks)
        self.head = SameConv(channels, CHANNELS, 1, clamped=True)
        self.classifier = nn.Linear(CHANNELS, CLASSES)

    def forward(self, pixels: Tensor) -> Features:
        """`pixels` float32 (B, 3, 224, 224) with values (x - 127) / 128 for bytes x, on any device."""
        return self.finish(self.begin(pixels))

    def begin(self, pixels: Tensor) -> Tensor:
        """The first stages: pixels as `forward` takes them -> the map at stride 16, (B, 112, 14, 14)."""
        x = self._stem(pixels)
        for block in self.blocks[:FINE_BLOCKS]:
            x = block(x)
        return x

    def levels(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Pixels as `forward` takes them -> the maps of `LEVELS`, float32 (B, C, side, side) each, the finest first."""
        x = self._stem(pixels)
        ends, maps = {blocks for _, _, blocks in LEVELS}, []
        for number, block in enumerate(self.blocks, start=1):
            x = block(x)
            if number in ends:
                maps.append(x)
        return tuple(maps)

    def _stem(self, pixels: Tensor) -> Tensor:
        here = moved(pixels, self.classifier.weight.device)
        x: Tensor = self.stem(here.contiguous(memory_format=torch.channels_last))
        return x

    def finish(self, fine: Tensor) -> Features:
        """The last stages, from what `begin` returns."""
        coarse = fine
        for block in self.blocks[FINE_BLOCKS:COARSE_BLOCKS]:
            coarse = block(coarse)
        x = coarse
        for block in self.blocks[COARSE_BLOCKS:]:
            x = block(x)
        grid = self.head(x)
        pooled = grid.mean(dim=(2, 3))
        return Features(grid, pooled, self.classifier(pooled), parts_of(fine), coarse)


def parts_of(fine: Tensor) -> Tensor:
    """The map at stride 16 (B, C, 14, 14) averaged in 4 x 4 overlapping parts: (B, C, 4, 4)."""
    return F.adaptive_avg_pool2d(fine, PARTS)


def convert(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the published `.pth` under our names, batch norms folded into the convolutions.

    Raises `KeyError` if a tensor is missing.
    """
    pairs = [("stem", "_conv_stem", "_bn0"), ("head", "_conv_head", "_bn1")]
    for index in range(sum(stage[4] for stage in _STAGES)):
        ours, theirs = f"blocks.{index}", f"_blocks.{index}"
        if index > 0:
            pairs.append((f"{ours}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0"))
        pairs.append((f"{ours}.depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1"))
        pairs.append((f"{ours}.project", f"{theirs}._project_conv", f"{theirs}._bn2"))
    tensors = {"classifier.weight": published["_fc.weight"], "classifier.bias": published["_fc.bias"]}
    for ours, convolution, norm in pairs:
        scale = published[f"{norm}.weight"] / (published[f"{norm}.running_var"] + _BATCH_NORM_EPSILON).sqrt()
        tensors[f"{ours}.weight"] = published[f"{convolution}.weight"] * scale[:, None, None, None]
        tensors[f"{ours}.bias"] = published[f"{norm}.bias"] - published[f"{norm}.running_mean"] * scale
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def load_efficientnet(path: Path) -> EfficientNetLite0:
    """The encoder with the converted weights at `path`, in evaluation mode and channels-last."""
    with shapes_only():  # drawing random numbers for what the file replaces takes longer than reading it
        network = EfficientNetLite0()
    network.load_state_dict(load_file(path), assign=True)
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def class_names() -> list[str]:
    """The 1,000 ImageNet classes, in the encoder's order."""
    return _CLASS_NAMES.read_text(encoding="utf-8").splitlines()


def class_sentences() -> list[str]:
    """ "a photo of a CLASS" for the 1,000 ImageNet classes, in the encoder's order."""
    return [f"a photo of a {name}" for name in class_names()]


def conse(logits: Tensor, class_vectors: Tensor, temperature: float = 2.0) -> Tensor:
    """Sentence vectors of pictures by ConSE (Norouzi et al., arXiv 1312.5650): unit (B, 384).

    The mean of the class sentences' vectors (1000, 384) by the probabilities of the logits (B, 1000).
    """
    return F.normalize((logits / temperature).softmax(dim=1) @ class_vectors, dim=1)
