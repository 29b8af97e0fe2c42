"""Evaluate a tokenizer on validation samples during training, and draw some of its reconstructions."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from anyseek.model.tokenizers.build import Tokenizer
from anyseek.model.training.run.folder import RunFolder
from anyseek.model.training.run.records import Number
from anyseek.model.training.run.state import TrainingState
from anyseek.model.training.tokenizing.batches import InputBatch, InputSource
from anyseek.model.training.tokenizing.config import EvaluationConfig
from anyseek.model.training.tokenizing.gallery import draw_gallery
from anyseek.model.training.tokenizing.objective import CodeCounts, TokenizerObjective, reconstruct
from anyseek.model.training.tokenizing.quality import Quality, quality_of


@dataclass(frozen=True)
class TokenizerEvaluation:
    """Losses, use of codes and reconstructions of the first `config.samples` of each folder in its own fixed order.

    `source` has the validation shards of every folder and makes batches of the size that fits into memory. A diffusion
    decodes only what is drawn, so its quality is that of these samples.
    """

    config: EvaluationConfig
    source: InputSource
    objective: TokenizerObjective
    folder: RunFolder
    state: TrainingState

    def columns(self) -> list[str]:
        """The names of what `measure` gives."""
        losses = [name for name in self.objective.columns if name.startswith("loss/")]
        return ["loss", *losses, "codes/used", "codes/perplexity", *self._quality().found()]

    @torch.no_grad()
    def measure(self, network: Tokenizer) -> dict[str, Number]:
        """Every column's value; writes a picture named by the step."""
        network.eval()
        tally = _Tally(self._quality(), self._counts())
        for batch in self._batches():
            self._add(network, self.objective.prepared(batch), tally)
        if tally.drawn:
            wanted, rebuilt = (torch.cat(parts)[: self.config.pictures] for parts in zip(*tally.drawn, strict=True))
            path = self.folder.reconstructions / f"step-{self.state.counters.step:09d}.png"
            draw_gallery(self.source.kind, wanted, rebuilt, path)
        network.train()
        return tally.found(self.objective)

    def _add(self, network: Tokenizer, batch: InputBatch, tally: "_Tally") -> None:
        done = self.objective.passed(network, batch)
        for name, loss in self.objective.parts(done).items():
            tally.losses[name] = tally.losses.get(name, 0.0) + float(loss) * batch.samples
        tally.samples += batch.samples
        tally.counts.add(done.ids)
        draws = tally.drawn_samples < self.config.pictures
        if draws or not self.source.tokenizer.is_diffusion:
            size = (int(batch.values.shape[-2]), int(batch.values.shape[-1])) if batch.values.dim() > 2 else (0, 0)
            rebuilt = reconstruct(network, done.ids, size, self.config.steps)
            tally.quality.add(batch.values, rebuilt)
            if draws:
                tally.drawn.append((batch.values, rebuilt))

    def _batches(self) -> Iterator[InputBatch]:
        """The samples in parts; the numbers of the parts are the same at every evaluation."""
        number = 0
        for folder in self.source.folders:
            maker = replace(self.source, folders=(folder,)).maker()
            last = min(self.config.samples, folder.samples)
            for first in range(0, last, self.source.size):
                samples = range(first, min(first + self.source.size, last))
                yield maker.batch(samples, self.source.modality.sizes[0], number)
                number += 1
            maker.close()

    def _quality(self) -> Quality:
        return quality_of(self.source.kind, self.source.tokenizer.n_labels)

    def _counts(self) -> CodeCounts:
        return CodeCounts(self.source.tokenizer.num_codebooks, self.source.tokenizer.codebook_size)


class _Tally:
    """Sums over the batches of an evaluation; `drawn` are inputs and reconstructions that are shown."""

    def __init__(self, quality: Quality, counts: CodeCounts) -> None:
        self.quality, self.counts = quality, counts
        self.losses: dict[str, float] = {}
        self.samples = 0
        self.drawn: list[tuple[Tensor, Tensor]] = []

    @property
    def drawn_samples(self) -> int:
        return sum(len(wanted) for wanted, _ in self.drawn)

    def found(self, objective: TokenizerObjective) -> dict[str, Number]:
        means = {name: total / self.samples for name, total in self.losses.items()}
        whole = objective.config.loss.commitment * means.get("loss/commitment", 0.0) + means["loss/reconstruction"]
        used = {"codes/used": self.counts.used(), "codes/perplexity": self.counts.perplexity()}
        return {"loss": whole, **means, **used, **self.quality.found()}
