"""Read a YAML config file as a `TrainingConfig`. `docs/training.md` lists every key. No torch.

A missing, unknown or out-of-range key raises `TrainingConfigInvalid` with a one-sentence message. Paths are relative to
the current folder.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from anyseek.model.config_reader import read_file
from anyseek.model.training.pretraining.config import (
    ContrastConfig,
    EvaluationConfig,
    FieldKind,
    TrainedModality,
    TrainingConfig,
)
from anyseek.model.training.pretraining.fields import TEXTS
from anyseek.model.training.run.errors import TrainingConfigInvalid


def read_config(path: Path) -> TrainingConfig:
    """The config in a file. Raises `TrainingConfigInvalid`."""
    config = read_file(TrainingConfig, path, TrainingConfigInvalid)
    try:
        components = len(config.mixture.weights)
        config = replace(config, modalities=tuple(_completed(modality, components) for modality in config.modalities))
        _check(config)
    except TrainingConfigInvalid as error:
        raise TrainingConfigInvalid(f"{path}: {error}") from error
    return config


def _completed(modality: TrainedModality, components: int) -> TrainedModality:
    """With one value for each component of the mixture, and the format of a text."""
    usual = modality.key if modality.key in TEXTS else "caption"
    return replace(
        modality,
        format=modality.format or (usual if modality.kind is FieldKind.TEXT else ""),
        input=_spread(modality, "input", modality.input, components),
        target=_spread(modality, "target", modality.target, components),
        keep=_spread(modality, "keep", modality.keep, components),
    )


def _spread(modality: TrainedModality, name: str, values: tuple[Any, ...], components: int) -> tuple[Any, ...]:
    """One value for each component: a value alone is that of all."""
    if len(values) in (0, components):
        return values
    if len(values) != 1:
        raise TrainingConfigInvalid(
            f"modalities.{modality.key}.{name} has {len(values)} entries; masking.weights has {components} components"
        )
    return values * components


def _check(config: TrainingConfig) -> None:
    """Raise `TrainingConfigInvalid` for what is wrong although each value is right."""
    whole = () if config.contrast is None else config.contrast.targets
    for modality in config.modalities:
        _check_modality(modality, whole)
    has_target = config.contrast is not None or any(any(m.target) for m in config.modalities)
    if not any(any(m.input) for m in config.modalities) or not has_target:
        raise TrainingConfigInvalid("modalities must have at least one input and one target with a number above 0")
    if config.text is None and any(m.kind is FieldKind.TEXT for m in config.modalities):
        raise TrainingConfigInvalid("text is missing; modalities of kind text need a vocabulary")
    by_key = {modality.key: modality for modality in config.modalities}
    if config.contrast is not None:
        _check_contrast(config.contrast, by_key)
    if config.evaluation is not None:
        _check_recalls(config.evaluation, by_key, whole)


def _check_modality(modality: TrainedModality, whole: Collection[str]) -> None:
    where, kind = f"modalities.{modality.key}", modality.kind
    for name, given, kinds in (
        ("format", modality.format, (FieldKind.TEXT,)),
        ("tokenizer", modality.tokenizer, (FieldKind.VECTOR, FieldKind.TOKENS)),
        ("lengths", modality.lengths, (FieldKind.STATES,)),
    ):
        if given and kind not in kinds:
            raise TrainingConfigInvalid(
                f"{where}.{name} cannot be: it belongs to kind {' and '.join(kinds)}, not {kind}"
            )
    if kind is FieldKind.TEXT and modality.format not in TEXTS:
        raise TrainingConfigInvalid(f"{where}.format must be one of {', '.join(TEXTS)}, not {modality.format!r}")
    if kind is FieldKind.VECTOR and modality.tokenizer is None:
        raise TrainingConfigInvalid(f"{where}.tokenizer is missing")
    if modality.target and not kind.can_be_predicted:
        raise TrainingConfigInvalid(f"{where}.target is not allowed: a {kind} can only be an input")
    if modality.key in whole and (modality.target or kind is not FieldKind.VECTOR):
        raise TrainingConfigInvalid(f"{where} is in contrast.targets; it must be of kind vector, without target")
    if not modality.input and not modality.target and modality.key not in whole:
        raise TrainingConfigInvalid(f"{where} must be an input or a target; set input or target")


def _check_contrast(contrast: ContrastConfig, by_key: Mapping[str, TrainedModality]) -> None:
    if not contrast.targets or any(key not in by_key for key in contrast.targets):
        raise TrainingConfigInvalid(f"contrast.targets must name modalities of kind vector, not {contrast.targets}")
    for key, own in contrast.own.items():
        if key not in by_key or not by_key[key].input:
            raise TrainingConfigInvalid(f"contrast.own names {key!r}, which is not an input")
        if len(own) != len(by_key[key].fields):
            raise TrainingConfigInvalid(
                f"contrast.own.{key} must name one array for each of the {len(by_key[key].fields)} fields of {key}"
            )


def _check_recalls(evaluation: EvaluationConfig, by_key: Mapping[str, TrainedModality], whole: Collection[str]) -> None:
    for recall in evaluation.recall:
        target = by_key.get(recall.target)
        if target is None or target.kind is not FieldKind.VECTOR or not (target.target or recall.target in whole):
            raise TrainingConfigInvalid(
                f"evaluation.recall needs a target of kind vector; {recall.target!r} is not one"
            )
        for key in (key for query in recall.queries for key in query):
            if key not in by_key or not by_key[key].input:
                raise TrainingConfigInvalid(f"evaluation.recall asks with {key!r}, which is not an input")
