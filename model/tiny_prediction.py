"""What bundled networks predict: texts token by token, the vectors of their spaces in one step.

What was predicted is given to the next target as if the user had given it, where the network takes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from model.embedder import Sample, Value
from model.formats.spans import FormatInvalid, SpecialIds
from model.formats.table import FORMATS
from model.fourm_embedder import FourMEmbedder
from model.generation.generate import generate
from model.generation.run import Observer, Options, Pass
from model.generation.schedule import TargetPlan, chain
from model.generation.state import ModalityState, given, sequence_target
from model.modality import MODALITIES
from model.prediction import Prediction, PredictionInvalid, PredictOptions, Progress
from model.published.plans import Plan, changed_plan, default_plan
from model.tiny import INPUTS
from model.values import check_value

_DEFAULT = PredictOptions()


def predict_bundled(
    embedder: FourMEmbedder, inputs: Mapping[str, Value], targets: Sequence[str], options: PredictOptions
) -> dict[str, Prediction]:
    """See `model.predict.predict`; names are canonical, and every target one that the bundle predicts."""
    _check_options(embedder, targets, options)
    values, found = dict(inputs), dict[str, Prediction]()
    for name in targets:
        if name in embedder.spaces:
            found[name] = Prediction(name, embedder.embed([Sample(values)], [name])[name][0])
            continue
        found[name] = _text(embedder, values, name, options)
        if name in embedder.modalities and _says_something(name, found[name].value):
            values[name] = found[name].value
    return found


def _check_options(embedder: FourMEmbedder, targets: Sequence[str], options: PredictOptions) -> None:
    """Refuse options that nothing of what is asked for has. Raises `PredictionInvalid`."""
    asked = replace(options, seed=_DEFAULT.seed, progress=None) != _DEFAULT
    vectors = [name for name in targets if name in embedder.spaces]
    if (asked and len(vectors) == len(targets)) or not options.targets.keys().isdisjoint(vectors):
        raise PredictionInvalid(f"the model {embedder.name} predicts vectors in one step and has no options for them")
    if options.super_resolution:
        raise PredictionInvalid(f"the model {embedder.name} predicts no pictures; leave out super-resolution")


def _says_something(name: str, value: Value) -> bool:
    """Whether a prediction can be given: a text may have no words, a palette no colours."""
    try:
        check_value(MODALITIES[name], value)
    except FormatInvalid:
        return False
    return True


def _text(embedder: FourMEmbedder, values: Mapping[str, Value], name: str, options: PredictOptions) -> Prediction:
    """One target that is a sequence; its key is its name."""
    bundle, row = embedder.bundle, embedder.bundle.network.config.row(name)
    ids = SpecialIds.of(bundle.text)
    inputs = embedder.network_inputs(Sample(values))
    state: dict[str, ModalityState] = {key: given(entry.values, entry.mask) for key, entry in inputs.items()}
    state[name] = sequence_target(1, row.max_length + 1, ids)
    plan = changed_plan(default_plan(name, row, values), options.of_target(name), name, row)
    steps = chain([_target_plan(name, plan, options)], [INPUTS[one].key for one in options.weights or values])
    sampling = Options(plan.top_k, plan.top_p, options.seed)
    observe = None if options.progress is None else _observer(name, row.max_length, options.progress)
    decoded = generate(bundle.network, state, steps, ids, sampling, observe)[name]
    tokens = decoded.values[0][~decoded.input_mask[0]]
    value = FORMATS[name].from_text(bundle.text.decode(tokens.tolist()))
    return Prediction(name, value, np.asarray(tokens.cpu()))


def _target_plan(name: str, plan: Plan, options: PredictOptions) -> TargetPlan:
    """One guidance is about everything that is given, weights are about the inputs that have them."""
    guidance = tuple(options.weights.values()) or plan.guidance
    return TargetPlan(name, plan.scheme, temperature=plan.temperature, guidance=guidance)


def _observer(name: str, most: int, progress: Progress) -> Observer:
    """Tells of every token."""

    def observe(done: Pass) -> None:
        progress(name, int(done.positions[0, 0]) + 1, most)

    return observe
