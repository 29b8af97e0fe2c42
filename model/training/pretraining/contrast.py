"""Contrast on the vector used in the end: the soft-decoded prediction plus the shortcuts, centred.

The cross-entropy over a vector's codes only partly rewards the direction of the vector, but direction alone is what
finds unseen things. So InfoNCE (arXiv 1807.03748) is applied to it, against the exact vectors of training samples.

B samples, N negatives, d numbers of a vector. If several processes share a part's samples, each has b consecutive ones
of the B.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anyseek.model.fourm.bundled.shortcuts import Shortcuts
from anyseek.model.tokenizers.vqvae import VQVAE
from anyseek.model.training.pretraining.bank import Bank
from anyseek.model.training.pretraining.collate import Batch
from anyseek.model.training.pretraining.config import ContrastConfig
from anyseek.model.training.pretraining.fit_shortcuts import SAME
from anyseek.model.training.run.processes import Processes

_DRAWS = 5  # tells these draws from those of samples and their order
_FIRST_SCALE, _LARGEST_SCALE = 2.7, 4.0  # logarithms of the inverse temperature
_EQUAL = 0.999  # cosine from which two exact vectors are the same answer
_BLOCKED = -1e4


@dataclass(frozen=True)
class Asked:
    """The answers to find: bank rows int64 (B,), and those of the `negatives` (N,) to compare with as well.

    The samples of this process start at number `first`.
    """

    rows: Tensor
    negatives: Tensor
    first: int = 0


@dataclass(frozen=True)
class TargetLoss:
    """Of one target: cross-entropy over its codes, InfoNCE of its vectors, and how many samples took part."""

    codes: Tensor
    contrast: Tensor
    samples: int


class Contrast(nn.Module):
    """Shortcuts, and the logarithm of each target's inverse temperature. The tokenizers stay as they are.

    `means` float32 (d,) are those of the training samples' exact vectors; `seed` is the run's.
    """

    def __init__(
        self,
        config: ContrastConfig,
        shortcuts: Shortcuts,
        tokenizers: Mapping[str, VQVAE],
        means: Mapping[str, Tensor],
        seed: int,
    ) -> None:
        super().__init__()
        self.config, self.shortcuts = config, shortcuts
        self.scale = nn.ParameterDict({key: nn.Parameter(torch.tensor(_FIRST_SCALE)) for key in config.targets})
        self._tokenizers = {key: tokenizers[key] for key in config.targets}
        self._means, self._seed = dict(means), seed
        for name, parameter in shortcuts.named_parameters():
            parameter.requires_grad_(config.train_maps or not name.endswith((".down", ".up")))

    def vectors(self, logits: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The network's prediction of each target (B, h, K), decoded softly, plus the shortcuts: float32 (B, d)."""
        found = {}
        for key, rows in logits.items():
            decoded = self._tokenizers[key].decode_probabilities(rows.float().softmax(dim=2))
            found[key] = F.normalize(decoded, dim=1)
            if own:
                found[key] = found[key] + self.shortcuts(own, key)
        return found

    def ask(self, batch: Batch, bank: Bank, processes: Processes) -> Asked:
        """Choose what the samples of a part should find: a function of the seed and the number of its first sample.

        A sample that shows its vector itself is asked for another vendor's drawing of its concept; so are others, now
        and then.
        """
        first = processes.number * batch.samples
        generator = np.random.default_rng([self._seed, _DRAWS, batch.number - first])
        rows = processes.joined(batch.rows.cpu()).numpy().copy()
        shows = processes.joined(self._shows_itself(batch, bank)).numpy()
        draws = generator.random(len(rows))
        for place, row in enumerate(rows):
            if shows[place] or draws[place] < self.config.other_share:
                others = bank.others(row)
                rows[place] = others[generator.integers(len(others))] if len(others) else row
        negatives = generator.choice(len(bank), min(self.config.negatives, len(bank)), replace=False)
        return Asked(torch.from_numpy(rows), torch.from_numpy(negatives), first)

    def _shows_itself(self, batch: Batch, bank: Bank) -> Tensor:
        """Which samples have an own vector that is one of their exact vectors: bool (B,)."""
        shows = torch.zeros(batch.samples, dtype=torch.bool)
        for key in self.config.targets:
            exact = bank.vectors[key][batch.rows.cpu()].float()
            for own in batch.own.values():
                if own.shape == exact.shape:
                    shows |= (own.cpu() * exact).sum(dim=1) > SAME
        return shows

    def losses(
        self, logits: Mapping[str, Tensor], batch: Batch, bank: Bank, processes: Processes
    ) -> dict[str, TargetLoss]:
        """The losses of a prepared batch by target; samples that show nothing or lack the target are skipped.

        The wrong answers are everything that the part of the batch should find, including samples of other processes.
        """
        asked = self.ask(batch, bank, processes)
        given = torch.zeros(batch.samples, dtype=torch.bool, device=next(iter(logits.values())).device)
        for shown in batch.inputs.values():
            given = given | (~shown.mask).any(dim=1)
        vectors = self.vectors(logits, batch.own)
        return {key: self._loss(key, logits[key], vectors[key], given, asked, bank) for key in self.config.targets}

    def _loss(self, key: str, logits: Tensor, vectors: Tensor, given: Tensor, asked: Asked, bank: Bank) -> TargetLoss:
        rows, own = torch.cat((asked.rows, asked.negatives)), slice(asked.first, asked.first + len(logits))
        exact, mean = bank.vectors[key][rows].to(logits.device, torch.float32), self._means[key].to(logits.device)
        takes_part = given & exact[own].any(dim=1)
        if not takes_part.any():
            zero = vectors.sum() * 0.0
            return TargetLoss(zero, zero, 0)
        codes = self._tokenizers[key].encode(exact[own])[takes_part]
        gallery = F.normalize(exact - mean, dim=1)
        scores = F.normalize(vectors - mean, dim=1) @ gallery.T * self.scale[key].clamp(max=_LARGEST_SCALE).exp()
        blocked = _blocked(torch.from_numpy(bank.groups)[rows].to(logits.device), exact, own)
        right = torch.arange(asked.first, own.stop, device=logits.device)
        contrast = F.cross_entropy(scores.masked_fill(blocked, _BLOCKED)[takes_part], right[takes_part])
        chosen = logits.float()[takes_part]
        return TargetLoss(F.cross_entropy(chosen.flatten(0, 1), codes.flatten()), contrast, int(takes_part.sum()))


def _blocked(groups: Tensor, exact: Tensor, own: slice) -> Tensor:
    """Which of the rows (B + N) may not count as wrong answers of those in `own`: bool (b, B + N).

    Those of the same group (B + N,), those whose exact vectors (B + N, d) are the same, and those without one.
    """
    same = groups[own, None] == groups[None, :]
    blocked = same | (exact[own] @ exact.T > _EQUAL) | ~exact.any(dim=1)[None, :]
    rows = torch.arange(len(blocked))
    blocked[rows, own.start + rows] = False
    return blocked
