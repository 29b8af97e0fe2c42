"""What a training run is at a step: parameters, optimiser, averages; in one safetensors file, written atomically."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

_DECAY = 0.995


class Averages:
    """Exponential moving averages of parameters; they follow faster in the first steps."""

    def __init__(self, trained: Mapping[str, nn.Parameter]) -> None:
        self.values = {name: p.detach().clone() for name, p in trained.items()}

    @torch.no_grad()
    def update(self, trained: Mapping[str, nn.Parameter], step: int) -> None:
        """Move towards the parameters after `step` (from 0)."""
        weight = 1 - min(_DECAY, (step + 1) / (step + 10))
        for name, parameter in trained.items():
            self.values[name].lerp_(parameter, weight)

    @contextmanager
    def applied(self, trained: Mapping[str, nn.Parameter]) -> Iterator[None]:
        """The parameters hold the averages inside, what they were afterwards."""
        before = {name: p.detach().clone() for name, p in trained.items()}
        _copy(self.values, trained)
        try:
            yield
        finally:
            _copy(before, trained)


@torch.no_grad()
def _copy(values: Mapping[str, Tensor], into: Mapping[str, nn.Parameter]) -> None:
    for name, parameter in into.items():
        parameter.copy_(values[name])


def save_state(
    path: Path, trained: Mapping[str, nn.Parameter], optimiser: torch.optim.AdamW, averages: Averages, step: int
) -> None:
    """Write the state after `step` steps; the file is whole or the one before."""
    tensors = {}
    for name, parameter in trained.items():
        moments = optimiser.state[parameter]
        tensors[f"parameter/{name}"] = parameter.detach()
        tensors[f"average/{name}"] = averages.values[name]
        tensors[f"first/{name}"] = moments["exp_avg"]
        tensors[f"second/{name}"] = moments["exp_avg_sq"]
        tensors[f"count/{name}"] = moments["step"]
    beside = path.with_suffix(".partial")
    save_file({name: t.clone() for name, t in tensors.items()}, beside, {"step": str(step)})
    beside.replace(path)


def load_state(
    path: Path, trained: Mapping[str, nn.Parameter], optimiser: torch.optim.AdamW, averages: Averages
) -> int:
    """Put a saved state into place; returns its number of steps."""
    with safe_open(path, framework="pt") as file:
        for name, parameter in trained.items():
            parameter.data.copy_(file.get_tensor(f"parameter/{name}"))
            averages.values[name] = file.get_tensor(f"average/{name}")
            optimiser.state[parameter] = {
                "step": file.get_tensor(f"count/{name}"),
                "exp_avg": file.get_tensor(f"first/{name}"),
                "exp_avg_sq": file.get_tensor(f"second/{name}"),
            }
        return int(file.metadata()["step"])
