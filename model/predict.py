"""Anything from anything.

    found = predict({"rgb": picture}, ["depth", "caption"], model="4M-21_B")
    found["depth"].value  # float32 (224, 224)

Targets are predicted one after the other, and each sees the ones before it: list first what helps the others, and `rgb`
last. Imports no torch before a model is loaded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from model.embedder import Embedder, Sample, UnsupportedModality, Value, load_embedder
from model.home import default_home
from model.modality import MODALITIES, Content, resolve
from model.prediction import Prediction, PredictionInvalid, PredictOptions, Progress, TargetOptions
from model.published.names import OWNER, PUBLISHED
from model.values import check_value

if TYPE_CHECKING:
    from model.published.model import PublishedModel

__all__ = [
    "PredictOptions",
    "Prediction",
    "PredictionInvalid",
    "Progress",
    "TargetOptions",
    "load_predictor",
    "predict",
    "predicted_modalities",
]

_DEFAULT = PredictOptions()


def predict(
    inputs: Mapping[str, Value],
    targets: Sequence[str],
    *,
    model: "str | PublishedModel | Embedder" = "4m-tiny",
    home: Path | None = None,
    options: PredictOptions = _DEFAULT,
) -> dict[str, Prediction]:
    """Predict `targets` from `inputs`, by modality or alias; the result has the targets' names in their order.

    `model` is a name, its weights found beside the package or below `home` (`ANYSEEK_HOME` unless given), or what
    `load_predictor` gave. `predicted_modalities` names what it predicts; the vectors of a bundled model are
    predicted in one step and without options.

    Raises `UnsupportedModality` for a name that is no modality, an input that the model does not take and a target
    that it does not predict, `PredictionInvalid`, `FormatInvalid` for a value that is not what its modality holds,
    `ScheduleInvalid`, and what loading raises.
    """
    from model.fourm_embedder import FourMEmbedder
    from model.published.model import PublishedModel
    from model.published.prediction import predict_published
    from model.tiny_prediction import predict_bundled

    chosen = load_predictor(model, home or default_home()) if isinstance(model, str) else model
    values = {_known(name): value for name, value in inputs.items()}
    if len(values) < len(inputs):
        raise PredictionInvalid(f"an input is given twice, under two names: {', '.join(inputs)}")
    wanted, asked = [_known(name) for name in targets], _with_known_names(options)
    _check(values, wanted, asked)
    predicted = predicted_modalities(chosen)
    for name in wanted:
        if name not in predicted:
            known = ", ".join(predicted) or "none"
            raise UnsupportedModality(f"the model {chosen.name} does not predict {name}; it predicts {known}")
    if isinstance(chosen, PublishedModel):
        return predict_published(chosen, values, wanted, asked)
    if isinstance(chosen, FourMEmbedder):
        return predict_bundled(chosen, values, wanted, asked)
    return _predict_vectors(chosen, values, wanted, asked)


def _predict_vectors(
    embedder: Embedder, inputs: Mapping[str, Value], targets: Sequence[str], options: PredictOptions
) -> dict[str, Prediction]:
    """The vectors of an embedder's spaces, which are its modalities."""
    if replace(options, seed=_DEFAULT.seed, progress=None) != _DEFAULT:
        raise PredictionInvalid(f"the model {embedder.name} predicts vectors in one step and has no options")
    for name, value in inputs.items():
        check_value(MODALITIES[name], value)
    vectors = embedder.embed([Sample(inputs)], targets)
    return {name: Prediction(name, vectors[name][0]) for name in targets}


def load_predictor(name: str, home: Path) -> "PublishedModel | Embedder":
    """The model `name` for several predictions. Raises as `load_published` and `load_embedder` do."""
    if name.removeprefix(f"{OWNER}/") not in PUBLISHED:
        return load_embedder(name, home)
    from model.published.model import load_published

    return load_published(name, home)


def predicted_modalities(model: "PublishedModel | Embedder") -> tuple[str, ...]:
    """The modalities that a model predicts."""
    from model.fourm_embedder import FourMEmbedder
    from model.published.modalities import targets_of
    from model.published.model import PublishedModel

    if isinstance(model, PublishedModel):
        return tuple(targets_of(model.network.config))
    if isinstance(model, FourMEmbedder):
        return model.bundle.targets
    vectors = [name for name, modality in MODALITIES.items() if modality.content is Content.VECTOR]
    return tuple(name for name in vectors if name in model.spaces)


def _known(name: str) -> str:
    try:
        return resolve(name).name
    except KeyError as error:
        raise UnsupportedModality(f"{name!r} is not a modality; known ones are {', '.join(MODALITIES)}") from error


def _with_known_names(options: PredictOptions) -> PredictOptions:
    """Options with aliases of modalities replaced by their names."""
    weights = {_known(name): weight for name, weight in options.weights.items()}
    return replace(options, weights=weights, targets={_known(name): one for name, one in options.targets.items()})


def _check(values: Mapping[str, Value], targets: Sequence[str], options: PredictOptions) -> None:
    """Refuse what no model can do."""
    if not values or not targets:
        raise PredictionInvalid(f"a prediction needs inputs and targets; there are {len(values)} and {len(targets)}")
    if len(set(targets)) < len(targets):
        raise PredictionInvalid(f"a target is asked for twice: {', '.join(targets)}")
    if both := sorted(values.keys() & set(targets)):
        raise PredictionInvalid(f"{both[0]} is an input and a target; leave it out of one of them")
    if strange := [name for name in options.weights if name not in values]:
        raise PredictionInvalid(f"{strange[0]!r} has a weight but is no input; the inputs are {', '.join(values)}")
    if strange := [name for name in options.targets if name not in targets]:
        raise PredictionInvalid(f"{strange[0]!r} has options but is no target; the targets are {', '.join(targets)}")
