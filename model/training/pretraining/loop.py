"""The training loop: updates, averages, records, evaluations and checkpoints, each at its steps."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field

import torch
from torch import Tensor

from model.training.pretraining.batches import BatchSource, batches_between
from model.training.pretraining.collate import Batch
from model.training.pretraining.config import TrainingConfig
from model.training.pretraining.curves import draw_curves, panels_of
from model.training.pretraining.errors import TrainingDataInvalid, TrainingDiverged
from model.training.pretraining.evaluation import Evaluation
from model.training.pretraining.folder import RunFolder
from model.training.pretraining.objective import Objective
from model.training.pretraining.records import Number, Records
from model.training.pretraining.state import TrainingState
from model.training.pretraining.stopping import Stop
from model.training.pretraining.tally import Tally, total_norm, training_columns
from model.transformer import FourM


@dataclass
class Trainer:
    """One run. `made_with` is stored with every checkpoint; `say` gets a line for the user now and then."""

    config: TrainingConfig
    network: FourM
    state: TrainingState
    objective: Objective
    source: BatchSource
    evaluation: Evaluation | None
    folder: RunFolder
    made_with: Mapping[str, str]
    say: Callable[[str], None]
    _tally: Tally = field(default_factory=Tally)

    def run(self, stop: Stop) -> bool:
        """Train from where the state is to the end; True if it got there, False if it was asked to stop.

        Raises `TrainingDiverged`, `TrainingDataInvalid`; the last checkpoint stays as it is.
        """
        counters, last = self.state.counters, self.config.steps
        first, parts = counters.step, self.config.batch.accumulation
        self._open_records(first)
        self._tally = Tally()
        self.network.train()
        with closing(self._training), closing(self._evaluated):
            with closing(batches_between(self.source, first * parts, last * parts, self.config.run.workers)) as batches:
                while counters.step < last and not stop.asked:
                    self._step(batches)
                    self._after_step()
            if self._tally.steps:
                self._report()
            if counters.step > first and not self._is_due(self.config.run.checkpoint_every):
                self._save()
        return counters.step == last

    def _open_records(self, step: int) -> None:
        root = self.folder.root
        self._training = Records(root, "metrics", training_columns(self.objective.columns), step)
        columns = ["tokens", *self.evaluation.columns()] if self.evaluation else ["tokens"]
        self._evaluated = Records(root, "evaluation", columns, step)

    def _step(self, batches: Iterator[Batch]) -> None:
        """One update from `accumulation` parts, the loss being their mean."""
        state, parts = self.state, self.config.batch.accumulation
        state.optimiser.zero_grad(set_to_none=False)
        whole = torch.zeros((), device=self.objective.device)
        for _ in range(parts):
            batch = next(batches)
            self._tally.add_batch(batch)
            if batch.inputs:
                losses = self.objective.losses(self.network, self.objective.prepared(batch))
                loss = self.objective.total(losses) / parts
                loss.backward()  # type: ignore[no-untyped-call]
                self._tally.add_losses(losses)
                whole += loss.detach()
        self._update(whole)

    def _update(self, loss: Tensor) -> None:
        state = self.state
        norm = total_norm(list(state.parameters.values()), self.config.optimiser.clip)
        for group in state.optimiser.param_groups:
            group["lr"] = self.config.rate_at(state.counters.step)
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
        counters, tally, row = self.state.counters, self._tally, self._tally.row()
        if not (math.isfinite(float(row["loss"] or 0.0)) and math.isfinite(float(row["gradient_norm"] or 0.0))):
            raise TrainingDiverged(
                f"the loss or its gradient is not a number any more at step {counters.step}; the last checkpoint in "
                f"{self.folder.checkpoints} is from before; train anew with a lower optimiser.base_rate or with clip"
            )
        if row["empty"] == 1.0:
            raise TrainingDataInvalid(
                f"none of the samples up to step {counters.step} has an input and a target of one component of masking"
            )
        counters.tokens += tally.tokens
        counters.seconds += tally.seconds
        row |= self._place() | {"seconds": round(counters.seconds, 3), "rate": self.config.rate_at(counters.step - 1)}
        row["samples"] = counters.step * self.config.batch.size
        self._training.add(row)
        self.say(
            f"step {counters.step:,} of {self.config.steps:,}  loss {row['loss']:.4f}  "
            f"{row['tokens_per_second']:,.0f} tokens/s"
        )
        self._tally = Tally()

    def _evaluate(self) -> None:
        """Measure the averaged weights on validation samples."""
        if self.evaluation is None:
            return
        with self.state.averages.applied(self.state.parameters):
            found = self.evaluation.measure(self.network)
        self._evaluated.add({**self._place(), **found})
        shown = [f"{name} {value:.4f}" for name, value in found.items() if value is not None]
        self.say(f"validation at step {self.state.counters.step:,}: {', '.join(shown)}")
        self._tally = Tally()

    def _place(self) -> dict[str, Number]:
        counters = self.state.counters
        return {"step": counters.step, "time": int(time.time()), "tokens": counters.tokens}

    def _save(self) -> None:
        self.state.save(self.folder.checkpoints, self.made_with, self.config.run.keep)
        draw_curves(panels_of(self._training.rows, self._evaluated.rows), self.folder.curves)
        self._tally = Tally()
