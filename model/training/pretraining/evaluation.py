"""How a network does on validation samples while it is trained: numbers to watch, not results to report."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from model.training.pretraining.batches import BatchMaker, BatchSource
from model.training.pretraining.config import EvaluationConfig, RecallConfig
from model.training.pretraining.objective import Objective
from model.transformer import FourM, Losses

_RANKS = (1, 10)


@dataclass(frozen=True)
class Evaluation:
    """Losses and recalls on the first `config.samples` of each folder in `source`'s own fixed order.

    `source` has the validation shards of every folder and makes batches of the size that fits into memory.
    """

    config: EvaluationConfig
    source: BatchSource
    objective: Objective

    def columns(self) -> list[str]:
        """The names of what `measure` gives."""
        names = [_name(one, query) for one in self.config.recall for query in one.queries]
        recalls = [f"recall@{rank}/{name}" for name in names for rank in _RANKS]
        return ["loss", *(f"loss/{key}" for key in self.objective.weights), *recalls]

    @torch.no_grad()
    def measure(self, network: FourM) -> dict[str, float | None]:
        """Every column's value; None where no sample could be measured."""
        network.eval()
        # one for each folder, so that a sample's number does not depend on the other folders
        makers = [BatchMaker(replace(self.source, folders=(folder,))) for folder in self.source.folders]
        found = self._losses(network, makers)
        for recall in self.config.recall:
            for query in recall.queries:
                found.update(self._recall(network, makers, recall, query))
        network.train()
        for maker in makers:
            maker.close()
        return found

    def _losses(self, network: FourM, makers: Sequence[BatchMaker]) -> dict[str, float | None]:
        """Masked as in training, but every time in the same way."""
        sums = dict.fromkeys(self.objective.weights, 0.0)
        elements = dict.fromkeys(self.objective.weights, 0)
        for maker, numbers in self._parts(makers):
            batch = maker.masked_batch(numbers)
            if batch.inputs:
                losses = self.objective.losses(network, self.objective.prepared(batch))
                for key, loss in losses.per_modality.items():
                    sums[key] += float(loss) * losses.elements[key]
                    elements[key] += losses.elements[key]
        means = {key: torch.tensor(sums[key] / max(elements[key], 1)) for key in sums}
        total = float(self.objective.total(Losses(means, elements))) if any(elements.values()) else None
        return {"loss": total, **{f"loss/{key}": float(means[key]) if elements[key] else None for key in means}}

    def _recall(
        self, network: FourM, makers: Sequence[BatchMaker], recall: RecallConfig, query: Sequence[str]
    ) -> dict[str, float | None]:
        """`recalls` of the samples' own stored vectors; only samples that have all of query and target take part."""
        predicted, stored = [], []
        for maker, numbers in self._parts(makers):
            batch, found = maker.whole_batch(numbers, query, recall.target)
            if found:
                vectors = self.objective.moved(batch.vectors[recall.target])
                prepared = self.objective.prepared(batch)
                with self.objective.autocast():
                    logits = network.decode_global(network.encode(prepared.inputs), [recall.target])[recall.target]
                tokenizer = self.objective.tokenizers[recall.target]
                predicted.append(tokenizer.decode_probabilities(logits.float().softmax(dim=2)))
                stored.append(vectors)
        name = _name(recall, query)
        if not stored:
            return {f"recall@{rank}/{name}": None for rank in _RANKS}
        shares = recalls(torch.cat(predicted), torch.cat(stored))
        return {f"recall@{rank}/{name}": share for rank, share in zip(_RANKS, shares, strict=True)}

    def _parts(self, makers: Sequence[BatchMaker]) -> Iterator[tuple[BatchMaker, range]]:
        size = self.source.size
        for maker, folder in zip(makers, self.source.folders, strict=True):
            last = min(self.config.samples, sum(folder.counts))
            for first in range(0, last, size):
                yield maker, range(first, min(first + size, last))


def _name(recall: RecallConfig, query: Sequence[str]) -> str:
    return f"{recall.target}/{'+'.join(query)}"


def recalls(predicted: Tensor, stored: Tensor) -> tuple[float, ...]:
    """How often row i of `stored` (n, d) is the nearest, and among the ten nearest, to row i of `predicted` (n, d).

    By cosine, both sides centred on their own mean; a tie counts against the right row.
    """
    scores = _centred(predicted) @ _centred(stored).T
    rank = (scores >= scores.diagonal()[:, None]).sum(dim=1)
    return tuple(float((rank <= most).float().mean()) for most in _RANKS)


def _centred(rows: Tensor) -> Tensor:
    unit = F.normalize(rows, dim=1)
    return F.normalize(unit - unit.mean(dim=0), dim=1)
