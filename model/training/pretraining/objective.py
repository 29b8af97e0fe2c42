"""The loss of a batch: cross-entropy for every target modality, contrast, and their total.

Contrast is on the vector used in the end: the soft-decoded prediction plus the shortcuts, centred. The cross-entropy
over a vector's codes only partly rewards the direction of the vector, but direction alone is what finds unseen things.
So InfoNCE (arXiv 1807.03748) is applied to it, against the exact vectors of training samples.

B samples, N negatives, d numbers of a vector."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anyseek.model.fourm.bundled.shortcuts import Shortcuts
from anyseek.model.network.tokens import EncoderTokens, ModalityInput, ModalityTarget
from anyseek.model.network.transformer import Context, FourM, Losses
from anyseek.model.tokenizers.vqvae import VQVAE
from anyseek.model.training.pretraining.batches import Batch
from anyseek.model.training.pretraining.config import ContrastConfig, LossKind
from anyseek.model.training.pretraining.shortcuts import SAME, Bank
from anyseek.model.training.run.config import Precision
from anyseek.model.training.run.loop import Parts

_DRAWS = 5  # tells these draws from those of samples and their order
_FIRST_SCALE, _MAX_SCALE = 2.7, 4.0  # logarithms of the inverse temperature
_EQUAL = 0.999  # cosine from which two exact vectors are the same answer
_BLOCKED = -1e4


class Answers(NamedTuple):
    """The positives of contrast, bank rows int64 (B,), and additional `negatives` (N,)."""

    rows: Tensor
    negatives: Tensor


@dataclass(frozen=True)
class TargetLoss:
    """The losses of one target: cross-entropy over its codes, InfoNCE of its vectors; with the samples counted."""

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

    def vectors(self, logits: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The network's prediction of each target (B, h, K), decoded softly, plus the shortcuts: float32 (B, d)."""
        found = {}
        for key, rows in logits.items():
            decoded = self._tokenizers[key].decode_probabilities(rows.float().softmax(dim=2))
            found[key] = F.normalize(decoded, dim=1)
            if own:
                found[key] = found[key] + self.shortcuts(own, key)
        return found

    def draw_answers(self, batch: Batch, bank: Bank) -> Answers:
        """Draw the positives of a part's samples, determined by the seed and the number of its first sample.

        A sample that shows its vector itself is asked for another vendor's drawing of its concept; so are others, now
        and then.
        """
        generator = np.random.default_rng([self._seed, _DRAWS, batch.number])
        rows, shows = batch.rows.cpu().numpy().copy(), self._is_trivial(batch, bank).numpy()
        draws = generator.random(len(rows))
        for place, row in enumerate(rows):
            if shows[place] or draws[place] < self.config.other_share:
                others = bank.same_concept_rows(row)
                rows[place] = others[generator.integers(len(others))] if len(others) else row
        negatives = generator.choice(len(bank), min(self.config.negatives, len(bank)), replace=False)
        return Answers(torch.from_numpy(rows), torch.from_numpy(negatives))

    def _is_trivial(self, batch: Batch, bank: Bank) -> Tensor:
        """Mask of samples with an own vector that is one of their exact vectors: bool (B,)."""
        shows = torch.zeros(batch.samples, dtype=torch.bool)
        for key in self.config.targets:
            exact = bank.vectors[key][batch.rows.cpu()].float()
            for own in batch.own.values():
                if own.shape == exact.shape:
                    shows |= (own.cpu() * exact).sum(dim=1) > SAME
        return shows

    def losses(self, logits: Mapping[str, Tensor], batch: Batch, bank: Bank) -> dict[str, TargetLoss]:
        """The losses of a prepared batch by target; samples that show nothing or lack the target are skipped.

        The wrong answers of a sample are those that the others of the batch should find, and the negatives.
        """
        answers = self.draw_answers(batch, bank)
        given = torch.zeros(batch.samples, dtype=torch.bool, device=next(iter(logits.values())).device)
        for shown in batch.inputs.values():
            given = given | (~shown.mask).any(dim=1)
        vectors = self.vectors(logits, batch.own)
        return {key: self._loss(key, logits[key], vectors[key], given, answers, bank) for key in self.config.targets}

    def _loss(
        self, key: str, logits: Tensor, vectors: Tensor, given: Tensor, answers: Answers, bank: Bank
    ) -> TargetLoss:
        rows, samples = torch.cat(answers), len(logits)
        exact, mean = bank.vectors[key][rows].to(logits.device, torch.float32), self._means[key].to(logits.device)
        takes_part = given & exact[:samples].any(dim=1)
        if not takes_part.any():
            zero = vectors.sum() * 0.0
            return TargetLoss(zero, zero, 0)
        codes = self._tokenizers[key].encode(exact[:samples])[takes_part]
        gallery = F.normalize(exact - mean, dim=1)
        scores = F.normalize(vectors - mean, dim=1) @ gallery.T * self.scale[key].clamp(max=_MAX_SCALE).exp()
        blocked = _blocked_mask(torch.from_numpy(bank.groups)[rows].to(logits.device), exact, samples)
        right = torch.arange(samples, device=logits.device)
        contrast = F.cross_entropy(scores.masked_fill(blocked, _BLOCKED)[takes_part], right[takes_part])
        chosen = logits.float()[takes_part]
        return TargetLoss(F.cross_entropy(chosen.flatten(0, 1), codes.flatten()), contrast, int(takes_part.sum()))


def _blocked_mask(groups: Tensor, exact: Tensor, samples: int) -> Tensor:
    """Mask of the rows (B + N) that may not count as wrong answers of the first `samples`: bool (B, B + N).

    Those of the same group (B + N,), those whose exact vectors (B + N, d) are the same, and those without one.
    """
    same = groups[:samples, None] == groups[None, :]
    blocked = same | (exact[:samples] @ exact.T > _EQUAL) | ~exact.any(dim=1)[None, :]
    return blocked.fill_diagonal_(False)


@dataclass(frozen=True)
class Objective:
    """Turns batches into losses. `tokenizers` make ids of vectors, by checkpoint key; `weights` are by target.

    `contrast` compares with the vectors in `bank`, which belong to the samples that batches are made of.
    """

    kind: LossKind
    precision: Precision
    weights: Mapping[str, float]
    tokenizers: Mapping[str, VQVAE]
    device: torch.device
    contrast: Contrast | None = None
    bank: Bank | None = None

    @property
    def columns(self) -> list[str]:
        """The names of all losses."""
        whole = [] if self.contrast is None else self.contrast.config.targets
        return [f"loss/{key}" for key in (*self.weights, *whole)] + [f"contrast/{key}" for key in whole]

    def losses(self, network: FourM, batch: Batch) -> Parts:
        """The losses of a prepared batch."""
        with self.autocast():
            context = (
                network.encode(batch.inputs) if batch.inputs else _empty_context(network, batch.samples, self.device)
            )
            tokens = self._token_losses(network, context, batch)
        values = {f"loss/{key}": loss for key, loss in tokens.per_modality.items()}
        elements = {f"loss/{key}": number for key, number in tokens.elements.items()}
        if self.contrast is not None and self.bank is not None:
            logits = self.full_logits(network, context, self.contrast.config.targets)
            for key, loss in self.contrast.losses(logits, batch, self.bank).items():
                values |= {f"loss/{key}": loss.codes, f"contrast/{key}": loss.contrast}
                elements |= {f"loss/{key}": loss.samples * logits[key][0].numel(), f"contrast/{key}": loss.samples}
        return Parts(values, elements)

    def _token_losses(self, network: FourM, context: Context, batch: Batch) -> Losses:
        """Cross-entropy of the mixture's targets; the decoder need not run where nobody predicts any."""
        if all(bool(wanted.mask.all()) for wanted in batch.targets.values()):
            zero = context.states.sum() * 0.0
            return Losses(dict.fromkeys(batch.targets, zero), dict.fromkeys(batch.targets, 0))
        tokens = network.embed_targets(batch.targets)
        decoded = network.run_decoder(tokens.content + tokens.embedding, context, tokens.self_blocked)
        return network.losses(decoded, tokens, batch.targets)

    def predict_vectors(self, network: FourM, batch: Batch, targets: tuple[str, ...]) -> dict[str, Tensor]:
        """Vectors (B, d) of targets of kind vector as they are used: decoded softly, with contrast plus shortcuts."""
        with self.autocast():
            context = network.encode(batch.inputs)
        logits = self.full_logits(network, context, targets)
        if self.contrast is not None:
            return self.contrast.vectors(logits, batch.own)
        return {key: self.tokenizers[key].decode_probabilities(scores.softmax(dim=2)) for key, scores in logits.items()}

    def full_logits(self, network: FourM, context: Context, targets: tuple[str, ...]) -> dict[str, Tensor]:
        """Logits float32 (B, h, K) of all codes of some targets, predicted in one step."""
        with self.autocast():
            found = network.decode_global(context, targets)
        return {key: logits.float() for key, logits in found.items()}

    def autocast(self) -> torch.autocast:
        """The context in which activations have the config's precision."""
        enabled = self.precision is Precision.BFLOAT16
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)

    def total(self, parts: Parts) -> Tensor:
        """Combine all losses into one number.

        The loss of the mixture's targets is `Losses.mean_over_modalities` or `mean_over_tokens`, each loss times its
        weight; contrast adds its losses, and those over codes times `code_weight`.
        """
        names = {key: f"loss/{key}" for key in self.weights}
        weighted = {key: parts.values[name] * self.weights[key] for key, name in names.items()}
        scaled = Losses(weighted, {key: parts.elements[name] for key, name in names.items()})
        total = torch.zeros((), device=self.device)
        if weighted:
            total = scaled.mean_over_modalities() if self.kind is LossKind.MOD else scaled.mean_over_tokens()
        if self.contrast is None:
            return total
        for key in self.contrast.config.targets:
            total = total + self.contrast.config.code_weight * parts.values[f"loss/{key}"]
            total = total + parts.values[f"contrast/{key}"]
        return total

    @torch.no_grad()
    def prepare(self, batch: Batch) -> Batch:
        """The batch on the device, floats as float32, vectors made into ids."""
        ids = {key: self.tokenizers[key].encode(self.to_device(rows)) for key, rows in batch.vectors.items()}

        def moved(key: str, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
            return ids[key] if key in ids else self.to_device(values), self.to_device(mask)

        inputs = {key: ModalityInput(*moved(key, part.values, part.mask)) for key, part in batch.inputs.items()}
        targets = {key: ModalityTarget(*moved(key, part.ids, part.mask)) for key, part in batch.targets.items()}
        own = {key: self.to_device(rows) for key, rows in batch.own.items()}
        return replace(batch, inputs=inputs, targets=targets, own=own)

    def to_device(self, tensor: Tensor) -> Tensor:
        """A tensor on the device, floats as float32."""
        dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
        return tensor.to(self.device, dtype)


def _empty_context(network: FourM, samples: int, device: torch.device) -> Context:
    """The context of samples without inputs: one unused token each."""
    unused = torch.ones(samples, 1, dtype=torch.bool, device=device)
    empty = torch.zeros(samples, 1, network.config.dim, device=device)
    tokens = EncoderTokens(empty, empty, unused, torch.full((samples, 1), -1, device=device))
    return network.make_context(tokens, network.run_encoder(tokens))
