"""What a training run is told: one frozen record a section of a config file. `read_config` makes them. No torch.

Tokens are counted as 4M counts them: a step sees batch size x (most input + most target tokens), whatever the masking
leaves unused.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from model.formats.layout import Keep


class FieldKind(StrEnum):
    """What the files of a modality hold, and so how they become tokens."""

    PICTURE = "picture"  # a picture, drawing, depth map or normals: patches of pixels; input only
    MAP = "map"  # an array (rows, columns, channels): one token a place; input only
    STATES = "states"  # an array (n, width), of several texts one after the other: one token a row; input only
    TOKENS = "tokens"  # an integer array of a tokenizer's codes
    VECTOR = "vector"  # an array (d,), made into codes by the tokenizer of vectors that is named beside it
    TEXT = "text"  # captions, palettes, metadata or boxes: ids of the text tokenizer

    @property
    def can_be_predicted(self) -> bool:
        """Whether the network has logits for it."""
        return self in (FieldKind.TOKENS, FieldKind.VECTOR, FieldKind.TEXT)

    @property
    def is_sequence(self) -> bool:
        """Whether it is masked by spans; all else lies on a grid."""
        return self in (FieldKind.TEXT, FieldKind.STATES)


class LossKind(StrEnum):
    """How the losses of the modalities become one: see `model.transformer.Losses`."""

    MOD = "mod"
    TOKEN = "token"


class Sharding(StrEnum):
    """What each process has of a network."""

    NONE = "none"  # all of it
    FULL = "full"  # an equal share of every parameter, with its moments and average


class Precision(StrEnum):
    """The type of activations; weights and averages are always float32."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


@dataclass(frozen=True)
class Range:
    """Whole numbers from `least` to `most`, each as likely."""

    least: int
    most: int


@dataclass(frozen=True)
class TrainedModality:
    """One modality of the network by its checkpoint key.

    `fields` are alternatives, of which a sample shows one that it has: the part of a shard's file names before the
    dot. `format` is a key of `fields.TEXTS` for text, `row` holds the fields of its `ModalityConfig` that the config
    gives. `input` and `target` hold a Dirichlet concentration for each
    component of the mixture and are empty where the modality is no input or no target; `keep` holds one entry a
    component. `tokenizer` is the weights file of a vector's tokenizer, or of the one that made tokens, where that is
    told. `lengths` is the field that says how many rows of states each text has, where there are several texts.
    """

    key: str
    fields: tuple[str, ...]
    kind: FieldKind
    format: str
    row: Mapping[str, Any]
    input: tuple[float, ...]
    target: tuple[float, ...]
    keep: tuple[Keep, ...]
    max_tokens: int | None
    loss_weight: float
    tokenizer: Path | None
    lengths: str | None


@dataclass(frozen=True)
class ContrastConfig:
    """Vectors that every sample predicts whole, and how the result is compared with those of all training samples.

    `targets` are modalities of kind vector. The cross-entropy over their codes counts `code_weight`; `negatives` rows
    are drawn a step; `other_share` is how often the vectors to be found are those of another sample of the concept.
    `own` names, beside the fields of an input, the arrays that hold its own encoder vector; `ranks` are those of the
    shortcuts to each target, whose maps stay as they were fitted unless `train_maps`.
    """

    targets: tuple[str, ...]
    code_weight: float
    negatives: int
    other_share: float
    own: Mapping[str, tuple[str, ...]]
    ranks: Mapping[str, int]
    train_maps: bool = True


@dataclass(frozen=True)
class Mixture:
    """The weights of the mixture's components, and how many tokens a sample gives and predicts at most."""

    weights: tuple[float, ...]
    input_tokens: Range
    target_tokens: Range


@dataclass(frozen=True)
class Folder:
    """A data set and its weight among the others."""

    path: Path
    weight: float


@dataclass(frozen=True)
class DataConfig:
    """`window`: how many shards of a folder are shuffled into each other, and so read at a time."""

    folders: tuple[Folder, ...]
    window: int


@dataclass(frozen=True)
class TextConfig:
    """The text tokenizer: a `vocabulary` file, or one made of the `words` most frequent words of training captions."""

    vocabulary: Path | None
    words: int


@dataclass(frozen=True)
class AdamWConfig:
    """AdamW, and its rate: base_rate x batch size / 256 after the warm-up, then a cosine down to `final_share` of it.

    `clip` is the largest norm of the gradient, None to leave it as it is.
    """

    base_rate: float
    betas: tuple[float, float]
    epsilon: float
    weight_decay: float
    clip: float | None
    final_share: float

    def rate(self, batch: int, seen: int, warm_up: int, total: int) -> float:
        """The learning rate of the step after which `seen` of `total` tokens or samples are seen."""
        peak = self.base_rate * batch / 256
        if seen <= warm_up:
            return peak * seen / warm_up
        done = min((seen - warm_up) / max(total - warm_up, 1), 1.0)
        return peak * (self.final_share + (1 - self.final_share) * 0.5 * (1 + math.cos(math.pi * done)))


@dataclass(frozen=True)
class OptimiserConfig(AdamWConfig):
    """And over how many tokens the rate rises to its peak."""

    warm_up_tokens: int


@dataclass(frozen=True)
class BatchConfig:
    """`size` samples a step, gone through in `accumulation` equal parts."""

    size: int
    accumulation: int

    @property
    def part(self) -> int:
        """Samples that are in memory at a time."""
        return self.size // self.accumulation


@dataclass(frozen=True)
class RecallConfig:
    """Find validation samples by their stored vector `target` from each set of whole modalities in `queries`."""

    target: str
    queries: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class EvaluationConfig:
    """Every `every` steps, on up to `samples` validation samples of each folder."""

    every: int
    samples: int
    recall: tuple[RecallConfig, ...]


@dataclass(frozen=True)
class RunConfig:
    """What changes nothing about the result: intervals in steps, checkpoints kept, processes that read ahead, and what
    memory is traded for: `sharding` for messages, `activation_checkpointing` for computing blocks twice.
    """

    checkpoint_every: int
    keep: int
    report_every: int
    workers: int
    sharding: Sharding = Sharding.NONE
    activation_checkpointing: bool = False


@dataclass(frozen=True)
class StartConfig:
    """The network to begin with: a model's name, the folder of a run or of bundled weights, or a file.

    Until `frozen_tokens` are seen, only what it lacks is trained.
    """

    source: str
    frozen_tokens: int


@dataclass(frozen=True)
class TrainingConfig:
    """A whole run. `network` holds fields of `model.config.FourMConfig` without its modalities."""

    seed: int
    total_tokens: int
    network: Mapping[str, Any]
    modalities: tuple[TrainedModality, ...]
    start: StartConfig | None
    contrast: ContrastConfig | None
    text: TextConfig | None
    data: DataConfig
    mixture: Mixture
    optimiser: OptimiserConfig
    batch: BatchConfig
    precision: Precision
    loss: LossKind
    average_decay: float
    evaluation: EvaluationConfig | None
    run: RunConfig

    @property
    def tokens_per_step(self) -> int:
        """Tokens that a step counts for."""
        return self.batch.size * (self.mixture.input_tokens.most + self.mixture.target_tokens.most)

    @property
    def steps(self) -> int:
        """Steps until all tokens are seen."""
        return math.ceil(self.total_tokens / self.tokens_per_step)

    @property
    def frozen_steps(self) -> int:
        """For how many steps only what `start` lacks is trained."""
        return 0 if self.start is None else math.ceil(self.start.frozen_tokens / self.tokens_per_step)

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, from 0; once everything is trained, it rises to what it was once more."""
        optimiser, seen = self.optimiser, (step + 1) * self.tokens_per_step
        rate = optimiser.rate(self.batch.size, seen, optimiser.warm_up_tokens, self.total_tokens)
        since = seen - self.frozen_steps * self.tokens_per_step
        if 0 < since < optimiser.warm_up_tokens and self.frozen_steps:
            return rate * since / optimiser.warm_up_tokens
        return rate
