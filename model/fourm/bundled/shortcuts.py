"""Linear maps from an input's own encoder vector to a target: a residual path around the network.

A ridge regression on the encoder's vector of a drawing already retrieves the picture better than the vector itself.
Each shortcut starts as such a low-rank map, fitted in closed form. It is then trained together with the network, which
learns what the maps miss.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from anyseek.model.checkpoints.quantized import dequantize
from anyseek.model.encoders.efficientnet import CHANNELS
from anyseek.model.errors import CheckpointMismatch, WeightsCorrupt, WeightsMissing

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
    projection.load_state_dict(dequantize(load_file(path)))
    return projection.requires_grad_(False)


_MATRIX = re.compile(r"maps\.(.+)_to_(.+)\.(down|up)")


class Shortcut(nn.Module):
    """Low-rank map of a centred input vector x: x @ down @ up * `gain` + x * `share`.

    `share` is 0 if input and target differ in width. Everything except the mean is trained.
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
    """A shortcut from every encoded input to every space; `inputs` and `spaces` give the widths of their vectors.

    A map has its space's rank in `ranks`, or the shorter of its two vectors' lengths.
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

        `own` has at least one input; inputs without a map are ignored.
        """
        added = [self.shortcut(key, space)(rows) for key, rows in own.items() if key in self.inputs]
        if not added:
            return next(iter(own.values())).new_zeros(len(next(iter(own.values()))), self.spaces[space])
        return torch.stack(added).sum(dim=0)

    def renamed(self, names: Mapping[str, str]) -> "Shortcuts":
        """These shortcuts with inputs renamed; tensors are shared."""
        other = Shortcuts(
            {names[key]: width for key, width in self.inputs.items()}, self.spaces, dict.fromkeys(self.spaces, 1)
        )
        for key in self.inputs:
            for space in self.spaces:
                other.maps[_name(names[key], space)] = self.shortcut(key, space)
        return other

    @torch.no_grad()
    def merge(self, other: "Shortcuts") -> "Shortcuts":
        """These shortcuts, plus copies of those in `other` from further inputs to the same spaces.

        All maps to a space get its highest rank; maps of lower rank are padded with zeros.
        """
        pairs = [(shortcuts, key) for shortcuts in (self, other) for key in shortcuts.inputs]
        ranks = {
            space: max(shortcuts.shortcut(key, space).down.shape[1] for shortcuts, key in pairs)
            for space in self.spaces
        }
        both = Shortcuts({**other.inputs, **self.inputs}, self.spaces, ranks)
        stored = {**other.state_dict(), **self.state_dict()}
        for name, tensor in both.state_dict().items():
            tensor[tuple(slice(-size, None) for size in stored[name].shape)] = stored[name]
        return both

    def shortcut(self, key: str, space: str) -> Shortcut:
        """The shortcut from one input to one space."""
        return cast(Shortcut, self.maps[_name(key, space)])


def load_shortcuts(path: Path) -> Shortcuts:
    """Load shortcuts; inputs, spaces and ranks follow from the file's tensors. Matrices may be stored as int8.

    Raises `WeightsMissing`, `WeightsCorrupt`, `CheckpointMismatch`.
    """
    if not path.is_file():
        raise WeightsMissing(f"there is no weights file {path}")
    try:
        tensors = dequantize(load_file(path))
    except SafetensorError as error:
        raise WeightsCorrupt(f"{path} is not a complete safetensors file: {error}") from error
    shortcuts = _from_shapes({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    try:
        shortcuts.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointMismatch(f"{path} holds no shortcuts: {' '.join(str(error).split())}") from error
    return shortcuts


def _from_shapes(shapes: Mapping[str, tuple[int, ...]]) -> Shortcuts:
    """Uninitialised shortcuts for a state dict of these shapes."""
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
