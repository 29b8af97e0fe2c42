"""Evaluate a network on validation samples during training: numbers to watch, not results to report."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anyseek.model.network.transformer import FourM
from anyseek.model.training.pretraining.batches import BatchMaker, BatchSource
from anyseek.model.training.pretraining.config import RecallEvaluationConfig
from anyseek.model.training.pretraining.objective import Objective
from anyseek.model.training.run.loop import Parts

_RANKS = (1, 10)


@dataclass(frozen=True)
class Evaluation:
    """Losses and recalls on the first `config.samples` of each folder in `source`'s own fixed order.

    `source` has the validation shards of every folder and makes batches of the size that fits into memory.
    """

    config: RecallEvaluationConfig
    source: BatchSource
    objective: Objective

    def columns(self) -> list[str]:
        """The names of what `measure` gives."""
        names = [
            f"{target}/{'+'.join(query)}" for query, targets in self._targets_by_query().items() for target in targets
        ]
        recalls = [f"recall@{rank}/{name}" for name in names for rank in _RANKS]
        return ["loss", *self.objective.columns, *recalls]

    @torch.no_grad()
    def measure(self, network: FourM) -> dict[str, float | None]:
        """Every column's value; None where no sample could be measured."""
        network.eval()
        # one for each folder, so that a sample's number does not depend on the other folders
        makers = [BatchMaker(replace(self.source, folders=(folder,))) for folder in self.source.folders]
        found = self._losses(network, makers)
        for query, targets in self._targets_by_query().items():
            found.update(self._recalls(network, makers, query, targets))
        network.train()
        for maker in makers:
            maker.close()
        return found

    def _losses(self, network: FourM, makers: Sequence[BatchMaker]) -> dict[str, float | None]:
        """Masked as in training, but every time in the same way."""
        columns = self.objective.columns
        sums, elements = dict.fromkeys(columns, 0.0), dict.fromkeys(columns, 0)
        for maker, numbers in self._parts(makers):
            batch = maker.masked_batch(numbers)
            if batch.inputs:
                losses = self.objective.losses(network, self.objective.prepared(batch))
                for key, loss in losses.values.items():
                    sums[key] += float(loss) * losses.elements[key]
                    elements[key] += losses.elements[key]
        means = {key: torch.tensor(sums[key] / max(elements[key], 1)) for key in sums}
        total = float(self.objective.total(Parts(means, elements))) if any(elements.values()) else None
        return {"loss": total, **{key: float(means[key]) if elements[key] else None for key in means}}

    def _targets_by_query(self) -> dict[tuple[str, ...], tuple[str, ...]]:
        """Every query with the targets that it is to find, so that it is encoded once."""
        targets: dict[tuple[str, ...], tuple[str, ...]] = {}
        for recall in self.config.recall:
            for query in recall.queries:
                targets[query] = (*targets.get(query, ()), recall.target)
        return targets

    def _recalls(
        self, network: FourM, makers: Sequence[BatchMaker], query: tuple[str, ...], targets: tuple[str, ...]
    ) -> dict[str, float | None]:
        """`recalls` of each target: the mean over the folders whose samples have all of query and targets."""
        shares: dict[str, list[tuple[float, ...]]] = {target: [] for target in targets}
        for number in range(len(makers)):
            found = self._predicted(network, self._parts(makers, [number]), query, targets)
            for target, (predicted, stored) in found.items():
                shares[target].append(recalls(torch.cat(predicted), torch.cat(stored)))
        means = {target: np.mean(rows, axis=0).tolist() if rows else [None] * 2 for target, rows in shares.items()}
        return {
            f"recall@{rank}/{target}/{'+'.join(query)}": means[target][place]
            for target in targets
            for place, rank in enumerate(_RANKS)
        }

    def _predicted(
        self,
        network: FourM,
        parts: Iterator[tuple[BatchMaker, range]],
        query: tuple[str, ...],
        targets: tuple[str, ...],
    ) -> dict[str, tuple[list[Tensor], list[Tensor]]]:
        """Predicted and stored vectors of each target, in parts of rows; only targets that a sample has."""
        rows: dict[str, tuple[list[Tensor], list[Tensor]]] = {}
        for maker, numbers in parts:
            batch, found = maker.whole_batch(numbers, query, targets)
            if found:
                predicted = self.objective.predicted(network, self.objective.prepared(batch), targets)
                for target in targets:
                    own, stored = rows.setdefault(target, ([], []))
                    own.append(predicted[target])
                    stored.append(self.objective.moved(batch.vectors[target]))
        return rows

    def _parts(
        self, makers: Sequence[BatchMaker], chosen: Sequence[int] | None = None
    ) -> Iterator[tuple[BatchMaker, range]]:
        """The samples of the chosen folders, or of all, in parts that fit into memory."""
        size = self.source.size
        for number in range(len(makers)) if chosen is None else chosen:
            last = min(self.config.samples, self.source.folders[number].samples)
            for first in range(0, last, size):
                yield makers[number], range(first, min(first + size, last))


def recalls(predicted: Tensor, stored: Tensor) -> tuple[float, ...]:
    """How often row i of `stored` (n, d) is the nearest, and among the ten nearest, to row i of `predicted` (n, d).

    Nearness is by cosine, with both sides centred on their own mean; a tie counts against the right row.
    """
    scores = _centred(predicted) @ _centred(stored).T
    rank = (scores >= scores.diagonal()[:, None]).sum(dim=1)
    return tuple(float((rank <= most).float().mean()) for most in _RANKS)


def _centred(rows: Tensor) -> Tensor:
    unit = F.normalize(rows, dim=1)
    return F.normalize(unit - unit.mean(dim=0), dim=1)
