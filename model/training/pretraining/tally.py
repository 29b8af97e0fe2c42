"""What happened in the steps since the last row of the records."""

import time
from collections.abc import Sequence

from torch import Tensor

from model.training.pretraining.objective import Parts
from model.training.pretraining.processes import Processes
from model.training.pretraining.records import Number
from model.training.pretraining.task import TaskBatch


def training_columns(losses: Sequence[str]) -> list[str]:
    """The columns of a row: what `Tally.row` gives, the `losses` among it, and what the trainer adds."""
    counted = ["tokens", "samples", "seconds", "rate"]
    return [*counted, "loss", "gradient_norm", "tokens_per_second", "empty", *losses]


class Tally:
    """Sums over steps; losses stay on the device until `row` is asked for. `seconds` are those since it was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.steps = self.tokens = 0
        self._samples = self._empty = 0
        self._loss: Tensor | float = 0.0
        self._norm: Tensor | float = 0.0
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def add_batch(self, batch: TaskBatch) -> None:
        """Count a part of a step's samples."""
        self.tokens += batch.tokens
        self._samples += batch.samples
        self._empty += batch.empty

    def add_losses(self, losses: Parts) -> None:
        """Count a part's losses; one that nothing was predicted for does not count."""
        for key, loss in losses.values.items():
            if losses.elements[key]:
                before = self._sums.get(key)
                self._sums[key] = loss.detach() if before is None else before + loss.detach()
                self._counts[key] = self._counts.get(key, 0) + 1

    def add_step(self, loss: Tensor, norm: Tensor) -> None:
        """Count an update, its whole loss and the norm of its gradient before clipping."""
        self.steps += 1
        self._loss, self._norm = self._loss + loss, self._norm + norm

    def row(self, columns: Sequence[str], processes: Processes, parts: int) -> dict[str, Number]:
        """Means over the steps of all processes, each of `parts` parts; `columns` are the losses.

        A modality that was never a target has none. `tokens` is the sum of all.
        """
        sums = [float(self._sums.get(name, 0.0)) for name in columns]
        counts = [self._counts.get(name, 0) for name in columns]
        counted = [float(self._loss), self.tokens, self._samples, self._empty]
        loss, tokens, samples, empty, *losses = processes.summed([*counted, *sums, *counts])
        whole = zip(columns, losses[: len(columns)], losses[len(columns) :], strict=True)
        times = processes.slices(parts) // parts  # so many processes count each part
        return {
            "loss": loss / self.steps,
            "gradient_norm": float(self._norm) / self.steps,
            "tokens": int(tokens),
            "tokens_per_second": round(tokens / max(self.seconds, 1e-9), 1),
            "empty": empty / samples,
            **{name: total * times / count for name, total, count in whole if count},
        }
