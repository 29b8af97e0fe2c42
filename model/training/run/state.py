"""The state of a run at a step: weights, averages, optimiser and counters, in one safetensors file.

A checkpoint is written to a temporary file, synced and renamed, so it is either complete or absent. The last few are
kept.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from anyseek.model.errors import CheckpointMismatch, WeightsCorrupt
from anyseek.model.files import atomic_file
from anyseek.model.fourm.bundled.shortcuts import Shortcut
from anyseek.model.network.layers import LayerNorm
from anyseek.model.training.run.config import AdamWConfig


@dataclass(frozen=True)
class Frozen:
    """Parameters by name that stay as they began until step `until` (from 0); none if that is 0."""

    names: frozenset[str] = field(default_factory=frozenset)
    until: int = 0

    @contextmanager
    def without_gradients(self, parameters: Mapping[str, nn.Parameter], step: int) -> Iterator[None]:
        """A context in which frozen parameters have no gradient, so the norm and the optimiser ignore them.

        Their moments and update counts do not change either: the optimiser starts on them at the switch.
        """
        gradients = {parameters[name]: parameters[name].grad for name in self.names} if step < self.until else {}
        for parameter in gradients:
            parameter.grad = None
        try:
            yield
        finally:
            for parameter, gradient in gradients.items():
                parameter.grad = gradient


_NAME = re.compile(r"step-(\d{9})\.safetensors")
_NORMS = (LayerNorm, nn.LayerNorm, nn.GroupNorm)
_RATE_OF_MAPS = 0.1
_SLOTS = {"first": "exp_avg", "second": "exp_avg_sq", "count": "step"}


@dataclass
class Counters:
    """The progress of a run: updates made, tokens actually used, seconds spent on them."""

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
        """A context in which the parameters hold the averages; their values are restored afterwards."""
        tensors = [p.data for p in parameters.values()]
        before = [tensor.clone() for tensor in tensors]
        torch._foreach_copy_(tensors, [self.values[name] for name in parameters])
        try:
            yield
        finally:
            torch._foreach_copy_(tensors, before)


@dataclass
class TrainingState:
    """The mutable state of training; `buffers` are tensors that change without gradients, such as codebooks."""

    parameters: dict[str, nn.Parameter]
    optimiser: torch.optim.AdamW
    averages: Averages
    counters: Counters
    buffers: Mapping[str, Tensor] = field(default_factory=dict)
    frozen: Frozen = field(default_factory=Frozen)

    @classmethod
    def fresh(
        cls,
        network: nn.Module,
        config: AdamWConfig,
        average_decay: float,
        buffers: Mapping[str, Tensor] | None = None,
    ) -> "TrainingState":
        """The state of networks before their first step. Every parameter gets a gradient, so no step skips one."""
        parameters = {name: p for name, p in network.named_parameters() if p.requires_grad}
        for parameter in parameters.values():
            parameter.grad = torch.zeros_like(parameter)
        averages = Averages(parameters, average_decay)
        return cls(parameters, build_optimiser(network, config), averages, Counters(), buffers or {})

    def save(self, folder: Path, made_with: Mapping[str, str], keep: int) -> Path:
        """Write a checkpoint into `folder` and delete all but the last `keep`; `made_with` is stored with it."""
        path = folder / f"step-{self.counters.step:09d}.safetensors"
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self._tensors().items()}
        counters = {name: repr(value) for name, value in vars(self.counters).items()}
        with atomic_file(path) as temporary:
            save_file(tensors, temporary, {**made_with, **counters})
        for old in checkpoints(folder)[:-keep]:
            old.unlink()
        return path

    def _tensors(self) -> dict[str, Tensor]:
        """Everything by its name in a checkpoint."""
        tensors = {f"buffer/{name}": tensor for name, tensor in self.buffers.items()}
        for name, parameter in self.parameters.items():
            tensors[f"parameter/{name}"] = parameter
            tensors[f"average/{name}"] = self.averages.values[name]
            tensors |= {f"{slot}/{name}": self.optimiser.state[parameter][own] for slot, own in _SLOTS.items()}
        return tensors

    @torch.no_grad()
    def load(self, path: Path) -> None:
        """Put a checkpoint into place. Raises `WeightsCorrupt`, `CheckpointMismatch`."""
        try:
            with safe_open(path, framework="pt") as file:
                metadata, tensors = file.metadata(), self._tensors()
                if odd := set(file.keys()) ^ tensors.keys():
                    raise CheckpointMismatch(
                        f"{path} belongs to another network: {min(odd)!r} is in only one of the two"
                    )
                for name, tensor in tensors.items():
                    tensor.copy_(file.get_tensor(name))
        except SafetensorError as error:
            raise WeightsCorrupt(
                f"{path} is not a complete checkpoint: {error}; delete it to go on from the previous one"
            ) from error
        self.counters = Counters(int(metadata["step"]), int(metadata["tokens"]), float(metadata["seconds"]))


def build_optimiser(network: nn.Module, config: AdamWConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on everything but norms, biases, single numbers and the maps of shortcuts.

    The rate of a group is the run's rate times its `rate_share`: maps fitted in closed form are only adjusted.
    """
    maps = {id(p) for module in network.modules() if isinstance(module, Shortcut) for p in (module.down, module.up)}
    spared = {id(p) for module in network.modules() if isinstance(module, _NORMS) for p in module.parameters()} | maps
    spared |= {id(p) for name, p in network.named_parameters() if name.endswith(".bias") or not p.ndim}
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    kinds: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for p in parameters:
        kinds.setdefault((id(p) in maps, id(p) in spared), []).append(p)
    groups = [
        {
            "params": own,
            "weight_decay": 0.0 if is_spared else config.weight_decay,
            "rate_share": _RATE_OF_MAPS if is_map else 1.0,
        }
        for (is_map, is_spared), own in kinds.items()
    ]
    fused = all(parameter.is_cuda for parameter in parameters)
    optimiser = torch.optim.AdamW(groups, lr=config.base_rate, betas=config.betas, eps=config.epsilon, fused=fused)
    for parameter in parameters:  # also of those that are frozen at first: a checkpoint has the moments of all
        moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
        optimiser.state[parameter] = {"step": torch.zeros((), device=parameter.device if fused else "cpu"), **moments}
    return optimiser


def checkpoints(folder: Path) -> list[Path]:
    """The whole checkpoints in a folder, the latest last."""
    return sorted(path for path in folder.glob("step-*.safetensors") if _NAME.fullmatch(path.name))
