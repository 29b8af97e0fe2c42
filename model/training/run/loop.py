"""The training loop: runs updates, averages, records, evaluations and checkpoints, each at its steps.

Gradients are averaged over processes once per step, after its last part, rather than during the backward pass. It then
makes no difference which parameters a process used, and frozen parameters need no special handling.
"""

import math
import signal
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from anyseek.model.training.run.config import TrainingSettings
from anyseek.model.training.run.errors import TrainingDataInvalid, TrainingDiverged
from anyseek.model.training.run.folder import Number, Records, RunFolder, check_same_run
from anyseek.model.training.run.launching import Stop, handle_stop_signals
from anyseek.model.training.run.processes import SINGLE_PROCESS, Processes
from anyseek.model.training.run.state import TrainingState


@dataclass(frozen=True)
class Parts:
    """Losses by the name of their column, `loss/<modality>` or `contrast/<target>`, each 0 where nothing is predicted.

    `elements` is over how many logits, or samples for contrast, each is a mean.
    """

    values: Mapping[str, Tensor]
    elements: Mapping[str, int]


class Source(Protocol):
    """Plain data that is copied to worker processes; a maker there has `training_batch` of any number from 0.

    A batch has numbers of `samples`, of `empty` ones, which are of no use, and of `tokens`.
    """

    def maker(self) -> Any: ...


class LossMaker(Protocol):
    """Turns batches into losses: prepares a batch on the device, and combines its losses into one number."""

    @property
    def device(self) -> torch.device: ...

    @property
    def columns(self) -> list[str]: ...

    def prepare(self, batch: Any) -> Any: ...

    def losses(self, network: Any, batch: Any) -> Parts: ...

    def total(self, parts: Parts) -> Tensor: ...


class Measure(Protocol):
    """Measures a network on validation samples: a value, or None, for each column."""

    def columns(self) -> list[str]: ...

    def measure(self, network: Any) -> Mapping[str, Number]: ...


_Network = TypeVar("_Network", bound=nn.Module)
_Objective = TypeVar("_Objective", bound=LossMaker)


# Of a row of training, before each loss: what the trainer adds, and what `Tally.row` gives.
_COLUMNS = ("tokens", "samples", "seconds", "rate", "loss", "gradient_norm", "tokens_per_second", "empty")


class Tally:
    """Sums over steps; losses stay on the device until `row` is called. `seconds` counts from its creation."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.steps = self.tokens = 0
        self._samples = self._empty = 0
        self._loss: Tensor | float = 0.0
        self._norm: Tensor | float = 0.0
        self._sums: dict[str, Tensor | float] = {}
        self._counts = Counter[str]()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def add_batch(self, batch: Any) -> None:
        """Count a part of a step's samples."""
        self.tokens += batch.tokens
        self._samples += batch.samples
        self._empty += batch.empty

    def add_losses(self, losses: Parts) -> None:
        """Count a part's losses; one that nothing was predicted for does not count."""
        for key, loss in losses.values.items():
            if losses.elements[key]:
                self._sums[key] = self._sums.get(key, 0.0) + loss.detach()
                self._counts[key] += 1

    def add_step(self, loss: Tensor, norm: Tensor) -> None:
        """Count an update, its whole loss and the norm of its gradient before clipping."""
        self.steps += 1
        self._loss, self._norm = self._loss + loss, self._norm + norm

    def row(self, columns: Sequence[str], processes: Processes) -> dict[str, Number]:
        """Means over the steps of all processes; `columns` are the losses.

        A modality that was never a target has none. `tokens` is the sum of all.
        """
        sums = [float(self._sums.get(name, 0.0)) for name in columns]
        counts = [self._counts[name] for name in columns]
        counted = [float(self._loss), self.tokens, self._samples, self._empty]
        loss, tokens, samples, empty, *losses = processes.sum_over_processes([*counted, *sums, *counts])
        whole = zip(columns, losses[: len(columns)], losses[len(columns) :], strict=True)
        return {
            "loss": loss / self.steps,
            "gradient_norm": float(self._norm) / self.steps,
            "tokens": int(tokens),
            "tokens_per_second": round(tokens / max(self.seconds, 1e-9), 1),
            "empty": empty / samples,
            **{name: total / count for name, total, count in whole if count},
        }


@dataclass
class Trainer(Generic[_Network, _Objective]):
    """One run, of a 4M network or a tokenizer.

    `made_with` is stored with every checkpoint; `say` receives a progress line now and then. With several processes,
    each does the same with its own parts of a step, and only the first evaluates, reports and writes.
    """

    config: TrainingSettings
    network: _Network
    state: TrainingState
    objective: _Objective
    source: Source
    evaluation: Measure | None
    folder: RunFolder
    made_with: Mapping[str, str]
    say: Callable[[str], None]
    processes: Processes = SINGLE_PROCESS
    _tally: Tally = field(default_factory=Tally)

    def run(self, stop: Stop) -> bool:
        """Train from the current state to the end; True if finished, False if stopped.

        Raises `TrainingDiverged`, `TrainingDataInvalid`; the last checkpoint stays as it is.
        """
        counters, last = self.state.counters, self.config.steps
        first = counters.step
        self._tally = Tally()
        self.network.train()
        with ExitStack() as opened:
            if self.processes.is_main:
                self._open_records(opened, first)
            batches = opened.enter_context(closing(self._batches(first, last)))
            while counters.step < last and not self.processes.any(stop.requested):
                self.step(batches)
                self._after_step()
            if self._tally.steps:
                self._report()
            if counters.step > first and not self._is_due(self.config.run.checkpoint_every):
                self._save()
        return counters.step == last

    def _open_records(self, opened: ExitStack, step: int) -> None:
        root = self.folder.root
        self._training = Records(root, "metrics", [*_COLUMNS, *self.objective.columns], step)
        columns = ["tokens", *self.evaluation.columns()] if self.evaluation else ["tokens"]
        self._evaluated = Records(root, "evaluation", columns, step)
        opened.enter_context(closing(self._training))
        opened.enter_context(closing(self._evaluated))

    def _batches(self, first: int, last: int) -> Generator[Any, None, None]:
        """This process's parts of the steps from `first` to `last` - 1, in order."""
        parts, own = self.config.batch.accumulation, self.processes
        return batches_between(
            self.source, first * parts + own.number, last * parts, self.config.run.workers, own.count
        )

    def step(self, batches: Iterator[Any]) -> None:
        """One update from `accumulation` parts, the loss being their mean; processes share them out."""
        parts = self.config.batch.accumulation
        self.state.optimiser.zero_grad(set_to_none=False)
        whole = torch.zeros((), device=self.objective.device)
        for _ in range(parts // self.processes.count):
            batch = next(batches)
            self._tally.add_batch(batch)
            losses = self.objective.losses(self.network, self.objective.prepare(batch))
            loss = self.objective.total(losses) / parts
            # All processes' parts make the loss together, and the mean of their gradients is taken.
            (loss * self.processes.count).backward()  # type: ignore[no-untyped-call]
            self._tally.add_losses(losses)
            whole += loss.detach()
        self.processes.average([p.grad for p in self.state.parameters.values() if p.grad is not None])
        self._update(whole)

    def _update(self, loss: Tensor) -> None:
        state, clip = self.state, self.config.optimiser.clip
        for group in state.optimiser.param_groups:
            group["lr"] = self.config.rate_at(state.counters.step) * group["rate_share"]
        with state.frozen.without_gradients(state.parameters, state.counters.step):
            norm = nn.utils.clip_grad_norm_(state.parameters.values(), math.inf if clip is None else clip)
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
        row = tally.row(self.objective.columns, self.processes)
        if not (math.isfinite(float(row["loss"] or 0.0)) and math.isfinite(float(row["gradient_norm"] or 0.0))):
            raise TrainingDiverged(
                f"the loss or its gradient is no longer a number at step {counters.step}; the last checkpoint in "
                f"{self.folder.checkpoints} is from before; train anew with a lower optimiser.base_rate or with clip"
            )
        if row["empty"] == 1.0:
            raise TrainingDataInvalid(
                f"none of the samples up to step {counters.step} has both an input and a target of a component "
                "of masking"
            )
        counters.tokens += int(row["tokens"] or 0)
        counters.seconds += tally.seconds
        row |= self._place() | {"seconds": round(counters.seconds, 3), "rate": self.config.rate_at(counters.step - 1)}
        row["samples"] = counters.step * self.config.batch.size
        if self.processes.is_main:
            self._training.add(row)
        self.say(
            f"step {counters.step:,} of {self.config.steps:,}  loss {row['loss']:.4f}  "
            f"{row['tokens_per_second']:,.0f} tokens/s"
        )
        self._tally = Tally()

    def _evaluate(self) -> None:
        """Measure the averaged weights on validation samples, in the main process; the others wait at the next step."""
        if self.evaluation is not None:
            with self.state.averages.applied(self.state.parameters):
                measured = self.evaluation.measure(self.network)
            self._evaluated.add({**self._place(), **measured})
            shown = [f"{name} {value:.4f}" for name, value in measured.items() if value is not None]
            self.say(f"validation at step {self.state.counters.step:,}: {', '.join(shown)}")
        self._tally = Tally()

    def _place(self) -> dict[str, Number]:
        counters = self.state.counters
        return {"step": counters.step, "time": int(time.time()), "tokens": counters.tokens}

    def _save(self) -> None:
        if self.processes.is_main:
            self.state.save(self.folder.checkpoints, self.made_with, self.config.run.keep)
        self._tally = Tally()


_AHEAD = 4  # batches that each worker has ready


class _NumberedBatches(Dataset[Any]):
    """Batches by their number; the maker is made in the process that uses it."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._maker: Any = None

    def __getitem__(self, number: int) -> Any:
        self._maker = self._maker or self._source.maker()
        return self._maker.training_batch(number)


def batches_between(source: Source, first: int, last: int, workers: int, step: int = 1) -> Generator[Any, None, None]:
    """Every `step`-th of batches `first` to `last` - 1, made ahead by `workers` processes, or when asked for if none.

    How many processes there are changes nothing about the batches.
    """
    loader = DataLoader(
        _NumberedBatches(source),
        batch_size=None,
        sampler=range(first, last, step),
        num_workers=workers,
        prefetch_factor=_AHEAD if workers else None,
        worker_init_fn=_start_worker,
    )
    yield from loader


def _start_worker(number: int) -> None:
    """Leave signals to the whole group to the main process, which ends its workers when it is done; use one thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(1)


def run_training(trainer: Trainer[Any, Any], checkpoint: Path | None, config_path: Path) -> bool:
    """Go on from a checkpoint, or begin; True if it got to the end. Raises `RunConflict` for one of another run."""
    if checkpoint is not None:
        check_same_run(checkpoint, trainer.made_with)
        trainer.state.load(checkpoint)
        trainer.say(f"going on from {checkpoint}")
    if trainer.processes.is_main:
        trainer.folder.config.write_bytes(config_path.read_bytes())
    with handle_stop_signals() as stop:
        return trainer.run(stop)
