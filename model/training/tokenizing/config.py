"""What the training of a tokenizer is told: one frozen record a section of a config file.

Everything is counted in samples; `read_config` makes the records.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from model.tokenizers.config import TokenizerConfig
from model.tokenizers.inputs import InputKind
from model.training.pretraining.config import AdamWConfig, BatchConfig, DataConfig, Precision, RunConfig


class Reconstruction(StrEnum):
    """How far a reconstruction is from what it should be."""

    SMOOTH_L1 = "smooth_l1"
    L1 = "l1"
    MSE = "mse"
    CROSS_ENTROPY = "cross_entropy"  # of the labels of pixels
    BINARY = "binary"  # cross-entropy of masks
    COSINE = "cosine"  # one minus the cosine over channels


# What may be compared how; the first is what the published tokenizers of that kind were trained with.
RECONSTRUCTIONS: Mapping[InputKind, tuple[Reconstruction, ...]] = {
    InputKind.PICTURE: (Reconstruction.SMOOTH_L1, Reconstruction.MSE, Reconstruction.L1),
    InputKind.LABELS: (Reconstruction.CROSS_ENTROPY,),
    InputKind.MASK: (Reconstruction.BINARY,),
    InputKind.MAP: (Reconstruction.SMOOTH_L1, Reconstruction.MSE, Reconstruction.L1, Reconstruction.COSINE),
    InputKind.VECTOR: (Reconstruction.COSINE, Reconstruction.SMOOTH_L1, Reconstruction.MSE, Reconstruction.L1),
}


@dataclass(frozen=True)
class ModalityConfig:
    """What is tokenized: `fields` are alternatives as shards call them, of which a sample shows one that it has.

    `sizes` are sides in pixels, of which each batch draws one; they say nothing of masks, maps and vectors.
    """

    fields: tuple[str, ...]
    kind: InputKind
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class LossConfig:
    """The whole loss is that of the reconstruction plus `commitment` x that of latents to their codes."""

    reconstruction: Reconstruction
    commitment: float


@dataclass(frozen=True)
class CodesConfig:
    """`decay` and `dead_share` of codes that follow averages, `temperature` of codes that are drawn (memcodes)."""

    decay: float
    dead_share: float
    temperature: float


@dataclass(frozen=True)
class EvaluationConfig:
    """Every `every` steps, on up to `samples` validation samples of each folder, the first `pictures` of them drawn.

    A diffusion decodes those that are drawn in `steps` steps.
    """

    every: int
    samples: int
    pictures: int
    steps: int


@dataclass(frozen=True)
class TokenizerTraining:
    """A whole run. `start` is a tokenizer of the same shape, but for the size of its images, to begin with."""

    seed: int
    total_samples: int
    warm_up_samples: int
    modality: ModalityConfig
    tokenizer: TokenizerConfig
    start: Path | None
    loss: LossConfig
    codes: CodesConfig
    data: DataConfig
    optimiser: AdamWConfig
    batch: BatchConfig
    precision: Precision
    average_decay: float
    evaluation: EvaluationConfig | None
    run: RunConfig

    @property
    def steps(self) -> int:
        """Steps until all samples are seen."""
        return math.ceil(self.total_samples / self.batch.size)

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, from 0."""
        seen = (step + 1) * self.batch.size
        return self.optimiser.rate(self.batch.size, seen, self.warm_up_samples, self.total_samples)
