"""EfficientNet-Lite0 compiled by OpenVINO (`pip install 'anyseek[openvino]'`), which is faster than by torch.

The graph is written down here operation by operation: OpenVINO's own conversion of a torch network takes seconds.
"""

import importlib.util
import threading
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from anyseek.model.compute.processors import SHARING
from anyseek.model.encoders.efficientnet import (
    FINE_BLOCKS,
    IMAGE_SIZE,
    EfficientNetLite0,
    Features,
    InvertedBottleneck,
    SameConv,
    parts_of,
)
from anyseek.model.lazy import Once

_CEILING = 6.0  # of ReLU6
_PLACES = (2, 3)  # the axes of height and width


def is_installed() -> bool:
    """Whether the package openvino is there; it is not imported."""
    return importlib.util.find_spec("openvino") is not None


class Division(NamedTuple):
    """How many requests run at once, each with how many threads."""

    streams: int
    threads: int


def division_for(threads: int, shared: int | None) -> Division:
    """For a pass with `threads` of the `shared` ones, which are None as long as they are not set.

    A pass that has a part of them takes a power of two: compiled networks are kept, so there must be few.
    """
    if shared is None or threads >= shared:
        return Division(1, threads)
    least = 1 << (threads.bit_length() - 1)
    return Division(shared // least, least)


class CompiledEncoder:
    """Computes the same as `network`, float32 on the CPU, up to rounding; safe for several threads.

    It uses as many threads as torch does where it is called, or the next power of two below, and is compiled once for
    each such number: for as many requests at a time as divide the process's threads
    (`anyseek.model.compute.processors`), so that none waits for another. While one number is compiled, only pictures
    with this number wait.
    """

    def __init__(self, network: EfficientNetLite0) -> None:
        """Raises `ImportError` or `RuntimeError` where OpenVINO cannot be used."""
        self._model = _graph(network)
        self._lock = threading.Lock()
        self._compiled: dict[Division, Once[Any]] = {}
        self._here()

    def __call__(self, pixels: Tensor) -> Features:
        """The features of float32 (B, 3, 224, 224)."""
        found = self._here().infer_new_request([pixels.contiguous().numpy()])
        fine, grid, pooled, logits = (torch.from_numpy(array) for array in found.to_tuple())
        return Features(grid, pooled, logits, parts_of(fine))

    def _here(self) -> Any:
        """What is compiled for the calling thread."""
        division = division_for(torch.get_num_threads(), SHARING.threads)
        with self._lock:
            compiled = self._compiled.setdefault(division, Once(partial(self._compile, division)))
        return compiled()

    def _compile(self, division: Division) -> Any:
        import openvino

        settings = {
            "INFERENCE_NUM_THREADS": division.streams * division.threads,
            "NUM_STREAMS": division.streams,
            "INFERENCE_PRECISION_HINT": "f32",  # or processors with AMX would round to bfloat16
        }
        return openvino.Core().compile_model(self._model, "CPU", settings)


def _graph(network: EfficientNetLite0) -> Any:
    """The network for any number of pictures: the map at stride 16, the grid, the pooled vector and the logits."""
    import openvino
    from openvino import opset13 as operations

    pixels = operations.parameter([-1, 3, IMAGE_SIZE, IMAGE_SIZE], np.float32)
    x, side = _convolution(network.stem, pixels, IMAGE_SIZE)
    fine = x
    for number, block in enumerate(network.blocks, start=1):
        assert isinstance(block, InvertedBottleneck), "a fused network has its weights in another layout"
        x, side = _bottleneck(block, x, side)
        if number == FINE_BLOCKS:
            fine = x
    grid, _ = _convolution(network.head, x, side)
    pooled = operations.reduce_mean(grid, np.array(_PLACES), False)
    classifier = network.classifier
    product = operations.matmul(pooled, _constant(classifier.weight), False, True)
    logits = operations.add(product, _constant(classifier.bias[None]))
    return openvino.Model([fine, grid, pooled, logits], [pixels], "efficientnet-lite0")


def _bottleneck(block: InvertedBottleneck, x: Any, side: int) -> tuple[Any, int]:
    """A block of `x` with that many pixels a side, and the side of what it gives."""
    from openvino import opset13 as operations

    wide = x if block.expand is None else _convolution(block.expand, x, side)[0]
    filtered, smaller = _convolution(block.depthwise, wide, side)
    narrow, _ = _convolution(block.project, filtered, smaller)
    return operations.add(narrow, x) if block.residual else narrow, smaller


def _convolution(conv: SameConv, x: Any, side: int) -> tuple[Any, int]:
    """A layer of `x` with that many pixels a side, and the side of what it gives."""
    from openvino import opset13 as operations

    padding, strides, weight = conv.padding_of(side), list(conv.stride), conv.weight
    before, after = [padding // 2] * 2, [padding - padding // 2] * 2
    if conv.groups > 1:
        # (out, in / groups, k, k) -> (groups, out / groups, in / groups, k, k)
        grouped = _constant(weight.view(conv.groups, -1, *weight.shape[1:]))
        y = operations.group_convolution(x, grouped, strides, before, after, [1, 1])
    else:
        y = operations.convolution(x, _constant(weight), strides, before, after, [1, 1])
    assert conv.bias is not None
    y = operations.add(y, _constant(conv.bias[None, :, None, None]))
    return operations.clamp(y, 0.0, _CEILING) if conv.clamped else y, -(-side // strides[0])


def _constant(values: Tensor) -> Any:
    from openvino import opset13 as operations

    return operations.constant(values.detach().contiguous().numpy())
