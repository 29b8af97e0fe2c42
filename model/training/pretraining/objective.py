"""The loss of a batch: cross-entropy for every target modality, contrast, and their total."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from anyseek.model.network.tokens import EncoderTokens
from anyseek.model.network.transformer import Context, FourM, Losses
from anyseek.model.tokenizers.vqvae import VQVAE
from anyseek.model.training.pretraining.bank import Bank
from anyseek.model.training.pretraining.collate import Batch
from anyseek.model.training.pretraining.config import LossKind, TrainingConfig
from anyseek.model.training.pretraining.contrast import Contrast
from anyseek.model.training.run.config import Precision
from anyseek.model.training.run.processes import ALONE, Processes
from anyseek.model.training.run.task import Parts


@dataclass(frozen=True)
class Objective:
    """Turns batches into losses. `tokenizers` make ids of vectors, by checkpoint key; `weights` are by target.

    `contrast` compares with the vectors in `bank`, which belong to the samples that batches are made of. With
    `processes`, the samples of a part are spread over them. `in_step` runs the decoder even if no sample predicts
    anything, as the processes of a sharded network must.
    """

    kind: LossKind
    precision: Precision
    weights: Mapping[str, float]
    tokenizers: Mapping[str, VQVAE]
    device: torch.device
    contrast: Contrast | None = None
    bank: Bank | None = None
    processes: Processes = ALONE
    in_step: bool = False

    @classmethod
    def of(
        cls,
        config: TrainingConfig,
        tokenizers: Mapping[str, VQVAE],
        device: torch.device,
        contrast: Contrast | None,
        bank: Bank | None,
    ) -> "Objective":
        """The objective of a config; `tokenizers` and `contrast` are on the device."""
        weights = {modality.key: modality.loss_weight for modality in config.modalities if modality.target}
        return cls(config.loss, config.precision, weights, tokenizers, device, contrast, bank)

    @property
    def columns(self) -> list[str]:
        """The names of all losses."""
        whole = [] if self.contrast is None else self.contrast.config.targets
        return [f"loss/{key}" for key in (*self.weights, *whole)] + [f"contrast/{key}" for key in whole]

    def losses(self, network: FourM, batch: Batch) -> Parts:
        """The losses of a prepared batch."""
        with self.autocast():
            context = network.encode(batch.inputs) if batch.inputs else _nothing(network, batch.samples, self.device)
            tokens = self._token_losses(network, context, batch)
        values = {f"loss/{key}": loss for key, loss in tokens.per_modality.items()}
        elements = {f"loss/{key}": number for key, number in tokens.elements.items()}
        if self.contrast is not None and self.bank is not None:
            logits = self.whole_logits(network, context, self.contrast.config.targets)
            for key, loss in self.contrast.losses(logits, batch, self.bank, self.processes).items():
                values |= {f"loss/{key}": loss.codes, f"contrast/{key}": loss.contrast}
                elements |= {f"loss/{key}": loss.samples * logits[key][0].numel(), f"contrast/{key}": loss.samples}
        return self._shares(Parts(values, elements))

    def _token_losses(self, network: FourM, context: Context, batch: Batch) -> Losses:
        """Cross-entropy of the mixture's targets; the decoder need not run where nobody predicts any."""
        nobody = all(bool(wanted.mask.all()) for wanted in batch.targets.values())
        if not batch.targets or (nobody and not self.in_step):
            zero = context.states.sum() * 0.0
            return Losses(dict.fromkeys(batch.targets, zero), dict.fromkeys(batch.targets, 0))
        tokens = network.embed_targets(batch.targets, 1 if nobody else None)
        decoded = network.run_decoder(tokens.content + tokens.embedding, context, tokens.self_blocked)
        return network.losses(decoded, tokens, batch.targets)

    def _shares(self, parts: Parts) -> Parts:
        """A process's shares of the means over what all that have a part together predict; their sum is the mean."""
        if self.processes.count == 1:
            return parts
        names = list(parts.values)
        sums = self.processes.summed([parts.elements[name] for name in names])
        elements = {name: int(total) for name, total in zip(names, sums, strict=True)}
        weights = {name: parts.elements[name] / max(elements[name], 1) for name in names}
        return Parts({name: parts.values[name] * weights[name] for name in names}, elements)

    def predicted(self, network: FourM, batch: Batch, targets: tuple[str, ...]) -> dict[str, Tensor]:
        """Vectors (B, d) of targets of kind vector as they are used: decoded softly, with contrast plus shortcuts."""
        with self.autocast():
            context = network.encode(batch.inputs)
        logits = self.whole_logits(network, context, targets)
        if self.contrast is not None:
            return self.contrast.vectors(logits, batch.own)
        return {key: self.tokenizers[key].decode_probabilities(scores.softmax(dim=2)) for key, scores in logits.items()}

    def whole_logits(self, network: FourM, context: Context, targets: tuple[str, ...]) -> dict[str, Tensor]:
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
    def prepared(self, batch: Batch) -> Batch:
        """The batch on the device, floats as float32, vectors made into ids."""
        ids = {key: self.tokenizers[key].encode(self.moved(rows)) for key, rows in batch.vectors.items()}
        inputs = {
            key: replace(
                given, values=ids[key] if key in ids else self.moved(given.values), mask=self.moved(given.mask)
            )
            for key, given in batch.inputs.items()
        }
        targets = {
            key: replace(wanted, ids=ids[key] if key in ids else self.moved(wanted.ids), mask=self.moved(wanted.mask))
            for key, wanted in batch.targets.items()
        }
        own = {key: self.moved(rows) for key, rows in batch.own.items()}
        return replace(batch, inputs=inputs, targets=targets, own=own)

    def moved(self, tensor: Tensor) -> Tensor:
        """A tensor on the device, floats as float32."""
        dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
        return tensor.to(self.device, dtype)


def _nothing(network: FourM, samples: int, device: torch.device) -> Context:
    """What the decoder attends to where no sample shows anything: one unused token a sample."""
    unused = torch.ones(samples, 1, dtype=torch.bool, device=device)
    empty = torch.zeros(samples, 1, network.config.dim, device=device)
    tokens = EncoderTokens(empty, empty, unused, torch.full((samples, 1), -1, device=device))
    return network.make_context(tokens, network.run_encoder(tokens))
