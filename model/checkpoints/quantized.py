"""Store weights at a quarter of their size: matrices as int8 with a scale for each row, other floats as float16.

A row of a tensor lies along its last dimension. A number x of a row with scale s is stored as round(x / s) and restored
within s / 2. The scale of the tensor `name` is the tensor `name:scale`.

Some tables have many rows that need not be distinct; one stored row stands for all of them. For example, a network
has a row for every id of its vocabulary in the tables of each text modality, though a palette uses only a few hundred
ids. Such a table is stored as `name` (k + 1, n), its k used rows and the mean of all others, and `name:rows` int16
(rows,), which maps each row of the table to its stored row.
"""

from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor

from anyseek.model.errors import WeightsCorrupt

SCALE = ":scale"
MIN_ELEMENTS = 4096  # of a tensor that is stored as int8; smaller ones would save nothing worth the error
_MAX_INT8 = 127

ROWS = ":rows"
_MAX_STORED = torch.iinfo(torch.int16).max


def quantize(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Quantise tensors for storage.

    Floats of 2 or more dimensions and 4,096 or more elements become int8 `name` and float16 `name:scale` of shape
    (rows ...); other floats become float16, other types stay unchanged. Raises `WeightsCorrupt` for numbers that are
    not finite or too large for that: 65,504 in float16, about 8 million in int8.
    """
    stored: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            stored[name] = tensor.contiguous()
        elif tensor.ndim >= 2 and tensor.numel() >= MIN_ELEMENTS:
            stored[name], stored[name + SCALE] = _quantize_rows(name, tensor.float())
        else:
            stored[name] = tensor.half().contiguous()
            if not stored[name].isfinite().all():
                raise _too_large(name)
    return stored


def dequantize(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Restore the tensors given to `quantized`, floats as float32. Also accepts tensors that were never quantised.

    Raises `WeightsCorrupt` if a tensor and its storage tensors do not match.
    """
    restored = {name: restore_tensor(name, tensors.__getitem__, tensors) for name in tensor_names(tensors)}
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in restored.items()}


def tensor_names(names: Collection[str]) -> list[str]:
    """The names of tensors, without the scales and row maps of others."""
    about = {name + ending for name in names for ending in (SCALE, ROWS)}
    return [name for name in names if name not in about]


def restore_tensor(name: str, read: Callable[[str], Tensor], names: Collection[str]) -> Tensor:
    """Restore one of the stored tensors `names`: int8 to float32, tables to all rows. Raises `WeightsCorrupt`."""
    tensor = read(name)
    if name + SCALE in names:
        scale = read(name + SCALE)
        if tensor.dtype != torch.int8 or scale.shape != tensor.shape[:-1]:
            raise WeightsCorrupt(
                f"the tensor {name} is {tensor.dtype} of shape {tuple(tensor.shape)} with a scale of shape "
                f"{tuple(scale.shape)}; a scale has a number for each row of int8"
            )
        tensor = tensor.float() * scale.float()[..., None]
    if name + ROWS in names:
        rows = read(name + ROWS)
        count = len(tensor)
        if rows.dtype != torch.int16 or rows.ndim != 1 or not rows.numel() or rows.min() < 0 or rows.max() >= count:
            raise WeightsCorrupt(
                f"the tensor {name} has {count} rows; {name}{ROWS} must be int16 numbers of these, one for each row"
            )
        tensor = tensor[rows.long()]
    return tensor


def _quantize_rows(name: str, tensor: Tensor) -> tuple[Tensor, Tensor]:
    """int8 and the scales: the smallest of float16 with which the largest number of a row is at most 127."""
    wanted = tensor.abs().amax(dim=-1).double() / _MAX_INT8
    scale = wanted.half()
    # rounding to nearest may make a scale too small; the next larger float16 has the next larger bits
    scale = torch.where(scale.double() < wanted, (scale.view(torch.int16) + 1).view(torch.float16), scale)
    if not scale.isfinite().all():
        raise _too_large(name)
    divisor = torch.where(scale > 0, scale.float(), 1.0)[..., None]
    return (tensor / divisor).round().to(torch.int8), scale


def _too_large(name: str) -> WeightsCorrupt:
    return WeightsCorrupt(f"the tensor {name} has numbers that are not finite or too large to be stored in few bits")


def share_rows(tensors: Mapping[str, Tensor], distinct_rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Reduce each table in `distinct_rows` to those rows, int64 (k,), and one shared row for the rest.

    Names without a tensor, tables whose rows are all distinct and tables with more than 32,766 such rows stay as
    they are.
    """
    stored = dict(tensors)
    for name, rows in distinct_rows.items():
        table = tensors.get(name)
        if table is not None and len(rows) < min(len(table), _MAX_STORED):
            others = torch.ones(len(table), dtype=torch.bool)
            others[rows] = False
            numbers = torch.full((len(table),), len(rows), dtype=torch.int16)
            numbers[rows] = torch.arange(len(rows), dtype=torch.int16)
            stored[name] = torch.cat((table[rows], table[others].mean(dim=0, keepdim=True)))
            stored[name + ROWS] = numbers
    return stored
