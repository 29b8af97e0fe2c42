"""What an input's own encoder vector says about a target, by a linear map: the residual path around the network.

A ridge regression from the encoder's vector of a drawing already finds its picture better than the vector itself. A
map of low rank begins as one, fitted in closed form, and is trained further with the network, which learns what such
maps lack.
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

    Vectors of another width than the target's have no share. All but the mean is trained.
    """

    mean: Tensor
    share: Tensor

    def __init__(self, width_in: int, width_out: int, rank: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width_in))
        self.down = nn.Parameter(torch.zeros(width_in, rank))
        self.up = nn.Parameter(torch.zeros(rank, width_out))
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
        for own, value in ((self.mean, mean), (self.down, down), (self.up, up)):
            own.copy_(value)


class Shortcuts(nn.Module):
    """A shortcut from every encoded input to every space; `inputs` and `spaces` say how long their vectors are.

    A map has the rank that `ranks` says of its space, or the shorter of its two vectors' lengths.
    """

    def __init__(self, inputs: Mapping[str, int], spaces: Mapping[str, int], ranks: Mapping[str, int]) -> None:
        super().__init__()
        self.inputs, self.spaces = dict(inputs), dict(spaces)
        self.maps = nn.ModuleDict(
            {
                _name(key, space): Shortcut(width, length, min(ranks[space], width, length))
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
        other = Shortcuts(
            {names[key]: width for key, width in self.inputs.items()}, self.spaces, dict.fromkeys(self.spaces, 1)
        )
        for key in self.inputs:
            for space in self.spaces:
                other.maps[_name(names[key], space)] = self.of(key, space)
        return other

    @torch.no_grad()
    def joined(self, other: "Shortcuts") -> "Shortcuts":
        """These, and copies of those of `other` from inputs that these lack, to the same spaces.

        All to a space get the rank of the highest; what is added to a map of a lower one is zero.
        """
        pairs = [(one, key) for one in (self, other) for key in one.inputs]
        ranks = {space: max(one.of(key, space).down.shape[1] for one, key in pairs) for space in self.spaces}
        both = Shortcuts({**other.inputs, **self.inputs}, self.spaces, ranks)
        stored = {**other.state_dict(), **self.state_dict()}
        for name, kept in both.state_dict().items():
            kept[tuple(slice(-size, None) for size in stored[name].shape)] = stored[name]
        return both

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
    inputs, spaces, ranks = dict[str, int](), dict[str, int](), dict[str, int]()
    for name, shape in shapes.items():
        if found := _MATRIX.fullmatch(name):
            key, space, side = found.groups()
            if side == "down":
                inputs[key], ranks[space] = shape[0], max(ranks.get(space, 0), shape[-1])
            else:
                spaces[space] = shape[-1]
    return Shortcuts(inputs, spaces, ranks)


def _name(key: str, space: str) -> str:
    return f"{key}_to_{space}"
