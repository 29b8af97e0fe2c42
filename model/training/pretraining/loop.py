"""The training loop: updates, averages, records, evaluations and checkpoints, each at its steps."""

import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from model.training.pretraining.batches import batches_between
from model.training.pretraining.curves import draw_curves, panels_of
from model.training.pretraining.errors import TrainingDataInvalid, TrainingDiverged
from model.training.pretraining.folder import RunFolder
from model.training.pretraining.gradients import average_gradients, total_norm, zero_gradients
from model.training.pretraining.objective import Parts
from model.training.pretraining.processes import ALONE, Processes
from model.training.pretraining.records import Number, Records
from model.training.pretraining.sharding import Sharded, whole_network
from model.training.pretraining.state import TrainingState
from model.training.pretraining.stopping import Stop
from model.training.pretraining.tally import Tally, training_columns
from model.training.pretraining.task import LossMaker, Measure, Settings, Source

_Network = TypeVar("_Network", bound=nn.Module)
_Objective = TypeVar("_Objective", bound=LossMaker)


@dataclass
class Trainer(Generic[_Network, _Objective]):
    """One run, of a 4M network or a tokenizer.

    `made_with` is stored with every checkpoint; `say` gets a line for the user now and then. Of several processes all
    do the same with their own slices of a step, and the first alone evaluates, says and writes. `sharded` is the way
    into a network that is split over them.
    """

    config: Settings
    network: _Network
    state: TrainingState
    objective: _Objective
    source: Source
    evaluation: Measure | None
    folder: RunFolder
    made_with: Mapping[str, str]
    say: Callable[[str], None]
    processes: Processes = ALONE
    sharded: Sharded | None = None
    _tally: Tally = field(default_factory=Tally)

    def run(self, stop: Stop) -> bool:
        """Train from where the state is to the end; True if it got there, False if it was asked to stop.

        Raises `TrainingDiverged`, `TrainingDataInvalid`; the last checkpoint stays as it is.
        """
        counters, last = self.state.counters, self.config.steps
        first = counters.step
        self._tally = Tally()
        self.network.train()
        with ExitStack() as opened:
            if self.processes.is_first:
                self._open_records(opened, first)
            batches = opened.enter_context(closing(self._batches(first, last)))
            while counters.step < last and not self.processes.any(stop.asked):
                self.step(batches)
                self._after_step()
            if self._tally.steps:
                self._report()
            if counters.step > first and not self._is_due(self.config.run.checkpoint_every):
                self._save()
        return counters.step == last

    def _open_records(self, opened: ExitStack, step: int) -> None:
        root = self.folder.root
        self._training = Records(root, "metrics", training_columns(self.objective.columns), step)
        columns = ["tokens", *self.evaluation.columns()] if self.evaluation else ["tokens"]
        self._evaluated = Records(root, "evaluation", columns, step)
        opened.enter_context(closing(self._training))
        opened.enter_context(closing(self._evaluated))

    def _batches(self, first: int, last: int) -> Generator[Any, None, None]:
        """This process's slices of the steps from `first` to `last` - 1, in order."""
        slices, own = self.processes.slices(self.config.batch.accumulation), self.processes
        return batches_between(
            self.source, first * slices + own.number, last * slices, self.config.run.workers, own.count
        )

    def step(self, batches: Iterator[Any]) -> None:
        """One update from `accumulation` parts, the loss being their mean; of these a process has its slices."""
        parts = self.config.batch.accumulation
        zero_gradients(self.state.parameters.values())
        whole = torch.zeros((), device=self.objective.device)
        for _ in range(self.processes.slices(parts) // self.processes.count):
            batch = next(batches)
            self._tally.add_batch(batch)
            loss, losses = self._losses(batch)
            loss = loss / parts
            # All processes' slices make the loss together, and the mean of their gradients is taken.
            (loss * self.processes.count).backward()  # type: ignore[no-untyped-call]
            self._tally.add_losses(losses)
            whole += loss.detach()
        average_gradients(list(self.state.parameters.values()), self.processes)
        self._update(whole)

    def _losses(self, batch: Any) -> tuple[Tensor, Parts]:
        prepared = self.objective.prepared(batch)

        def run(network: nn.Module) -> tuple[Tensor, Parts]:
            losses = self.objective.losses(network, prepared)
            return self.objective.total(losses), losses

        if self.sharded is None:
            return run(self.network)
        found: tuple[Tensor, Parts] = self.sharded(run)
        return found

    def _update(self, loss: Tensor) -> None:
        state = self.state
        for group in state.optimiser.param_groups:
            group["lr"] = self.config.rate_at(state.counters.step) * group["rate_share"]
        with state.frozen.left_out(state.parameters, state.counters.step):
            norm = total_norm(list(state.parameters.values()), self.config.optimiser.clip)
            state.optimiser.step()
        state.averages.update(state.parameters, state.counters.step)
        state.counters.step += 1
        self._tally.add_step(loss, norm)

    def _after_step(self) -> None:
        """Report, save and evaluate where this step is one for it."""
        run, evaluation = self.config.run, self.config.evaluation
        is_last = self.state.counters.step == self.config.steps
        evaluates = evaluation is not None and (is_last or self._is_due(evaluation.every))
        saves = self._is_due(run.checkpoint_every)
        if evaluates or saves or is_last or self._is_due(run.report_every):
            self._report()
        if evaluates:
            self._evaluate()
        if saves:
            self._save()

    def _is_due(self, every: int) -> bool:
        return self.state.counters.step % every == 0

    def _report(self) -> None:
        """Write a row and begin a new tally. Raises `TrainingDiverged`, `TrainingDataInvalid`."""
        counters, tally = self.state.counters, self._tally
        row = tally.row(self.objective.columns, self.processes, self.config.batch.accumulation)
        if not (math.isfinite(float(row["loss"] or 0.0)) and math.isfinite(float(row["gradient_norm"] or 0.0))):
            raise TrainingDiverged(
                f"the loss or its gradient is not a number any more at step {counters.step}; the last checkpoint in "
                f"{self.folder.checkpoints} is from before; train anew with a lower optimiser.base_rate or with clip"
            )
        if row["empty"] == 1.0:
            raise TrainingDataInvalid(
                f"none of the samples up to step {counters.step} has an input and a target of one component of masking"
            )
        counters.tokens += int(row["tokens"] or 0)
        counters.seconds += tally.seconds
        row |= self._place() | {"seconds": round(counters.seconds, 3), "rate": self.config.rate_at(counters.step - 1)}
        row["samples"] = counters.step * self.config.batch.size
        if self.processes.is_first:
            self._training.add(row)
        self.say(
            f"step {counters.step:,} of {self.config.steps:,}  loss {row['loss']:.4f}  "
            f"{row['tokens_per_second']:,.0f} tokens/s"
        )
        self._tally = Tally()

    def _evaluate(self) -> None:
        """Measure the averaged weights on validation samples, in the first process; the others wait at what is next."""
        with self.state.averages.applied(self.state.parameters):
            network = whole_network(self.network, self.processes)
            if network is not None and self.evaluation is not None:
                found = self.evaluation.measure(network)
                self._evaluated.add({**self._place(), **found})
                shown = [f"{name} {value:.4f}" for name, value in found.items() if value is not None]
                self.say(f"validation at step {self.state.counters.step:,}: {', '.join(shown)}")
        self._tally = Tally()

    def _place(self) -> dict[str, Number]:
        counters = self.state.counters
        return {"step": counters.step, "time": int(time.time()), "tokens": counters.tokens}

    def _save(self) -> None:
        first = self.processes.is_first
        self.state.save(self.folder.checkpoints, self.made_with, self.config.run.keep, writes=first)
        if first:
            draw_curves(panels_of(self._training.rows, self._evaluated.rows), self.folder.curves)
        self._tally = Tally()
