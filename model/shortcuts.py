"""What an input's own encoder vector says about a target, by a fixed linear map: the residual path around the network.

A ridge regression from the encoder's vector of a drawing already finds its picture better than the vector itself. It
is kept as a map of low rank, fitted in closed form; the network learns what it lacks.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from model.embedder import FloatArray
from model.tiny import SEMANTIC, VISUAL

RANK = 96
# modality -> length of its own vector; palettes are encoded as pictures of stripes
INPUTS = {"rgb": 1280, "canny_edge": 1280, "caption": 384, "color_palette": 1280}
SPACES = {VISUAL: 1280, SEMANTIC: 384}


class Shortcut(nn.Module):
    """(own through the map) * `gain` + own * `share`, after the input's mean is taken off.

    Vectors of another width than the target's have no share. `gain` and `share` are set on development concepts.
    """

    mean: Tensor
    down: Tensor
    up: Tensor
    gain: Tensor
    share: Tensor

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width_in))
        self.register_buffer("down", torch.zeros(width_in, RANK))
        self.register_buffer("up", torch.zeros(RANK, width_out))
        self.register_buffer("gain", torch.tensor(1.0))
        self.register_buffer("share", torch.tensor(0.5 if width_in == width_out else 0.0))
        self._same_width = width_in == width_out

    def forward(self, own: Tensor) -> Tensor:
        """Unit rows (B, width_in), zero where the input is absent -> (B, width_out), zero there too."""
        present = own.any(dim=1, keepdim=True)
        centred = torch.where(present, own - self.mean, 0.0)
        mapped = centred @ self.down @ self.up * self.gain
        return mapped + centred * self.share if self._same_width else mapped


class Shortcuts(nn.Module):
    """A shortcut from every encoded input to every space."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.ModuleDict(
            {_name(i, s): Shortcut(INPUTS[i], width) for i in INPUTS for s, width in SPACES.items()}
        )

    def forward(self, own: Mapping[str, Tensor], space: str) -> Tensor:
        """The sum over the inputs' own vectors, by modality: float32 (B, d) to be added to the prediction."""
        return torch.stack([self.maps[_name(modality, space)](rows) for modality, rows in own.items()]).sum(dim=0)

    def scale(self, modality: str, space: str, gain: float, share: float) -> None:
        """Set how much one map and, where widths agree, the own vector itself add."""
        shortcut = self.maps[_name(modality, space)]
        shortcut.get_buffer("gain").fill_(gain)
        shortcut.get_buffer("share").fill_(share)

    @torch.no_grad()
    def fit(self, modality: str, space: str, own: FloatArray, wanted: FloatArray) -> None:
        """Set one map by ridge regression of `wanted` (n, d_out) on `own` (n, d_in), reduced to rank 96.

        The penalty is a tenth of the mean variance of the input; the rank keeps the directions in which the fitted
        outputs vary most.
        """
        shortcut = self.maps[_name(modality, space)]
        x, y = torch.from_numpy(own), torch.from_numpy(wanted)
        mean = x.mean(dim=0)
        x, y = x - mean, y - y.mean(dim=0)
        scatter = x.T @ x
        penalty = 0.1 * scatter.diagonal().mean() * torch.eye(len(scatter))
        weights = torch.linalg.solve(scatter + penalty, x.T @ y)
        _, axes = torch.linalg.eigh(weights.T @ scatter @ weights)
        kept = axes[:, -RANK:]
        for name, value in (("mean", mean), ("down", weights @ kept), ("up", kept.T)):
            shortcut.get_buffer(name).copy_(value)


def _name(modality: str, space: str) -> str:
    return f"{modality}_to_{space}"
