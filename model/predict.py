"""Anything from anything.

    found = predict({"rgb": picture}, ["depth", "caption"], model="4M-21_B")
    found["depth"].value  # float32 (224, 224)

Targets are predicted one after the other, and each sees the ones before it: list first what helps the others, and `rgb`
last. Imports no torch before a model is loaded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from anyseek.model.errors import UnsupportedModality
from anyseek.model.home import default_home
from anyseek.model.modalities.registry import MODALITIES, resolve
from anyseek.model.modalities.values import check_value
from anyseek.model.registry.loading import load_model
from anyseek.model.seam import Prediction, PredictionInvalid, PredictOptions, Predictor, Value

_DEFAULT = PredictOptions()


def predict(
    inputs: Mapping[str, Value],
    targets: Sequence[str],
    *,
    model: str | Predictor = "4m-tiny",
    home: Path | None = None,
    options: PredictOptions = _DEFAULT,
) -> dict[str, Prediction]:
    """Predict `targets` from `inputs`, by modality or alias; the result has the targets' names in their order.

    `model` is a name, its weights found beside the package or below `home` (`ANYSEEK_HOME` unless given), or what
    `anyseek.model.registry.loading.load_model` gave; its `targets` are what it predicts. The vectors of a bundled model
    are predicted in one step and without options.

    Raises `UnsupportedModality` for a name that is no modality, an input that the model does not take and a target
    that it does not predict, `PredictionInvalid`, `FormatInvalid` for a value that is not what its modality holds,
    `ScheduleInvalid`, and what loading raises.
    """
    return predict_samples([inputs], targets, model=model, home=home, options=options)[0]


def predict_samples(
    samples: Sequence[Mapping[str, Value]],
    targets: Sequence[str],
    *,
    model: str | Predictor = "4m-tiny",
    home: Path | None = None,
    options: PredictOptions = _DEFAULT,
) -> list[dict[str, Prediction]]:
    """`predict` for a batch of samples; results equal those of single samples up to rounding.

    Every sample draws with the same seed, as it would alone. Raises as `predict` does if any sample is wrong.
    """
    predictor = load_model(model, home or default_home()) if isinstance(model, str) else model
    wanted = [_canonical_name(name) for name in targets]
    weights = {_canonical_name(name): weight for name, weight in options.weights.items()}
    resolved = replace(
        options, weights=weights, targets={_canonical_name(name): own for name, own in options.targets.items()}
    )
    given = [_check_inputs(inputs, wanted, resolved) for inputs in samples]
    for name in wanted:
        if name not in predictor.targets:
            known = ", ".join(predictor.targets) or "none"
            raise UnsupportedModality(f"the model {predictor.name} does not predict {name}; it predicts {known}")
    for values in given:
        for name, value in values.items():
            check_value(MODALITIES[name], value)
    return predictor.predict(given, wanted, resolved)


def _canonical_name(name: str) -> str:
    try:
        return resolve(name).name
    except KeyError as error:
        raise UnsupportedModality(f"{name!r} is not a modality; the modalities are {', '.join(MODALITIES)}") from error


def _check_inputs(inputs: Mapping[str, Value], targets: Sequence[str], options: PredictOptions) -> dict[str, Value]:
    """The inputs by canonical name, if a model may predict `targets` from them. Raises as `predict` does."""
    values = {_canonical_name(name): value for name, value in inputs.items()}
    if len(values) < len(inputs):
        raise PredictionInvalid(f"the same input is given under two names: {', '.join(inputs)}")
    if not values or not targets:
        raise PredictionInvalid(f"a prediction needs inputs and targets; there are {len(values)} and {len(targets)}")
    if len(set(targets)) < len(targets):
        raise PredictionInvalid(f"a target is asked for twice: {', '.join(targets)}")
    if both := sorted(values.keys() & set(targets)):
        raise PredictionInvalid(f"{both[0]} is an input and a target; leave it out of one of them")
    if strange := [name for name in options.weights if name not in values]:
        raise PredictionInvalid(f"{strange[0]!r} has a weight but is not an input; the inputs are {', '.join(values)}")
    if strange := [name for name in options.targets if name not in targets]:
        raise PredictionInvalid(f"{strange[0]!r} has options but is not a target; the targets are {', '.join(targets)}")
    return values
