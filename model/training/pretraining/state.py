"""What a run is at a step: weights, averages, optimiser and counters, in one safetensors file.

A checkpoint is written beside its place, synced and renamed, so that it is whole or not there; the last few are kept.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from model.embedder import CheckpointMismatch, WeightsCorrupt
from model.layers import LayerNorm
from model.training.pretraining.config import OptimiserConfig

_NAME = re.compile(r"step-(\d{9})\.safetensors")
_SLOTS = {"first": "exp_avg", "second": "exp_avg_sq", "count": "step"}


@dataclass
class Counters:
    """How far a run is: updates made, tokens that were really used, seconds spent on them."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0


class Averages:
    """Exponential moving averages of parameters, with a decay of at most `decay`; they follow faster at first."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self.values = {name: p.detach().clone() for name, p in parameters.items()}
        self._decay = decay

    @torch.no_grad()
    def update(self, parameters: Mapping[str, nn.Parameter], step: int) -> None:
        """Move towards the parameters of `step` (from 0): the decay is (step + 1) / (step + 10) until it is `decay`."""
        weight = 1 - min(self._decay, (step + 1) / (step + 10))
        torch._foreach_lerp_(list(self.values.values()), [parameters[name].data for name in self.values], weight)

    @contextmanager
    def applied(self, parameters: Mapping[str, nn.Parameter]) -> Iterator[None]:
        """The parameters hold the averages inside, and what they were afterwards."""
        before = {name: p.detach().clone() for name, p in parameters.items()}
        _copy(self.values, parameters)
        try:
            yield
        finally:
            _copy(before, parameters)


@torch.no_grad()
def _copy(values: Mapping[str, Tensor], into: Mapping[str, nn.Parameter]) -> None:
    for name, parameter in into.items():
        parameter.copy_(values[name])


@dataclass
class TrainingState:
    """All that changes while a network is trained."""

    parameters: dict[str, nn.Parameter]
    optimiser: torch.optim.AdamW
    averages: Averages
    counters: Counters

    @classmethod
    def fresh(cls, network: nn.Module, config: OptimiserConfig, average_decay: float) -> "TrainingState":
        """That of networks before their first step. Every parameter gets a gradient, so none is left out of a step."""
        parameters = dict(network.named_parameters())
        for parameter in parameters.values():
            parameter.grad = torch.zeros_like(parameter)
        averages = Averages(parameters, average_decay)
        return cls(parameters, build_optimiser(network, config), averages, Counters())

    def save(self, folder: Path, made_with: Mapping[str, str], keep: int) -> Path:
        """Write a checkpoint into `folder` and delete all but the last `keep`; `made_with` is stored with it."""
        tensors: dict[str, Tensor] = {}
        for name, parameter in self.parameters.items():
            tensors[f"parameter/{name}"] = parameter.detach()
            tensors[f"average/{name}"] = self.averages.values[name]
            for slot, own in _SLOTS.items():
                tensors[f"{slot}/{name}"] = self.optimiser.state[parameter][own]
        counters = {name: repr(value) for name, value in vars(self.counters).items()}
        path = folder / f"step-{self.counters.step:09d}.safetensors"
        _write(path, {name: tensor.contiguous() for name, tensor in tensors.items()}, {**made_with, **counters})
        for old in checkpoints(folder)[:-keep]:
            old.unlink()
        return path

    def load(self, path: Path) -> None:
        """Put a checkpoint into place. Raises `WeightsCorrupt`, `CheckpointMismatch`."""
        try:
            with safe_open(path, framework="pt") as file:
                metadata, found = file.metadata(), set(file.keys())
                expected = {f"{kind}/{name}" for kind in ("parameter", "average", *_SLOTS) for name in self.parameters}
                if found != expected:
                    odd = min(found ^ expected)
                    raise CheckpointMismatch(f"{path} is of another network: {odd!r} is in only one of the two")
                for name, parameter in self.parameters.items():
                    parameter.data.copy_(file.get_tensor(f"parameter/{name}"))
                    self.averages.values[name].copy_(file.get_tensor(f"average/{name}"))
                    slots = {own: file.get_tensor(f"{slot}/{name}") for slot, own in _SLOTS.items()}
                    self.optimiser.state[parameter] = {
                        own: value if own == "step" and not self.optimiser.defaults["fused"] else value.to(parameter)
                        for own, value in slots.items()
                    }
        except SafetensorError as error:
            raise WeightsCorrupt(
                f"{path} is no whole checkpoint: {error}; delete it to go on from the one before"
            ) from error
        self.counters = Counters(int(metadata["step"]), int(metadata["tokens"]), float(metadata["seconds"]))


def build_optimiser(network: nn.Module, config: OptimiserConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on everything but norms, biases and single numbers."""
    spared = {id(p) for module in network.modules() if isinstance(module, LayerNorm) for p in module.parameters()}
    spared |= {id(p) for name, p in network.named_parameters() if name.endswith(".bias") or not p.ndim}
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if id(p) not in spared], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if id(p) in spared], "weight_decay": 0.0},
    ]
    fused = all(parameter.is_cuda for parameter in parameters)
    return torch.optim.AdamW(groups, lr=config.base_rate, betas=config.betas, eps=config.epsilon, fused=fused)


def checkpoints(folder: Path) -> list[Path]:
    """The whole checkpoints in a folder, the latest last."""
    return sorted(path for path in folder.glob("step-*.safetensors") if _NAME.fullmatch(path.name))


def made_with(path: Path) -> dict[str, str]:
    """What was stored with a checkpoint. Raises `WeightsCorrupt`."""
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata())
    except SafetensorError as error:
        raise WeightsCorrupt(f"{path} is no whole checkpoint: {error}") from error


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    beside = path.with_name(f".{path.name}.part")
    save_file(tensors, beside, metadata)
    with beside.open("rb") as written:
        os.fsync(written.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
