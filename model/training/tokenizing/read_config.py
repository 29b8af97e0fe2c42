"""A config file (YAML) to a `TokenizerTraining`. `docs/tokenizers.md` lists every key.

Whatever is missing, unknown or out of range is refused in one sentence: `TrainingConfigInvalid`. Paths are relative to
the current folder.
"""

from dataclasses import fields
from pathlib import Path
from typing import Any

from model.config import ConfigInvalid
from model.tokenizers.config import TokenizerConfig
from model.tokenizers.inputs import InputKind, input_kind
from model.training.pretraining.config import Precision, RunConfig
from model.training.pretraining.errors import TrainingConfigInvalid
from model.training.pretraining.read_config import read_adamw, read_batch, read_data, read_run, read_sections
from model.training.pretraining.reading import Section
from model.training.tokenizing.config import (
    RECONSTRUCTIONS,
    CodesConfig,
    EvaluationConfig,
    LossConfig,
    ModalityConfig,
    Reconstruction,
    TokenizerTraining,
)

_BETAS = (0.9, 0.99)
_MSE_PICTURES = ("rgb", "normal")  # published with squared errors, other pictures with smooth L1
_KEYS = {field.name for field in fields(TokenizerConfig)}
_DIFFUSION_SIDES = 32  # pixels: a diffusion decoder takes multiples of it
_OF_LARGE_NETWORKS = ("sharding", "activation_checkpointing")


def read_config(path: Path) -> TokenizerTraining:
    """The config in a file. Raises `TrainingConfigInvalid`."""
    return read_sections(path, _training)


def _training(section: Section) -> TokenizerTraining:
    tokenizer = _tokenizer(section.section("tokenizer"))
    modality = _modality(section.section("modality"), tokenizer)
    optimiser = section.section("optimiser")
    config = TokenizerTraining(
        seed=section.whole("seed", 0),
        total_samples=section.whole("total_samples", least=1),
        warm_up_samples=optimiser.whole("warm_up_samples", 0),
        modality=modality,
        tokenizer=tokenizer,
        start=Path(section.text("start")) if section.has("start") else None,
        loss=_loss(section.section("loss", {}), modality, tokenizer),
        codes=_codes(section.section("codes", {})),
        data=read_data(section.section("data")),
        optimiser=read_adamw(optimiser, _BETAS),
        batch=read_batch(section.section("batch")),
        precision=section.choice("precision", Precision, Precision.BFLOAT16),
        average_decay=section.number("average_decay", 0.9999 if tokenizer.is_diffusion else 0.99, most=1.0),
        evaluation=_evaluation(section.section("evaluation")) if section.has("evaluation") else None,
        run=_run(section.section("run", {})),
    )
    section.close()
    return config


def _tokenizer(section: Section) -> TokenizerConfig:
    values: dict[str, Any] = section.rest()
    if unknown := sorted(values.keys() - _KEYS):
        raise TrainingConfigInvalid(f"there is no setting {unknown[0]!r} in tokenizer")
    if values.get("undo_std"):
        raise TrainingConfigInvalid("tokenizer.undo_std cannot be: pictures are read in [-1, 1]")
    try:
        return TokenizerConfig.from_values(values)
    except ConfigInvalid as error:
        raise TrainingConfigInvalid(f"tokenizer: {error}") from error


def _modality(section: Section, tokenizer: TokenizerConfig) -> ModalityConfig:
    names = section.texts("field")
    sizes = section.whole_numbers("sizes", tokenizer.image_size, least=1)
    section.close()
    try:
        kinds = {input_kind(name, tokenizer) for name in names}
    except ConfigInvalid as error:
        raise TrainingConfigInvalid(f"modality.field: {error}") from error
    if len(kinds) != 1:
        raise TrainingConfigInvalid(f"modality.field must name fields of one kind, not {list(names)}")
    multiple = _DIFFUSION_SIDES if tokenizer.is_diffusion else tokenizer.patch_size
    kind = kinds.pop()
    if kind in (InputKind.PICTURE, InputKind.LABELS, InputKind.MASK):
        for size in sizes:
            if size % multiple or size % tokenizer.patch_size:
                raise TrainingConfigInvalid(
                    f"modality.sizes must be multiples of {tokenizer.patch_size}"
                    f"{f' and {multiple}' if tokenizer.is_diffusion else ''}, not {size}"
                )
    return ModalityConfig(names, kind, sizes)


def _loss(section: Section, modality: ModalityConfig, tokenizer: TokenizerConfig) -> LossConfig:
    possible = RECONSTRUCTIONS[modality.kind]
    usual = possible[0]
    if modality.kind is InputKind.PICTURE and any(name in _MSE_PICTURES for name in modality.fields):
        usual = Reconstruction.MSE
    chosen = section.choice("reconstruction", Reconstruction, usual)
    if chosen not in possible:
        known = ", ".join(possible)
        raise TrainingConfigInvalid(
            f"loss.reconstruction of a {modality.kind} must be one of {known}, not {chosen.value!r}"
        )
    config = LossConfig(chosen, section.number("commitment", 1.0))
    section.close()
    return config


def _codes(section: Section) -> CodesConfig:
    config = CodesConfig(
        decay=section.number("decay", 0.99, most=1.0),
        dead_share=section.number("dead_share", 1 / 32, most=1.0),
        temperature=section.number("temperature", 1.0, least=1e-3),
    )
    section.close()
    return config


def _evaluation(section: Section) -> EvaluationConfig:
    config = EvaluationConfig(
        every=section.whole("every", least=1),
        samples=section.whole("samples", 512, least=1),
        pictures=section.whole("pictures", 8),
        steps=section.whole("steps", 25, least=1),
    )
    section.close()
    return config


def _run(section: Section) -> RunConfig:
    for key in _OF_LARGE_NETWORKS:
        if section.has(key):
            raise TrainingConfigInvalid(f"{section.name(key)} cannot be: a tokenizer is trained whole, in one process")
    return read_run(section)
