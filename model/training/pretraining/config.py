"""The config of a training run: one frozen dataclass per section of the file. No torch.

`read_config` makes them. The bounds of each value are part of its type.

Tokens are counted as in 4M: a step sees batch size x (most input + most target tokens), even if masking leaves some of
them unused.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from anyseek.model.config_reader import (
    Alone,
    Key,
    NamedBy,
    Natural,
    NotNegative,
    Positive,
    ReadBy,
    Refused,
    Share,
    Texts,
    read_values,
)
from anyseek.model.modalities.formats.layout import Keep
from anyseek.model.network.config import FourMConfig, ModalityConfig
from anyseek.model.training.run.config import AdamWConfig, BatchConfig, DataConfig, LargeRunConfig, Precision

_ROW_FIELDS = [row_field.name for row_field in fields(ModalityConfig) if row_field.name not in ("key", "kind")]


class FieldKind(StrEnum):
    """What the files of a modality hold, which determines how they become tokens."""

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
    """How the losses of the modalities are combined: see `anyseek.model.network.transformer.Losses`."""

    MOD = "mod"
    TOKEN = "token"


@dataclass(frozen=True)
class Range:
    """Whole numbers from `least` to `most`, each as likely; in a config a number or a pair."""

    least: Positive
    most: Positive

    @classmethod
    def shorthand(cls, written: object) -> object:
        """The mapping of a number or a pair."""
        ends = written if isinstance(written, list) else [written]
        if len(ends) not in (1, 2):
            raise Refused("", f"must be a number or a rising pair, not {ends}")
        return {"least": ends[0], "most": ends[-1]}

    def __post_init__(self) -> None:
        if self.least > self.most:
            raise Refused("", f"must be a number or a rising pair, not {[self.least, self.most]}")


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
    fields: Annotated[Texts, Key("field")]
    kind: FieldKind
    format: str = ""
    row: Mapping[str, Any] = field(default_factory=dict)
    input: Annotated[tuple[NotNegative, ...], Alone()] = ()
    target: Annotated[tuple[NotNegative, ...], Alone()] = ()
    keep: Annotated[tuple[Keep, ...], Alone()] = (Keep.RANDOM,)
    max_tokens: Positive | None = None
    loss_weight: NotNegative = 1.0
    tokenizer: Path | None = None
    lengths: str | None = None

    @classmethod
    def shorthand(cls, written: object) -> object:
        """The fields of the network's row stand among the others, and a modality is its own field unless told."""
        if not isinstance(written, Mapping) or "row" in written:
            return written
        own = {key: value for key, value in written.items() if key not in _ROW_FIELDS}
        row = {key: value for key, value in written.items() if key in _ROW_FIELDS}
        return {"field": written.get("key"), **own, "row": row}


_USUAL_RANK = 96


@dataclass(frozen=True)
class ContrastConfig:
    """Vectors that every sample predicts whole, and how the result is compared with those of all training samples.

    `targets` are modalities of kind vector. The cross-entropy over their codes counts `code_weight`; `negatives` rows
    are drawn a step; `other_share` is how often the vectors to be found are those of another sample of the concept.
    `own` names, beside the fields of an input, the arrays that hold its own encoder vector; `ranks` are those of the
    shortcuts to each target, whose maps stay as they were fitted unless `train_maps`.
    """

    targets: Texts
    code_weight: NotNegative = 0.25
    negatives: Natural = 2048
    other_share: Share = 0.0
    own: Mapping[str, Texts] = field(default_factory=dict)
    ranks: Mapping[str, Positive] = field(default_factory=dict)
    train_maps: bool = True

    @classmethod
    def shorthand(cls, written: object) -> object:
        """`rank` is one number for all targets, or one for each."""
        if not isinstance(written, Mapping) or "targets" not in written or "ranks" in written:
            return written
        given, targets = written.get("rank", _USUAL_RANK), written["targets"]
        names = targets if isinstance(targets, list) else [targets]
        ranks = given if isinstance(given, list) else [given] * len(names)
        if len(ranks) != len(names):
            told = ", ".join(map(str, names))
            raise Refused("rank", f"must be one number, or one for each of {told}, not {given}")
        others = {key: value for key, value in written.items() if key != "rank"}
        return {**others, "ranks": {str(name): rank for name, rank in zip(names, ranks, strict=True)}}


@dataclass(frozen=True)
class Mixture:
    """The weights of the mixture's components, and how many tokens a sample gives and predicts at most."""

    weights: Annotated[tuple[NotNegative, ...], Alone()]
    input_tokens: Range
    target_tokens: Range

    @classmethod
    def shorthand(cls, written: object) -> object:
        """One component unless weights are told."""
        return {"weights": 1.0, **written} if isinstance(written, Mapping) else written

    def __post_init__(self) -> None:
        if not any(self.weights):
            raise Refused("weights", "must have a number above 0")


@dataclass(frozen=True)
class TextConfig:
    """The text tokenizer: a `vocabulary` file, or one made of the `words` most frequent words of training captions."""

    vocabulary: Path | None = None
    words: Natural = 0

    def __post_init__(self) -> None:
        if (self.vocabulary is None) == (self.words == 0):
            raise Refused("", "must have either a vocabulary file or a number of words")


@dataclass(frozen=True)
class OptimiserConfig(AdamWConfig):
    """And over how many tokens the rate rises to its peak."""

    warm_up_tokens: Natural = 0


@dataclass(frozen=True)
class RecallConfig:
    """Find validation samples by their stored vector `target` from each set of whole modalities in `queries`."""

    target: str
    queries: tuple[Texts, ...]

    def __post_init__(self) -> None:
        if not self.queries:
            raise Refused("queries", "must be a list of lists of modalities, not empty")


@dataclass(frozen=True)
class EvaluationConfig:
    """Every `every` steps, on up to `samples` validation samples of each folder."""

    every: Positive
    samples: Positive = 512
    recall: tuple[RecallConfig, ...] = ()


@dataclass(frozen=True)
class StartConfig:
    """The network to start from: a model's name, the folder of a run or of bundled weights, or a file.

    Until `frozen_tokens` are seen, only the parameters that it lacks are trained.
    """

    source: Annotated[str, Key("from")]
    frozen_tokens: Natural = 0

    @classmethod
    def shorthand(cls, written: object) -> object:
        """`start: NAME` is `start: {from: NAME}`."""
        return {"from": written} if isinstance(written, str) else written


_WITHOUT_BIASES = {
    "act_layer": "SiLU",
    "gated_mlp": True,
    "norm_bias": False,
    "qkv_bias": False,
    "proj_bias": False,
    "mlp_bias": False,
    "tie_token_embeddings": True,
}


def _size(dim: int, depth: int, heads: int) -> dict[str, Any]:
    return {**_WITHOUT_BIASES, "dim": dim, "encoder_depth": depth, "decoder_depth": depth, "num_heads": heads}


# Networks by name: the published sizes without biases and with gated feed-forward layers, and two smaller ones.
SIZES: Mapping[str, Mapping[str, Any]] = {
    "tiny": _size(384, 6, 6),
    "small": _size(512, 8, 8),
    "B": _size(768, 12, 12),
    "L": _size(1024, 24, 16),
    "XL": _size(2048, 24, 32),
}


def _read_network(written: object, where: str) -> Mapping[str, Any]:
    """Fields of a network, after those of the named `size`."""
    given = dict(written) if isinstance(written, Mapping) else written
    size = given.pop("size", None) if isinstance(given, dict) else None
    if size is not None and size not in SIZES:
        raise Refused(f"{where}.size", f"must be one of {', '.join(SIZES)}, not {size!r}")
    told = read_values(FourMConfig, given, where, ["size"], ("domains_in", "domains_out", "modalities"))
    return {**(SIZES[size] if size else {}), **told}


@dataclass(frozen=True)
class TrainingConfig:
    """A whole run. `network` holds fields of `anyseek.model.network.config.FourMConfig` without its modalities."""

    total_tokens: Positive
    network: Annotated[Mapping[str, Any], ReadBy(_read_network)]
    modalities: Annotated[tuple[TrainedModality, ...], NamedBy("key")]
    data: DataConfig
    mixture: Annotated[Mixture, Key("masking")]
    optimiser: OptimiserConfig
    batch: BatchConfig
    seed: Natural = 0
    start: StartConfig | None = None
    contrast: ContrastConfig | None = None
    text: TextConfig | None = None
    precision: Precision = Precision.BFLOAT16
    loss: LossKind = LossKind.MOD
    average_decay: Share = 0.999
    evaluation: EvaluationConfig | None = None
    run: LargeRunConfig = field(default_factory=LargeRunConfig)

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
