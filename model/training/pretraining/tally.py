"""What happened in the steps since the last row of the records."""

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from model.training.pretraining.collate import Batch
from model.training.pretraining.objective import Parts
from model.training.pretraining.records import Number


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

    def add_batch(self, batch: Batch) -> None:
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

    def row(self) -> dict[str, Number]:
        """Means over the steps; a modality that was never a target has none."""
        return {
            "loss": float(self._loss) / self.steps,
            "gradient_norm": float(self._norm) / self.steps,
            "tokens_per_second": round(self.tokens / max(self.seconds, 1e-9), 1),
            "empty": self._empty / self._samples,
            **{key: float(total) / self._counts[key] for key, total in self._sums.items()},
        }


def total_norm(parameters: Sequence[torch.nn.Parameter], clip: float | None) -> Tensor:
    """The norm of all gradients together, which are scaled down to a norm of `clip` where it is larger."""
    return torch.nn.utils.clip_grad_norm_(parameters, float("inf") if clip is None else clip)
