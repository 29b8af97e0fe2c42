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
        """The column names of `measure`."""
        return ["loss", *self.objective.columns, *(name for query in self._queries() for name in _columns(*query))]

    @torch.no_grad()
    def measure(self, network: FourM) -> dict[str, float | None]:
        """Every column's value; None where no sample could be measured."""
        network.eval()
        # one for each folder, so that a sample's number does not depend on the other folders
        makers = [BatchMaker(replace(self.source, folders=(folder,))) for folder in self.source.folders]
        measured = self._losses(network, makers)
        for query, target in self._queries():
            measured |= self._recalls(network, makers, query, target)
        network.train()
        for maker in makers:
            maker.close()
        return measured

    def _queries(self) -> list[tuple[tuple[str, ...], str]]:
        """Pairs of a query's modalities and the target that they should retrieve."""
        return [(query, recall.target) for recall in self.config.recall for query in recall.queries]

    def _losses(self, network: FourM, makers: Sequence[BatchMaker]) -> dict[str, float | None]:
        """Losses on samples masked as in training, with the same masks each time."""
        columns = self.objective.columns
        sums, elements = dict.fromkeys(columns, 0.0), dict.fromkeys(columns, 0)
        for maker, numbers in (part for folder in range(len(makers)) for part in self._parts(makers, folder)):
            batch = maker.masked_batch(numbers)
            if batch.inputs:
                losses = self.objective.losses(network, self.objective.prepare(batch))
                for key, loss in losses.values.items():
                    sums[key] += float(loss) * losses.elements[key]
                    elements[key] += losses.elements[key]
        means = {key: torch.tensor(sums[key] / max(elements[key], 1)) for key in sums}
        total = float(self.objective.total(Parts(means, elements))) if any(elements.values()) else None
        return {"loss": total, **{key: float(means[key]) if elements[key] else None for key in means}}

    def _recalls(
        self, network: FourM, makers: Sequence[BatchMaker], query: tuple[str, ...], target: str
    ) -> dict[str, float | None]:
        """The mean `recalls` of the folders that have samples with all of the query and the target."""
        shares = []
        for folder in range(len(makers)):
            predicted, stored = [], []
            for maker, numbers in self._parts(makers, folder):
                batch, usable = maker.whole_batch(numbers, query, [target])
                if usable:
                    vectors = self.objective.predict_vectors(network, self.objective.prepare(batch), (target,))
                    predicted.append(vectors[target])
                    stored.append(self.objective.to_device(batch.vectors[target]))
            if predicted:
                shares.append(recalls(torch.cat(predicted), torch.cat(stored)))
        means = np.mean(shares, axis=0).tolist() if shares else [None] * len(_RANKS)
        return dict(zip(_columns(query, target), means, strict=True))

    def _parts(self, makers: Sequence[BatchMaker], folder: int) -> Iterator[tuple[BatchMaker, range]]:
        """The samples of a folder in parts that fit into memory."""
        size, last = self.source.size, min(self.config.samples, self.source.folders[folder].samples)
        for first in range(0, last, size):
            yield makers[folder], range(first, min(first + size, last))


def _columns(query: Sequence[str], target: str) -> list[str]:
    return [f"recall@{rank}/{target}/{'+'.join(query)}" for rank in _RANKS]


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
