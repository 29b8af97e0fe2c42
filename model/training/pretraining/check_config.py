"""What is wrong in a config although each of its values is right. No torch."""

from collections.abc import Mapping

from model.training.pretraining.config import ContrastConfig, FieldKind, TrainedModality, TrainingConfig
from model.training.pretraining.errors import TrainingConfigInvalid


def check_modalities(config: TrainingConfig) -> None:
    """Raise `TrainingConfigInvalid` for what only the modalities together can get wrong."""
    by_key = {modality.key: modality for modality in config.modalities}
    has_target = config.contrast is not None or any(any(m.target) for m in config.modalities)
    if not any(any(m.input) for m in config.modalities) or not has_target:
        raise TrainingConfigInvalid("modalities must have at least one input and one target with a number above 0")
    if config.text is None and any(m.kind is FieldKind.TEXT for m in config.modalities):
        raise TrainingConfigInvalid("text is missing; modalities of kind text need a vocabulary")
    if config.contrast is not None:
        _check_contrast(config.contrast, by_key)
    whole = () if config.contrast is None else config.contrast.targets
    for recall in config.evaluation.recall if config.evaluation else ():
        target = by_key.get(recall.target)
        if target is None or target.kind is not FieldKind.VECTOR or not (target.target or recall.target in whole):
            raise TrainingConfigInvalid(
                f"evaluation.recall needs a target of kind vector; {recall.target!r} is not one"
            )
        for key in (key for query in recall.queries for key in query):
            if key not in by_key or not by_key[key].input:
                raise TrainingConfigInvalid(f"evaluation.recall asks with {key!r}, which is no input")


def _check_contrast(contrast: ContrastConfig, by_key: Mapping[str, TrainedModality]) -> None:
    if not contrast.targets or any(key not in by_key for key in contrast.targets):
        raise TrainingConfigInvalid(f"contrast.targets must name modalities of kind vector, not {contrast.targets}")
    for key, own in contrast.own.items():
        if key not in by_key or not by_key[key].input:
            raise TrainingConfigInvalid(f"contrast.own names {key!r}, which is no input")
        if len(own) != len(by_key[key].fields):
            raise TrainingConfigInvalid(
                f"contrast.own.{key} must name one array for each of the {len(by_key[key].fields)} fields of {key}"
            )
