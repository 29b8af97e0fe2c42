"""What bundled networks predict: texts token by token, images by tokens of their grid, vectors in one step.

What was predicted is given to the next target as if the user had given it, where the network takes it: a depth map goes
through the image encoder, not its tokens into the network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from model.bundle import Bundle
from model.config import ModalityConfig
from model.embedder import Sample, Value
from model.formats.spans import FormatInvalid, SpecialIds
from model.formats.table import FORMATS
from model.fourm_embedder import FourMEmbedder
from model.generation.generate import generate
from model.generation.progress import progress_of
from model.generation.run import Observer, Options, Pass
from model.generation.schedule import Scheme, chain
from model.generation.state import empty_target, given
from model.modality import MODALITIES
from model.prediction import Prediction, PredictionInvalid, PredictOptions
from model.published.plans import Plan, changed_plan, default_plan
from model.tiny import DENSE, INPUTS
from model.tiny_dense import central
from model.values import check_value

_DEFAULT = PredictOptions()
# without guidance: bundled networks never learned what is likely where nothing is given
_ALONE = Plan(Scheme.ROAR, temperature=0.01)


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
        found[name] = _decoded(embedder, values, name, options, frozenset(inputs))
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
        raise PredictionInvalid(f"the model {embedder.name} has no larger pictures; leave out super-resolution")


def _says_something(name: str, value: Value) -> bool:
    """Whether a prediction can be given: a text may have no words, a palette no colours."""
    try:
        check_value(MODALITIES[name], value)
    except FormatInvalid:
        return False
    return True


def _decoded(
    embedder: FourMEmbedder, values: Mapping[str, Value], name: str, options: PredictOptions, known: frozenset[str]
) -> Prediction:
    """One target: a sequence, whose key is its name, or an image of the central squares of what is given.

    Of the values only those `known` were no predictions, and may add to an image by their maps.
    """
    bundle = embedder.bundle
    row = bundle.network.config.row(DENSE[name] if name in bundle.dense else name)
    plan = _plan(bundle, name, row, values, options)
    inputs = embedder.network_inputs(Sample(central(values) if row.is_image else values))
    state = {key: given(entry.values, entry.mask) for key, entry in inputs.items()}
    ids = SpecialIds.of(bundle.text)
    state[row.key] = empty_target(row, ids)
    conditions = [INPUTS[one].key for one in options.weights or values]
    steps = chain([plan.of_target(row, tuple(options.weights.values()))], conditions)
    sampling = Options(plan.top_k, plan.top_p, options.seed)
    passes: list[Pass] = []
    observe = None if options.progress is None else progress_of(name, row, len(steps), options.progress)
    found = generate(bundle.network, state, steps, ids, sampling, _kept_in(passes, observe))[row.key]
    tokens = found.values[0][~found.input_mask[0]]
    if plan == _ALONE and not options.weights:
        maps = {one: inputs[INPUTS[one].key].values for one in known & bundle.dense[name].shortcuts.keys()}
        return _expected(bundle, name, row, passes[0], maps)
    return _prediction(bundle, name, row, tokens)


def _kept_in(passes: list[Pass], observe: Observer | None) -> Observer:
    def told(done: Pass) -> None:
        passes.append(done)
        if observe is not None:
            observe(done)

    return told


def _plan(bundle: Bundle, name: str, row: ModalityConfig, values: Mapping[str, Value], options: PredictOptions) -> Plan:
    """As published networks decode it; an image in one step, where the network does not take the tokens chosen."""
    alone = row.is_image and row.key not in bundle.network.config.domains_in
    plan = _ALONE if alone else default_plan(name, row, values)
    return changed_plan(plan, options.of_target(name), name, row)


def _expected(bundle: Bundle, name: str, row: ModalityConfig, done: Pass, maps: Mapping[str, Tensor]) -> Prediction:
    """An image of the mean code of each position, by how likely the network finds each code there, and of `maps`."""
    shares = torch.empty_like(done.logits[0])
    shares[done.positions[0]] = done.logits[0].softmax(dim=-1)
    shares = shares.view(*(row.grid or (-1,)), -1)
    return Prediction(name, bundle.dense[name].expected(shares, maps), np.asarray(shares.argmax(dim=-1)))


def _prediction(bundle: Bundle, name: str, row: ModalityConfig, tokens: Tensor) -> Prediction:
    if name in bundle.dense:
        tokens = tokens.view(row.grid or (-1,))
        return Prediction(name, bundle.dense[name].value(tokens), np.asarray(tokens))
    return Prediction(name, FORMATS[name].from_text(bundle.text.decode(tokens.tolist())), np.asarray(tokens))
