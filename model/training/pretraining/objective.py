"""The loss of a batch: cross-entropy of every target modality, and how these become one number."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model.tokenizers.vqvae import VQVAE
from model.training.pretraining.collate import Batch
from model.training.pretraining.config import LossKind, Precision, TrainingConfig
from model.transformer import FourM, Losses


@dataclass(frozen=True)
class Objective:
    """What turns batches into losses. `tokenizers` make ids of vectors, by checkpoint key; `weights` are by target."""

    kind: LossKind
    precision: Precision
    weights: Mapping[str, float]
    tokenizers: Mapping[str, VQVAE]
    device: torch.device

    @classmethod
    def of(cls, config: TrainingConfig, tokenizers: Mapping[str, VQVAE], device: torch.device) -> "Objective":
        """That of a config; `tokenizers` are on the device."""
        weights = {modality.key: modality.loss_weight for modality in config.modalities if modality.target}
        return cls(config.loss, config.precision, weights, tokenizers, device)

    def losses(self, network: FourM, batch: Batch) -> Losses:
        """The losses of a prepared batch by modality."""
        with self.autocast():
            return network(batch.inputs, batch.targets)  # type: ignore[no-any-return]

    def autocast(self) -> torch.autocast:
        """The context in which activations have the config's precision."""
        enabled = self.precision is Precision.BFLOAT16
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)

    def total(self, losses: Losses) -> Tensor:
        """One number of them all: `Losses.mean_over_modalities` or `mean_over_tokens`, each loss times its weight."""
        weighted = {key: loss * self.weights[key] for key, loss in losses.per_modality.items()}
        scaled = Losses(weighted, losses.elements)
        return scaled.mean_over_modalities() if self.kind is LossKind.MOD else scaled.mean_over_tokens()

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
        return replace(batch, inputs=inputs, targets=targets)

    def moved(self, tensor: Tensor) -> Tensor:
        """A tensor on the device, floats as float32."""
        dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
        return tensor.to(self.device, dtype)
