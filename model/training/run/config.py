"""The settings that every training run shares, for 4M networks and tokenizers. No torch."""

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from anyseek.model.config import AboveZero, Config, Natural, NotNegative, Positive, Share


class Precision(StrEnum):
    """The type of activations; weights and averages are always float32."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class Folder(Config):
    """A data set and its weight among the others."""

    path: Path = Field(alias="folder")
    weight: NotNegative = 1.0


class DataConfig(Config):
    """`window`: how many shards of a folder are shuffled into each other, and so read at a time."""

    folders: tuple[Folder, ...]
    window: Positive = 64

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not any(folder.weight for folder in self.folders):
            raise ValueError("folders must have a folder with a weight above 0")
        return self


Beta = Annotated[float, Field(ge=0, lt=1)]


class AdamWConfig(Config):
    """AdamW and its rate: base_rate x batch size / 256 after the warm-up, then a cosine down to `final_share` of it.

    `clip` is the largest norm of the gradient; None leaves the gradient unchanged.
    """

    base_rate: NotNegative
    betas: tuple[Beta, Beta] = (0.9, 0.95)
    epsilon: NotNegative = 1e-8
    weight_decay: NotNegative = 0.05
    clip: AboveZero | None = None
    final_share: Share = 0.0

    def rate(self, batch: int, seen: int, warm_up: int, total: int) -> float:
        """The learning rate of the step after which `seen` of `total` tokens or samples are seen."""
        peak = self.base_rate * batch / 256
        if seen <= warm_up:
            return peak * seen / warm_up
        done = min((seen - warm_up) / max(total - warm_up, 1), 1.0)
        return peak * (self.final_share + (1 - self.final_share) * 0.5 * (1 + math.cos(math.pi * done)))


class BatchConfig(Config):
    """`size` samples a step, gone through in `accumulation` equal parts."""

    size: Positive
    accumulation: Positive = 1

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.size % self.accumulation:
            raise ValueError(f"size {self.size} must be a multiple of accumulation {self.accumulation}")
        return self

    @property
    def part(self) -> int:
        """Samples that are in memory at a time."""
        return self.size // self.accumulation


class RunConfig(Config):
    """Settings that do not affect the result: intervals in steps, checkpoints kept, processes that read ahead."""

    checkpoint_every: Positive = 500
    keep: Positive = 2
    report_every: Positive = 20
    workers: Annotated[int, Field(ge=0, le=256)] = 1


class EvaluationConfig(Config):
    """Every `every` steps, on up to `samples` validation samples of each folder."""

    every: Positive
    samples: Positive = 512


class TrainingSettings(Config):
    """The settings of a whole run that the training loop reads."""

    data: DataConfig
    optimiser: AdamWConfig
    batch: BatchConfig
    seed: Natural = 0
    precision: Precision = Precision.BFLOAT16
    average_decay: Share = 0.999
    evaluation: EvaluationConfig | None = None
    run: RunConfig = Field(default_factory=RunConfig)

    @property
    def steps(self) -> int:
        """Steps until everything is seen."""
        raise NotImplementedError

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, from 0."""
        raise NotImplementedError
