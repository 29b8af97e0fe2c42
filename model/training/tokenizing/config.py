"""The config of a tokenizer's training: one frozen dataclass per section of the file.

Everything is counted in samples. `read_config` makes the dataclasses from a file; `docs/tokenizers.md` lists every key.
A missing, unknown or out-of-range key raises `TrainingConfigInvalid` with a one-sentence message. Paths are relative to
the current folder.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from anyseek.model.config_reader import (
    Alone,
    Bounds,
    Key,
    Natural,
    NotNegative,
    Positive,
    ReadBy,
    Refused,
    Share,
    Texts,
    read_file,
    read_values,
)
from anyseek.model.network.config import ConfigInvalid
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.inputs import InputKind, input_kind
from anyseek.model.training.run.config import AdamWConfig, BatchConfig, Beta, DataConfig, Precision, RunConfig
from anyseek.model.training.run.errors import TrainingConfigInvalid
from anyseek.model.training.tokenizing.product_quantizer import check_shape


class Reconstruction(StrEnum):
    """How to measure the distance of a reconstruction from its target."""

    SMOOTH_L1 = "smooth_l1"
    L1 = "l1"
    MSE = "mse"
    CROSS_ENTROPY = "cross_entropy"  # of the labels of pixels
    BINARY = "binary"  # cross-entropy of masks
    COSINE = "cosine"  # one minus the cosine over channels
    CENTRED_COSINE = "centred_cosine"  # that, and once more with the mean of the training vectors taken off both


# What may be compared how; the first is what the published tokenizers of that kind were trained with.
RECONSTRUCTIONS: Mapping[InputKind, tuple[Reconstruction, ...]] = {
    InputKind.PICTURE: (Reconstruction.SMOOTH_L1, Reconstruction.MSE, Reconstruction.L1),
    InputKind.LABELS: (Reconstruction.CROSS_ENTROPY,),
    InputKind.MASK: (Reconstruction.BINARY,),
    InputKind.MAP: (Reconstruction.SMOOTH_L1, Reconstruction.MSE, Reconstruction.L1, Reconstruction.COSINE),
    InputKind.VECTOR: (
        Reconstruction.COSINE,
        Reconstruction.SMOOTH_L1,
        Reconstruction.MSE,
        Reconstruction.L1,
        Reconstruction.CENTRED_COSINE,
    ),
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
    commitment: NotNegative


@dataclass(frozen=True)
class CodesConfig:
    """`decay` and `dead_share` of codes that follow averages, `temperature` of codes that are drawn (memcodes).

    Where memcodes are `fitted`, they and the encoder are a product quantizer of the training vectors, which stays as it
    is; only the decoder learns.
    """

    decay: Share = 0.99
    dead_share: Share = 1 / 32
    temperature: Annotated[float, Bounds(1e-3)] = 1.0
    fitted: bool = False


@dataclass(frozen=True)
class EvaluationConfig:
    """Every `every` steps, on up to `samples` validation samples of each folder, the first `pictures` of them drawn.

    A diffusion decodes those that are drawn in `steps` steps.
    """

    every: Positive
    samples: Positive = 512
    pictures: Natural = 8
    steps: Positive = 25


@dataclass(frozen=True)
class TokenizerOptimiserConfig(AdamWConfig):
    """And over how many samples the rate rises to its peak."""

    betas: tuple[Beta, Beta] = (0.9, 0.99)
    warm_up_samples: Natural = 0


@dataclass(frozen=True)
class TokenizerTraining:
    """A whole run. `start` is a tokenizer of the same shape, but for the size of its images, to begin with."""

    seed: int
    total_samples: int
    modality: ModalityConfig
    tokenizer: TokenizerConfig
    start: Path | None
    loss: LossConfig
    codes: CodesConfig
    data: DataConfig
    optimiser: TokenizerOptimiserConfig
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
        return self.optimiser.rate(self.batch.size, seen, self.optimiser.warm_up_samples, self.total_samples)


_MSE_PICTURES = ("rgb", "normal")  # published with squared errors, other pictures with smooth L1
_DIFFUSION_SIDES = 32  # pixels: a diffusion decoder takes multiples of it
_DIFFUSION_DECAY, _DECAY = 0.9999, 0.99  # of averages


def _read_tokenizer(written: object, where: str) -> TokenizerConfig:
    values = read_values(TokenizerConfig, written, where)
    if values.get("undo_std"):
        raise Refused(f"{where}.undo_std", "cannot be: pictures are read in [-1, 1]")
    try:
        return TokenizerConfig.from_values(values)
    except ConfigInvalid as error:
        raise Refused(where, f"cannot be: {error}") from error


@dataclass(frozen=True)
class _WrittenModality:
    fields: Annotated[Texts, Key("field")]
    sizes: Annotated[tuple[Positive, ...], Alone()] = ()


@dataclass(frozen=True)
class _WrittenLoss:
    reconstruction: Reconstruction | None = None
    commitment: NotNegative = 1.0


@dataclass(frozen=True)
class _Written:
    """The keys of a config file."""

    total_samples: Positive
    tokenizer: Annotated[TokenizerConfig, ReadBy(_read_tokenizer)]
    modality: _WrittenModality
    data: DataConfig
    optimiser: TokenizerOptimiserConfig
    batch: BatchConfig
    seed: Natural = 0
    start: Path | None = None
    loss: _WrittenLoss = field(default_factory=_WrittenLoss)
    codes: CodesConfig = field(default_factory=CodesConfig)
    precision: Precision = Precision.BFLOAT16
    average_decay: Share | None = None
    evaluation: EvaluationConfig | None = None
    run: RunConfig = field(default_factory=RunConfig)


def read_config(path: Path) -> TokenizerTraining:
    """The config in a file. Raises `TrainingConfigInvalid`."""
    written = read_file(_Written, path, TrainingConfigInvalid)
    try:
        modality = _modality(written.modality, written.tokenizer)
        loss = _loss(written.loss, modality)
        _check_fitted(written, modality)
    except TrainingConfigInvalid as error:
        raise TrainingConfigInvalid(f"{path}: {error}") from error
    usual_decay = _DIFFUSION_DECAY if written.tokenizer.is_diffusion else _DECAY
    decay = usual_decay if written.average_decay is None else written.average_decay
    return TokenizerTraining(**{**vars(written), "modality": modality, "loss": loss, "average_decay": decay})


def _check_fitted(written: _Written, modality: ModalityConfig) -> None:
    """Raise `TrainingConfigInvalid` where codes are to be fitted to what has none of the kind."""
    if not written.codes.fitted:
        return
    if modality.kind is not InputKind.VECTOR:
        raise TrainingConfigInvalid(
            f"codes.fitted cannot be: only codes of vectors are fitted, not of a {modality.kind}"
        )
    if written.start is not None:
        raise TrainingConfigInvalid("codes.fitted cannot be beside start, which brings codes of its own")
    try:
        check_shape(written.tokenizer)
    except ConfigInvalid as error:
        raise TrainingConfigInvalid(f"tokenizer: {error}") from error


def _modality(written: _WrittenModality, tokenizer: TokenizerConfig) -> ModalityConfig:
    """With the kind of its inputs, and of sizes at least one. Raises `TrainingConfigInvalid`."""
    sizes = written.sizes or (tokenizer.image_size,)
    try:
        kinds = {input_kind(name, tokenizer) for name in written.fields}
    except ConfigInvalid as error:
        raise TrainingConfigInvalid(f"modality.field: {error}") from error
    if len(kinds) != 1:
        raise TrainingConfigInvalid(f"modality.field must name fields of one kind, not {list(written.fields)}")
    multiple = _DIFFUSION_SIDES if tokenizer.is_diffusion else tokenizer.patch_size
    kind = kinds.pop()
    if kind in (InputKind.PICTURE, InputKind.LABELS, InputKind.MASK):
        for size in sizes:
            if size % multiple or size % tokenizer.patch_size:
                raise TrainingConfigInvalid(
                    f"modality.sizes must be multiples of {tokenizer.patch_size}"
                    f"{f' and {multiple}' if tokenizer.is_diffusion else ''}, not {size}"
                )
    return ModalityConfig(written.fields, kind, sizes)


def _loss(written: _WrittenLoss, modality: ModalityConfig) -> LossConfig:
    """With the usual reconstruction where none is told. Raises `TrainingConfigInvalid`."""
    possible = RECONSTRUCTIONS[modality.kind]
    usual = possible[0]
    if modality.kind is InputKind.PICTURE and any(name in _MSE_PICTURES for name in modality.fields):
        usual = Reconstruction.MSE
    chosen = written.reconstruction or usual
    if chosen not in possible:
        known = ", ".join(possible)
        raise TrainingConfigInvalid(
            f"loss.reconstruction of a {modality.kind} must be one of {known}, not {chosen.value!r}"
        )
    return LossConfig(chosen, written.commitment)
