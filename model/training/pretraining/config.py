"""The config of a training run, which `docs/training.md` describes key by key. No torch.

Tokens are counted as in 4M: a step sees batch size x (most input + most target tokens), even if masking leaves some of
them unused. Paths are relative to the current folder.
"""

import math
from collections.abc import Collection, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, TypeAdapter, model_validator

from anyseek.model.config import (
    Alone,
    Config,
    Natural,
    NotNegative,
    Positive,
    Share,
    Texts,
    partial_model,
    read_yaml,
    written_values,
)
from anyseek.model.modalities.formats.layout import Keep
from anyseek.model.network.config import FourMConfig, ModalityConfig
from anyseek.model.training.run.config import AdamWConfig, EvaluationConfig, RunConfig, TrainingSettings
from anyseek.model.training.run.errors import TrainingConfigInvalid

# What the network is given of texts, by the names of `formats.table.FORMATS`.
TEXT_FORMATS = ("caption", "color_palette", "det", "metadata", "human_poses", "sam_instance")
_ROW = partial_model(ModalityConfig, ("key", "kind"))
_NETWORK = partial_model(FourMConfig, ("domains_in", "domains_out", "modalities"))
_USUAL_RANK = 96


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
        """Whether it is masked by spans; other kinds lie on a grid."""
        return self in (FieldKind.TEXT, FieldKind.STATES)


class LossKind(StrEnum):
    """How the losses of the modalities are combined: see `anyseek.model.network.transformer.Losses`."""

    MOD = "mod"
    TOKEN = "token"


class Range(Config):
    """Whole numbers from `least` to `most`, each as likely; in a config a number or a pair."""

    least: Positive
    most: Positive

    @model_validator(mode="before")
    @classmethod
    def _read_pair(cls, written: Any) -> Any:
        ends = written if isinstance(written, list) else [written]
        if isinstance(written, Mapping) or len(ends) not in (1, 2):
            return written
        return {"least": ends[0], "most": ends[-1]}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.least > self.most:
            raise ValueError(f"must be a number or a rising pair, not {[self.least, self.most]}")
        return self


class TrainedModality(Config):
    """One modality of the network by its checkpoint key.

    `fields` are alternatives, of which a sample shows one that it has: the part of a shard's file names before the
    dot. `format` is one of `TEXT_FORMATS` for text, `row` holds the fields of its `ModalityConfig` that the config
    gives. `input` and `target` hold a Dirichlet concentration for each component of the mixture and are empty where
    the modality is no input or no target; `keep` holds one entry a component. `tokenizer` is the weights file of a
    vector's tokenizer, or of the one that made tokens, where that is known. `lengths` is the field that says how many
    rows of states each text has, where there are several texts.
    """

    key: str
    fields: Texts = Field(alias="field")
    kind: FieldKind
    format: str = ""
    row: dict[str, Any] = Field(default_factory=dict)
    input: Annotated[tuple[NotNegative, ...], Alone] = ()
    target: Annotated[tuple[NotNegative, ...], Alone] = ()
    keep: Annotated[tuple[Keep, ...], Alone] = (Keep.RANDOM,)
    max_tokens: Positive | None = None
    loss_weight: NotNegative = 1.0
    tokenizer: Path | None = None
    lengths: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _gather_row(cls, written: Any) -> Any:
        """The fields of the network's row stand among the others, and a modality is its own field by default."""
        if not isinstance(written, Mapping):
            return written
        own = {key: value for key, value in written.items() if key not in _ROW.model_fields}
        row = {key: value for key, value in written.items() if key in _ROW.model_fields}
        return {"field": written.get("key"), **own, "row": written_values(_ROW, row)}

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, value, kinds in (
            ("format", self.format, (FieldKind.TEXT,)),
            ("tokenizer", self.tokenizer, (FieldKind.VECTOR, FieldKind.TOKENS)),
            ("lengths", self.lengths, (FieldKind.STATES,)),
        ):
            if value and self.kind not in kinds:
                raise ValueError(f"{name} cannot be: it belongs to kind {' and '.join(kinds)}, not {self.kind}")
        if self.format and self.format not in TEXT_FORMATS:
            raise ValueError(f"format must be one of {', '.join(TEXT_FORMATS)}, not {self.format!r}")
        if self.kind is FieldKind.VECTOR and self.tokenizer is None:
            raise ValueError("tokenizer is missing")
        if self.target and not self.kind.can_be_predicted:
            raise ValueError(f"target is not allowed: a {self.kind} can only be an input")
        return self

    def completed(self, components: int) -> "TrainedModality":
        """With one value for each component of the mixture, and the format of a text."""
        usual = self.key if self.key in TEXT_FORMATS else "caption"
        values: dict[str, Any] = {"format": self.format or (usual if self.kind is FieldKind.TEXT else "")}
        for name in ("input", "target", "keep"):
            found = getattr(self, name)
            if len(found) not in (0, 1, components):
                counts = f"{len(found)} entries; masking.weights has {components} components"
                raise ValueError(f"modalities.{self.key}.{name} has {counts}")
            values[name] = found * components if len(found) == 1 else found
        return self.model_copy(update=values)


def _read_modalities(written: Any) -> tuple[TrainedModality, ...]:
    """Modalities from a mapping by their checkpoint keys."""
    if not isinstance(written, Mapping) or not written:
        raise ValueError("must be a mapping with at least one name")
    if twice := [key for key, entry in written.items() if isinstance(entry, Mapping) and "key" in entry]:
        raise ValueError(f"{twice[0]} has no setting 'key'; its name says it")
    keyed = {key: {**entry, "key": key} if isinstance(entry, Mapping) else entry for key, entry in written.items()}
    return tuple(TypeAdapter(dict[str, TrainedModality]).validate_python(keyed).values())


class ContrastConfig(Config):
    """Vectors that every sample predicts whole, and how the result is compared with those of all training samples.

    `targets` are modalities of kind vector. The cross-entropy over their codes counts `code_weight`; `negatives` rows
    are drawn a step; `other_share` is how often the vectors to be found are those of another sample of the concept.
    `own` names, beside the fields of an input, the arrays that hold its own encoder vector; `ranks` are those of the
    shortcuts to each target.
    """

    targets: Texts
    code_weight: NotNegative = 0.25
    negatives: Natural = 2048
    other_share: Share = 0.0
    own: dict[str, Texts] = Field(default_factory=dict)
    ranks: dict[str, Positive] = Field(default_factory=dict, alias="rank")

    @model_validator(mode="before")
    @classmethod
    def _read_rank(cls, written: Any) -> Any:
        """`rank` is one number for all targets, or one for each."""
        if not isinstance(written, Mapping) or "targets" not in written:
            return written
        rank, targets = written.get("rank", _USUAL_RANK), written["targets"]
        names = targets if isinstance(targets, list) else [targets]
        ranks = rank if isinstance(rank, list) else [rank] * len(names)
        if len(ranks) != len(names):
            named = ", ".join(map(str, names))
            raise ValueError(f"rank must be one number, or one for each of {named}, not {rank}")
        return {**written, "rank": {str(name): value for name, value in zip(names, ranks, strict=True)}}


class Mixture(Config):
    """The weights of the mixture's components, and how many tokens a sample gives and predicts at most."""

    weights: Annotated[tuple[NotNegative, ...], Alone] = (1.0,)
    input_tokens: Range
    target_tokens: Range

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not any(self.weights):
            raise ValueError("weights must have a number above 0")
        return self


class TextConfig(Config):
    """The text tokenizer: a `vocabulary` file, or one made of the `words` most frequent words of training captions."""

    vocabulary: Path | None = None
    words: Natural = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.vocabulary is None) == (self.words == 0):
            raise ValueError("must have either a vocabulary file or a number of words")
        return self


class OptimiserConfig(AdamWConfig):
    """And over how many tokens the rate rises to its peak."""

    warm_up_tokens: Natural = 0


class NetworkRunConfig(RunConfig):
    """RunConfig, and whether blocks are computed twice to save the memory of their activations."""

    activation_checkpointing: bool = False


class RecallConfig(Config):
    """Find validation samples by their stored vector `target` from each set of whole modalities in `queries`."""

    target: str
    queries: Annotated[tuple[Texts, ...], Field(min_length=1)]


class RecallEvaluationConfig(EvaluationConfig):
    """And how often what is asked for is found."""

    recall: tuple[RecallConfig, ...] = ()


class StartConfig(Config):
    """The network to start from: a model's name, the folder of a run or of bundled weights, or a file.

    Until `frozen_tokens` are seen, only the parameters that it lacks are trained. `start: NAME` is
    `start: {from: NAME}`.
    """

    source: str = Field(alias="from")
    frozen_tokens: Natural = 0

    @model_validator(mode="before")
    @classmethod
    def _read_name(cls, written: Any) -> Any:
        return {"from": written} if isinstance(written, str) else written


def _size(dim: int, depth: int, heads: int) -> dict[str, Any]:
    """A published size without biases and with gated feed-forward layers."""
    plain = dict.fromkeys(("norm_bias", "qkv_bias", "proj_bias", "mlp_bias"), False)
    depths = {"encoder_depth": depth, "decoder_depth": depth}
    gated = {"act_layer": "SiLU", "gated_mlp": True, "tie_token_embeddings": True}
    return {**plain, **gated, "dim": dim, **depths, "num_heads": heads}


SIZES: Mapping[str, Mapping[str, Any]] = {
    "tiny": _size(384, 6, 6),
    "small": _size(512, 8, 8),
    "B": _size(768, 12, 12),
    "L": _size(1024, 24, 16),
    "XL": _size(2048, 24, 32),
}


def _read_network(written: Any) -> dict[str, Any]:
    """Fields of a network, after those of the named `size`."""
    size = written.get("size") if isinstance(written, Mapping) else None
    if size is not None and size not in SIZES:
        raise ValueError(f"size must be one of {', '.join(SIZES)}, not {size!r}")
    others = {key: value for key, value in written.items() if key != "size"} if size else written
    return {**(SIZES[size] if size else {}), **written_values(_NETWORK, others)}


class TrainingConfig(TrainingSettings):
    """A whole run. `network` holds fields of `anyseek.model.network.config.FourMConfig` without its modalities."""

    total_tokens: Positive
    network: Annotated[dict[str, Any], BeforeValidator(_read_network)]
    modalities: Annotated[tuple[TrainedModality, ...], BeforeValidator(_read_modalities)]
    mixture: Mixture = Field(alias="masking")
    optimiser: OptimiserConfig
    start: StartConfig | None = None
    contrast: ContrastConfig | None = None
    text: TextConfig | None = None
    loss: LossKind = LossKind.MOD
    evaluation: RecallEvaluationConfig | None = None
    run: NetworkRunConfig = Field(default_factory=NetworkRunConfig)

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
        """The number of first steps that train only the parameters not copied from `start`."""
        return 0 if self.start is None else math.ceil(self.start.frozen_tokens / self.tokens_per_step)

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, from 0, with a second warm-up once all parameters are trained."""
        optimiser, seen = self.optimiser, (step + 1) * self.tokens_per_step
        rate = optimiser.rate(self.batch.size, seen, optimiser.warm_up_tokens, self.total_tokens)
        since = seen - self.frozen_steps * self.tokens_per_step
        if 0 < since < optimiser.warm_up_tokens and self.frozen_steps:
            return rate * since / optimiser.warm_up_tokens
        return rate

    @model_validator(mode="after")
    def _complete(self) -> Self:
        components = len(self.mixture.weights)
        whole = () if self.contrast is None else self.contrast.targets
        by_key = {modality.key: modality.completed(components) for modality in self.modalities}
        for key, modality in by_key.items():
            if key in whole and (modality.target or modality.kind is not FieldKind.VECTOR):
                raise ValueError(f"modalities.{key} is in contrast.targets; it must be of kind vector, without target")
            if not modality.input and not modality.target and key not in whole:
                raise ValueError(f"modalities.{key} must be an input or a target; set input or target")
        has_target = self.contrast is not None or any(any(m.target) for m in by_key.values())
        if not any(any(m.input) for m in by_key.values()) or not has_target:
            raise ValueError("modalities must have at least one input and one target with a number above 0")
        if self.text is None and any(m.kind is FieldKind.TEXT for m in by_key.values()):
            raise ValueError("text is missing; modalities of kind text need a vocabulary")
        inputs = {key: modality for key, modality in by_key.items() if modality.input}
        if self.contrast is not None:
            _check_contrast(self.contrast, by_key, inputs)
        for recall in self.evaluation.recall if self.evaluation is not None else ():
            target = by_key.get(recall.target)
            if target is None or target.kind is not FieldKind.VECTOR or not (target.target or recall.target in whole):
                raise ValueError(f"evaluation.recall needs a target of kind vector; {recall.target!r} is not one")
            if odd := [key for query in recall.queries for key in query if key not in inputs]:
                raise ValueError(f"evaluation.recall asks with {odd[0]!r}, which is not an input")
        return self.model_copy(update={"modalities": tuple(by_key.values())})


def _check_contrast(contrast: ContrastConfig, known: Collection[str], inputs: Mapping[str, TrainedModality]) -> None:
    if not contrast.targets or any(key not in known for key in contrast.targets):
        raise ValueError(f"contrast.targets must name modalities of kind vector, not {contrast.targets}")
    for key, own in contrast.own.items():
        if key not in inputs:
            raise ValueError(f"contrast.own names {key!r}, which is not an input")
        if len(own) != len(inputs[key].fields):
            raise ValueError(
                f"contrast.own.{key} must name one array for each of the {len(inputs[key].fields)} fields of {key}"
            )


def read_config(path: Path) -> TrainingConfig:
    """The config in a YAML file. Raises `TrainingConfigInvalid`."""
    return read_yaml(path, TrainingConfig, TrainingConfigInvalid)
