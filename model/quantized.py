"""Weights at a quarter of their size: matrices as int8 with a scale for each row, other floats as float16.

A row of a tensor is what lies along its last dimension. A number x of a row with scale s is stored as round(x / s) and
comes back within s / 2; the scale of the tensor `name` is the tensor `name:scale`. What `model.shared_rows` stores is
restored with the rest.
"""

from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor

from model.errors import WeightsCorrupt
from model.shared_rows import ROWS, spread_rows

SCALE = ":scale"
LEAST_ELEMENTS = 4096  # of a tensor that is stored as int8; smaller ones would save nothing worth the error
_LARGEST = 127


def quantized(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as they are stored.

    Floats of 2 or more dimensions and 4,096 or more elements become int8 `name` and float16 `name:scale` of shape
    (rows ...); other floats become float16, whatever is no float stays. Raises `WeightsCorrupt` for numbers that are
    not finite or too large for that: 65,504 in float16, about 8 million in int8.
    """
    stored: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            stored[name] = tensor.contiguous()
        elif tensor.ndim >= 2 and tensor.numel() >= LEAST_ELEMENTS:
            stored[name], stored[name + SCALE] = _rounded(name, tensor.float())
        else:
            stored[name] = _halved(name, tensor)
    return stored


def dequantized(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that `quantized` was given, floats as float32; tensors that were never quantized are taken too.

    Raises `WeightsCorrupt` where a tensor and what says how it is stored do not belong together.
    """
    restored = {name: restored_tensor(name, tensors.__getitem__, tensors) for name in whole_names(tensors)}
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in restored.items()}


def whole_names(names: Collection[str]) -> list[str]:
    """The names of tensors without those that only say how another one is stored."""
    return [name for name in names if not any(_is_about(name, ending, names) for ending in (SCALE, ROWS))]


def restored_tensor(name: str, read: Callable[[str], Tensor], names: Collection[str]) -> Tensor:
    """One of the stored tensors `names` as it was: from int8 float32, all rows of a table. Raises `WeightsCorrupt`."""
    tensor = read(name)
    if name + SCALE in names:
        tensor = _scaled(name, tensor, read(name + SCALE))
    return spread_rows(name, tensor, read(name + ROWS)) if name + ROWS in names else tensor


def _is_about(name: str, ending: str, names: Collection[str]) -> bool:
    return name.endswith(ending) and name.removesuffix(ending) in names


def _scaled(name: str, rounded: Tensor, scale: Tensor) -> Tensor:
    """int8 (rows ..., n) and a scale (rows ...) -> float32 (rows ..., n). Raises `WeightsCorrupt`."""
    if rounded.dtype != torch.int8 or scale.shape != rounded.shape[:-1]:
        raise WeightsCorrupt(
            f"the tensor {name} is {rounded.dtype} of shape {tuple(rounded.shape)} with a scale of shape "
            f"{tuple(scale.shape)}; a scale has a number for each row of int8"
        )
    return rounded.float() * scale.float()[..., None]


def _rounded(name: str, tensor: Tensor) -> tuple[Tensor, Tensor]:
    """int8 and the scales: the smallest of float16 with which the largest number of a row is at most 127."""
    wanted = tensor.abs().amax(dim=-1).double() / _LARGEST
    scale = wanted.half()
    # rounded to the nearest a scale may be too small; the next larger float16 has the next larger bits
    scale = torch.where(scale.double() < wanted, (scale.view(torch.int16) + 1).view(torch.float16), scale)
    if not scale.isfinite().all():
        raise _too_large(name)
    divisor = torch.where(scale > 0, scale.float(), 1.0)[..., None]
    return (tensor / divisor).round().to(torch.int8), scale


def _halved(name: str, tensor: Tensor) -> Tensor:
    halved = tensor.half().contiguous()
    if not halved.isfinite().all():
        raise _too_large(name)
    return halved


def _too_large(name: str) -> WeightsCorrupt:
    return WeightsCorrupt(f"the tensor {name} has numbers that are not finite or too large to be stored in few bits")
