"""The config of a tokenizer training; `docs/tokenizers.md` describes its keys.

All counts are in samples. Paths are relative to the current folder.
"""

import math
from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

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
from anyseek.model.network.config import ConfigInvalid
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.inputs import InputKind, input_kind
from anyseek.model.tokenizers.vqvae import parse_mlp
from anyseek.model.training.run.config import AdamWConfig, Beta, EvaluationConfig, TrainingSettings
from anyseek.model.training.run.errors import TrainingConfigInvalid

_SHAPE = partial_model(TokenizerConfig)


class Reconstruction(StrEnum):
    """The loss between a reconstruction and its target."""

    SMOOTH_L1 = "smooth_l1"
    MSE = "mse"
    CROSS_ENTROPY = "cross_entropy"  # of pixel labels
    BINARY = "binary"  # cross-entropy of masks
    COSINE = "cosine"  # one minus the cosine over channels
    CENTRED_COSINE = "centred_cosine"  # the cosine loss plus that of both minus the mean of the training vectors


# The losses of each kind of input; the first is that of the published tokenizers.
RECONSTRUCTIONS: Mapping[InputKind, tuple[Reconstruction, ...]] = {
    InputKind.PICTURE: (Reconstruction.SMOOTH_L1, Reconstruction.MSE),
    InputKind.LABELS: (Reconstruction.CROSS_ENTROPY,),
    InputKind.MASK: (Reconstruction.BINARY,),
    InputKind.MAP: (Reconstruction.SMOOTH_L1, Reconstruction.MSE, Reconstruction.COSINE),
    InputKind.VECTOR: (
        Reconstruction.COSINE,
        Reconstruction.SMOOTH_L1,
        Reconstruction.MSE,
        Reconstruction.CENTRED_COSINE,
    ),
}


class ModalityConfig(Config):
    """The inputs: `fields` of shards are alternatives, of which each sample uses one that it has.

    `sizes` are sides in pixels, of which each batch draws one; they do not apply to masks, maps and vectors.
    """

    fields: Texts = Field(alias="field")
    sizes: Annotated[tuple[Positive, ...], Alone] = ()


class LossConfig(Config):
    """The loss: the reconstruction loss plus `commitment` times the distance of latents from their codes.

    `reconstruction` is one of `RECONSTRUCTIONS`, by default the published one.
    """

    reconstruction: Reconstruction = Reconstruction.SMOOTH_L1
    commitment: NotNegative = 1.0


class CodesConfig(Config):
    """`decay` and `dead_share` of codes that are moving averages, `temperature` of codes that are sampled (memcodes).

    If memcodes are `fitted`, they and the encoder are a product quantizer of the training vectors, which is frozen;
    only the decoder learns.
    """

    decay: Share = 0.99
    dead_share: Share = 1 / 32
    temperature: Annotated[float, Field(ge=1e-3)] = 1.0
    fitted: bool = False


class DrawnEvaluationConfig(EvaluationConfig):
    """An evaluation that draws the first `pictures` samples, which a diffusion decodes in `steps` steps."""

    pictures: Natural = 8
    steps: Positive = 25


class TokenizerOptimiserConfig(AdamWConfig):
    """AdamW whose learning rate rises to its peak over `warm_up_samples`."""

    betas: tuple[Beta, Beta] = (0.9, 0.99)
    warm_up_samples: Natural = 0


_MSE_PICTURES = ("rgb", "normal")  # published with squared error, other pictures with smooth L1
_DIFFUSION_MULTIPLE = 32  # pixels; the side of a diffusion decoder's picture is a multiple


def check_shape(config: TokenizerConfig) -> None:
    """Raise `ConfigInvalid` for a tokenizer of vectors that cannot be a product quantizer."""
    _, width, _ = parse_mlp(config.enc_type)
    heads = config.num_codebooks
    if parse_mlp(config.dec_type)[1] != width or width % heads or width > config.n_channels:
        raise ConfigInvalid(
            f"enc_type and dec_type must have one width, a multiple of num_codebooks {heads} and at most n_channels "
            f"{config.n_channels}, not {config.enc_type!r} and {config.dec_type!r}"
        )
    if config.latent_dim != width + heads:
        raise ConfigInvalid(f"latent_dim must be {width + heads}, one more than the width for each codebook")


def _read_tokenizer(value: Any) -> TokenizerConfig:
    values = written_values(_SHAPE, value)
    if values.get("undo_std"):
        raise ValueError("undo_std cannot be set: pictures are read in [-1, 1]")
    try:
        return TokenizerConfig.from_values(values)
    except ConfigInvalid as error:
        raise ValueError(f"is invalid: {error}") from error


class TokenizerTraining(TrainingSettings):
    """A training run. `start` is a tokenizer of the same shape, except for its image size, to continue from."""

    total_samples: Positive
    tokenizer: Annotated[TokenizerConfig, BeforeValidator(_read_tokenizer)]
    modality: ModalityConfig
    optimiser: TokenizerOptimiserConfig
    start: Path | None = None
    loss: LossConfig = Field(default_factory=LossConfig)
    codes: CodesConfig = Field(default_factory=CodesConfig)
    average_decay: Share = 0.99  # 0.9999 for diffusions
    evaluation: DrawnEvaluationConfig | None = None

    @cached_property
    def kind(self) -> InputKind:
        """The kind of the modality's inputs. Raises `ConfigInvalid` if the tokenizer does not take the modality."""
        kinds = {input_kind(name, self.tokenizer) for name in self.modality.fields}
        if len(kinds) != 1:
            raise ConfigInvalid(f"must name fields of one kind, not {list(self.modality.fields)}")
        return kinds.pop()

    @property
    def steps(self) -> int:
        """The number of steps that see all samples."""
        return math.ceil(self.total_samples / self.batch.size)

    def rate_at(self, step: int) -> float:
        """The learning rate of `step`, counted from 0."""
        samples = (step + 1) * self.batch.size
        return self.optimiser.rate(self.batch.size, samples, self.optimiser.warm_up_samples, self.total_samples)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """Check settings against each other, and fill in default sizes, reconstruction loss and decay of averages."""
        tokenizer, sizes = self.tokenizer, self.modality.sizes or (self.tokenizer.image_size,)
        try:
            kind = self.kind
        except ConfigInvalid as error:
            raise ValueError(f"modality.field: {error}") from error
        multiple = _DIFFUSION_MULTIPLE if tokenizer.is_diffusion else tokenizer.patch_size
        if kind in (InputKind.PICTURE, InputKind.LABELS, InputKind.MASK):
            for size in sizes:
                if size % multiple or size % tokenizer.patch_size:
                    multiples = f"{tokenizer.patch_size}" + (f" and {multiple}" if tokenizer.is_diffusion else "")
                    raise ValueError(f"modality.sizes must be multiples of {multiples}, not {size}")
        allowed = RECONSTRUCTIONS[kind]
        chosen = self.loss.reconstruction
        if "reconstruction" not in self.loss.model_fields_set:
            is_mse = kind is InputKind.PICTURE and any(name in _MSE_PICTURES for name in self.modality.fields)
            chosen = Reconstruction.MSE if is_mse else allowed[0]
        if chosen not in allowed:
            raise ValueError(
                f"loss.reconstruction of a {kind} must be one of {', '.join(allowed)}, not {chosen.value!r}"
            )
        if self.codes.fitted:
            self._check_fitted()
        completed: dict[str, Any] = {
            "modality": self.modality.model_copy(update={"sizes": sizes}),
            "loss": self.loss.model_copy(update={"reconstruction": chosen}),
        }
        if tokenizer.is_diffusion and "average_decay" not in self.model_fields_set:
            completed["average_decay"] = 0.9999
        return self.model_copy(update=completed)

    def _check_fitted(self) -> None:
        if self.kind is not InputKind.VECTOR:
            raise ValueError(f"codes.fitted applies only to vectors, not to a {self.kind}")
        if self.start is not None:
            raise ValueError("codes.fitted cannot be combined with start, which has its own codes")
        try:
            check_shape(self.tokenizer)
        except ConfigInvalid as error:
            raise ValueError(f"tokenizer: {error}") from error


def read_config(path: Path) -> TokenizerTraining:
    """The config in a YAML file. Raises `TrainingConfigInvalid`."""
    return read_yaml(path, TokenizerTraining, TrainingConfigInvalid)
