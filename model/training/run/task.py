"""What the training loop requires of a task: training a 4M network or a tokenizer.

Each task has its own type of batch, which only its own parts inspect.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from anyseek.model.training.run.config import AdamWConfig, BatchConfig, RunConfig
from anyseek.model.training.run.records import Number


@dataclass(frozen=True)
class Parts:
    """Losses by the name of their column, `loss/<modality>` or `contrast/<target>`, each 0 where nothing is predicted.

    `elements` is over how many logits, or samples for contrast, each is a mean. Where processes have a part's samples
    together, the values of one are its shares: means over the elements of all, to which it adds its own alone.
    """

    values: Mapping[str, Tensor]
    elements: Mapping[str, int]


class Interval(Protocol):
    """How often something is done, in steps."""

    @property
    def every(self) -> int: ...


class Settings(Protocol):
    """The length, rate and intervals of training."""

    @property
    def steps(self) -> int: ...

    @property
    def batch(self) -> BatchConfig: ...

    @property
    def optimiser(self) -> AdamWConfig: ...

    @property
    def evaluation(self) -> Interval | None: ...

    @property
    def run(self) -> RunConfig: ...

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, from 0."""
        ...


class TaskBatch(Protocol):
    """A batch's description of itself. `empty` rows are of no use."""

    @property
    def samples(self) -> int: ...

    @property
    def empty(self) -> int: ...

    @property
    def tokens(self) -> int: ...


class BatchesByNumber(Protocol):
    """Makes batch `number` (from 0), any of them at any time."""

    def training_batch(self, number: int) -> Any: ...


class Source(Protocol):
    """A source of batches: plain data, which is copied to worker processes."""

    def maker(self) -> BatchesByNumber:
        """The object that makes the batches, in the process that asks for it."""
        ...


class LossMaker(Protocol):
    """Turns batches into losses."""

    @property
    def device(self) -> torch.device: ...

    @property
    def columns(self) -> list[str]:
        """The names of all losses."""
        ...

    def prepared(self, batch: Any) -> Any:
        """The batch as `losses` takes it, on the device."""
        ...

    def losses(self, network: Any, batch: Any) -> Parts:
        """The losses of a prepared batch."""
        ...

    def total(self, parts: Parts) -> Tensor:
        """Combine the losses into one number."""
        ...


class Measure(Protocol):
    """Measures a network on validation samples at intervals."""

    def columns(self) -> list[str]: ...

    def measure(self, network: Any) -> Mapping[str, Number]:
        """Every column's value; None where no sample could be measured."""
        ...
