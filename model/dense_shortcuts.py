"""What an input's map says of an image by a linear map: the residual path around a network that predicts its tokens.

What a picture says of the depth in it lies along few directions of its map. A ridge regression finds these at once,
where a small network would need many more samples. So a map of low rank is fitted, in closed form, to what the expected
codes of the finished network lack, as `model.shortcuts` is for vectors.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.embedder import WeightsCorrupt
from model.quantized import dequantized, quantized

_NAME = re.compile(r"(.+)_from_(.+)\.(down|up|bias|explained)")


@dataclass(frozen=True)
class DenseShortcut:
    """From a map of p numbers by r directions to the n numbers of all codes of an image.

    `down` float32 (r, p), `up` (r, n), `bias` (n,). `explained` is the share of what the network lacks that it adds, on
    validation samples: at most 1.
    """

    down: Tensor
    up: Tensor
    bias: Tensor
    explained: Tensor

    def __call__(self, maps: Tensor) -> Tensor:
        """Maps (B, C, h, w), of whose channels the first ones count -> (B, n), to be added to the codes."""
        return self.seen(maps) @ self.down.T @ self.up + self.bias

    def seen(self, maps: Tensor) -> Tensor:
        """The numbers (B, p) that it takes of maps (B, C, h, w)."""
        channels = self.down.shape[1] // (maps.shape[2] * maps.shape[3])
        return maps[:, :channels].flatten(1)


DenseShortcuts = Mapping[str, Mapping[str, DenseShortcut]]  # by what is predicted and by the input, modalities both


def best_of(shortcuts: Mapping[str, DenseShortcut], maps: Mapping[str, Tensor]) -> Tensor | None:
    """What the input that explains most of those with a map adds, (B, n); None where none of them has a shortcut.

    What several add cannot be summed: each was fitted to all that the network lacks.
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
    """Those in a file. Raises `WeightsCorrupt` where it is not whole, or one lacks a part or is of two shapes."""
    try:
        tensors = dequantized(load_file(path))
    except SafetensorError as error:
        raise WeightsCorrupt(f"{path} is no whole safetensors file: {error}") from error
    parts: dict[tuple[str, str], dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if not (found := _NAME.fullmatch(name)):
            raise WeightsCorrupt(f"{path} has a tensor {name}, which is no part of a shortcut to an image")
        target, given, part = found.groups()
        parts.setdefault((target, given), {})[part] = tensor
    shortcuts: dict[str, dict[str, DenseShortcut]] = {}
    for (target, given), one in parts.items():
        if one.keys() != DenseShortcut.__dataclass_fields__.keys() or not _fit_together(**one):
            raise WeightsCorrupt(f"{path} has no whole shortcut to {target} from {given}")
        shortcuts.setdefault(target, {})[given] = DenseShortcut(**one)
    return shortcuts


def _fit_together(down: Tensor, up: Tensor, bias: Tensor, explained: Tensor) -> bool:
    ranks = down.ndim == up.ndim == 2 and len(down) == len(up)
    return ranks and bias.shape == up.shape[1:] and explained.numel() == 1


def fitted(seen: Tensor, lacking: Mapping[str, Tensor], rank: int) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """From what is seen of m samples (m, p) to what they lack (m, n): by name `down` (r, p), `up` (r, n), `bias` (n,).

    Ridge regressions, of which the `rank` directions are kept along which outputs vary most; the penalty is the mean
    squared length of what is seen.
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
