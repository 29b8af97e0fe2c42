"""What an input's own encoder vector says about a target, by a linear map: the residual path around the network.

A ridge regression from the encoder's vector of a drawing already finds its picture better than the vector itself. It
is kept as a map of low rank, fitted in closed form before training; the network learns what it lacks, and how much of
each map to take.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from model.embedder import CheckpointMismatch, WeightsCorrupt, WeightsMissing
from model.quantized import dequantized

_MATRIX = re.compile(r"maps\.(.+)_to_(.+)\.(down|up)")


class Shortcut(nn.Module):
    """(own through the map) * `gain` + own * `share`, after the input's mean is taken off.

    Vectors of another width than the target's have no share. `gain` and `share` are trained.
    """

    mean: Tensor
    down: Tensor
    up: Tensor
    share: Tensor

    def __init__(self, width_in: int, width_out: int, rank: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width_in))
        self.register_buffer("down", torch.zeros(width_in, rank))
        self.register_buffer("up", torch.zeros(rank, width_out))
        self.gain = nn.Parameter(torch.tensor(1.0))
        if width_in == width_out:
            self.share = nn.Parameter(torch.tensor(0.5))
        else:
            self.register_buffer("share", torch.tensor(0.0))
        self._same_width = width_in == width_out

    def forward(self, own: Tensor) -> Tensor:
        """Unit rows (B, width_in), zero where the input is absent -> (B, width_out), zero there too."""
        present = own.any(dim=1, keepdim=True)
        centred = torch.where(present, own - self.mean, 0.0)
        mapped = centred @ self.down @ self.up * self.gain
        return mapped + centred * self.share if self._same_width else mapped

    @torch.no_grad()
    def fill(self, mean: Tensor, down: Tensor, up: Tensor) -> None:
        """Set the map: mean (width_in,), down (width_in, rank), up (rank, width_out)."""
        for buffer, value in ((self.mean, mean), (self.down, down), (self.up, up)):
            buffer.copy_(value)


class Shortcuts(nn.Module):
    """A shortcut from every encoded input to every space; `inputs` and `spaces` say how long their vectors are.

    A map has the rank that is asked for, or the shorter of its two vectors' lengths.
    """

    def __init__(self, inputs: Mapping[str, int], spaces: Mapping[str, int], rank: int) -> None:
        super().__init__()
        self.inputs, self.spaces = dict(inputs), dict(spaces)
        self.maps = nn.ModuleDict(
            {
                _name(key, space): Shortcut(width, length, min(rank, width, length))
                for key, width in inputs.items()
                for space, length in spaces.items()
            }
        )

    def forward(self, own: Mapping[str, Tensor], space: str) -> Tensor:
        """The sum over the inputs' own vectors (B, width): float32 (B, d) to be added to the prediction.

        `own` has at least one input; those without a map are passed over.
        """
        added = [self.of(key, space)(rows) for key, rows in own.items() if key in self.inputs]
        if not added:
            return next(iter(own.values())).new_zeros(len(next(iter(own.values()))), self.spaces[space])
        return torch.stack(added).sum(dim=0)

    def renamed(self, names: Mapping[str, str]) -> "Shortcuts":
        """The same with other names of the inputs; they share their tensors."""
        other = Shortcuts({names[key]: width for key, width in self.inputs.items()}, self.spaces, 1)
        for key in self.inputs:
            for space in self.spaces:
                other.maps[_name(names[key], space)] = self.of(key, space)
        return other

    @torch.no_grad()
    def of_rank(self, rank: int) -> "Shortcuts":
        """Those with at most `rank` directions a map, the ones in which its outputs vary most; they come last."""
        largest = max(self.of(key, space).down.shape[1] for key in self.inputs for space in self.spaces)
        other = Shortcuts(self.inputs, self.spaces, min(rank, largest))
        stored = self.state_dict()
        for name, kept in other.state_dict().items():
            cut = tuple(slice(-size, None) for size in kept.shape)
            kept.copy_(stored[name][cut])
        return other

    def of(self, key: str, space: str) -> Shortcut:
        """The map from one input to one space."""
        return cast(Shortcut, self.maps[_name(key, space)])


def load_shortcuts(path: Path) -> Shortcuts:
    """The shortcuts in a file, whose inputs, spaces and rank its tensors tell; matrices may be stored as int8.

    Raises `WeightsMissing`, `WeightsCorrupt`, `CheckpointMismatch`.
    """
    if not path.is_file():
        raise WeightsMissing(f"there is no weights file {path}")
    try:
        tensors = dequantized(load_file(path))
    except SafetensorError as error:
        raise WeightsCorrupt(f"{path} is no whole safetensors file: {error}") from error
    shortcuts = _of_shapes({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    try:
        shortcuts.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointMismatch(f"{path} holds no shortcuts: {' '.join(str(error).split())}") from error
    return shortcuts


def _of_shapes(shapes: Mapping[str, tuple[int, ...]]) -> Shortcuts:
    """Shortcuts to which tensors of these shapes belong, as far as they tell."""
    inputs, spaces, rank = dict[str, int](), dict[str, int](), 0
    for name, shape in shapes.items():
        if found := _MATRIX.fullmatch(name):
            key, space, side = found.groups()
            if side == "down":
                inputs[key], rank = shape[0], max(rank, shape[-1])
            else:
                spaces[space] = shape[-1]
    return Shortcuts(inputs, spaces, rank)


def _name(key: str, space: str) -> str:
    return f"{key}_to_{space}"
