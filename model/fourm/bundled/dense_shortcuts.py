"""Linear maps from an input's feature map to an image: a residual path around a network that predicts image tokens.

A picture's depth depends on only a few directions of its feature map. A ridge regression finds these directly, where a
small network would need many more samples. Each shortcut is a low-rank map, fitted in closed form to the error of the
finished network's expected codes. `model.fourm.bundled.shortcuts` does the same for vectors.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.checkpoints.quantized import dequantized, quantized
from model.errors import WeightsCorrupt

_NAME = re.compile(r"(.+)_from_(.+)\.(down|up|bias|explained)")


@dataclass(frozen=True)
class DenseShortcut:
    """Maps a feature map of p numbers through r directions to the n numbers of all codes of an image.

    `down` float32 (r, p), `up` (r, n), `bias` (n,). `explained` is the share of the network's error that the shortcut
    explains on validation samples: at most 1.
    """

    down: Tensor
    up: Tensor
    bias: Tensor
    explained: Tensor

    def __call__(self, maps: Tensor) -> Tensor:
        """Maps (B, C, h, w), of whose channels the first ones count -> (B, n), to be added to the codes."""
        return self.seen(maps) @ self.down.T @ self.up + self.bias

    def seen(self, maps: Tensor) -> Tensor:
        """The numbers (B, p) that the shortcut uses of maps (B, C, h, w)."""
        channels = self.down.shape[1] // (maps.shape[2] * maps.shape[3])
        return maps[:, :channels].flatten(1)


DenseShortcuts = Mapping[str, Mapping[str, DenseShortcut]]  # by what is predicted and by the input, modalities both


def best_of(shortcuts: Mapping[str, DenseShortcut], maps: Mapping[str, Tensor]) -> Tensor | None:
    """The contribution (B, n) of the input with a map that explains most; None where no such input has a shortcut.

    Contributions of several inputs cannot be summed: each was fitted to the network's whole error.
    """
    known = shortcuts.keys() & maps.keys()
    if not known:
        return None
    best = max(sorted(known), key=lambda name: float(shortcuts[name].explained))
    return shortcuts[best](maps[best])


def save_dense_shortcuts(shortcuts: DenseShortcuts, path: Path) -> None:
    """Write them as int8. Raises `WeightsCorrupt` for numbers that int8 cannot hold."""
    tensors = {
        f"{target}_from_{name}.{part}": tensor
        for target, by_input in shortcuts.items()
        for name, shortcut in by_input.items()
        for part, tensor in vars(shortcut).items()
    }
    save_file(quantized(tensors), path)


def load_dense_shortcuts(path: Path) -> DenseShortcuts:
    """Load shortcuts. Raises `WeightsCorrupt` for a broken file, a missing part or shapes that disagree."""
    try:
        tensors = dequantized(load_file(path))
    except SafetensorError as error:
        raise WeightsCorrupt(f"{path} is not a complete safetensors file: {error}") from error
    parts: dict[tuple[str, str], dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if not (found := _NAME.fullmatch(name)):
            raise WeightsCorrupt(f"{path} has a tensor {name}, which is not part of a shortcut to an image")
        target, given, part = found.groups()
        parts.setdefault((target, given), {})[part] = tensor
    shortcuts: dict[str, dict[str, DenseShortcut]] = {}
    for (target, given), named in parts.items():
        if named.keys() != DenseShortcut.__dataclass_fields__.keys() or not _fit_together(**named):
            raise WeightsCorrupt(f"{path} has only a part of the shortcut from {given} to {target}")
        shortcuts.setdefault(target, {})[given] = DenseShortcut(**named)
    return shortcuts


def _fit_together(down: Tensor, up: Tensor, bias: Tensor, explained: Tensor) -> bool:
    ranks = down.ndim == up.ndim == 2 and len(down) == len(up)
    return ranks and bias.shape == up.shape[1:] and explained.numel() == 1


def fitted(seen: Tensor, lacking: Mapping[str, Tensor], rank: int) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """Fit m samples' maps (m, p) to their errors (m, n); returns by name `down` (r, p), `up` (r, n), `bias` (n,).

    A ridge regression, reduced to the `rank` directions along which its outputs vary most. The penalty is the mean
    squared length of the inputs.
    """
    mean = seen.mean(dim=0)
    x = seen - mean
    scatter = x.T @ x
    scatter.diagonal().add_(x.square().sum(dim=1).mean())
    factor = torch.linalg.cholesky(scatter)
    found = {}
    for name, y in lacking.items():
        mean_y = y.mean(dim=0)
        down, up = _reduced(x, torch.cholesky_solve(x.T @ (y - mean_y), factor), rank)
        found[name] = down, up, mean_y - mean @ down.T @ up
    return found


def _reduced(x: Tensor, weights: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Weights (p, n) as `down` (r, p) and `up` (r, n), by the directions in which outputs for x (m, p) vary most."""
    outputs = x @ weights
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # they are found by random projections
        _, _, directions = torch.svd_lowrank(outputs, min(4 * rank, *outputs.shape), niter=4)
    up = directions[:, :rank].T.contiguous()
    return (weights @ up.T).T.contiguous(), up
