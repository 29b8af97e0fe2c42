"""What the training loop asks of that which is trained: a 4M network or a tokenizer.

A task's batches are of a kind of its own, which only its own parts look into.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from model.training.pretraining.config import AdamWConfig, BatchConfig, RunConfig
from model.training.pretraining.objective import Parts
from model.training.pretraining.records import Number


class Interval(Protocol):
    """How often something is done, in steps."""

    @property
    def every(self) -> int: ...


class Settings(Protocol):
    """How long, how fast and with what intervals to train."""

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
    """What a batch says of itself. `empty` rows are of no use."""

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
    """Where batches come from; plain data, which worker processes get a copy of."""

    def maker(self) -> BatchesByNumber:
        """What makes the batches, in the process that asks for it."""
        ...


class LossMaker(Protocol):
    """What turns batches into losses."""

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
        """One number of them all."""
        ...


class Measure(Protocol):
    """What is measured on validation samples now and then."""

    def columns(self) -> list[str]: ...

    def measure(self, network: Any) -> Mapping[str, Number]:
        """Every column's value; None where no sample could be measured."""
        ...
