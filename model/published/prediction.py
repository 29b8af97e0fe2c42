"""Any to any with a published network: plan every target, decode its tokens, turn them into values."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model.config import ModalityConfig
from model.embedder import Sample, Value
from model.formats.spans import SpecialIds
from model.generation.generate import generate
from model.generation.progress import progress_of
from model.generation.run import Options
from model.generation.schedule import Step, chain
from model.generation.state import ModalityState, empty_target, given
from model.modality import MODALITIES, Content
from model.prediction import Prediction, PredictionInvalid, PredictOptions
from model.published.codecs import Diffusing
from model.published.inputs import network_inputs
from model.published.instances import ask_everywhere
from model.published.modalities import TargetForm, input_form, target_form, targets_of
from model.published.model import PublishedModel
from model.published.plans import SUPER_RESOLUTION, Plan, changed_plan, default_plan
from model.tokenizers.samplers import Scheduler


@dataclass(frozen=True)
class Goal:
    """A target, how the network holds it, and the steps in which it is decoded."""

    modality: str
    form: TargetForm
    row: ModalityConfig
    plan: Plan
    steps: Sequence[Step]


PlanOf = Callable[[str, ModalityConfig], Plan]
State = dict[str, ModalityState]


def predict_published(
    model: PublishedModel, inputs: Mapping[str, Value], targets: Sequence[str], options: PredictOptions
) -> dict[str, Prediction]:
    """See `model.predict.predict`; names are canonical, and every target one that the network predicts."""

    def plan_of(modality: str, row: ModalityConfig) -> Plan:
        return changed_plan(default_plan(modality, row, inputs.keys()), options.of_target(modality), modality, row)

    keys = {name: input_form(model.network.config, name, model.name).key for name in inputs}
    weights = {keys[name]: weight for name, weight in options.weights.items()}
    goals = _goals(model, targets, plan_of, list(weights or keys.values()), tuple(weights.values()))
    enlarged = _enlarged_goals(model, goals, list(keys.values())) if options.super_resolution else []
    batch = network_inputs(model, [Sample(inputs)])
    state = {key: given(entry.values, entry.mask) for key, entry in batch.items()}
    found = _decode(model, state, goals, options)
    if enlarged:
        found |= _decode(model.super_resolution(), state, enlarged, options, sum(len(goal.steps) for goal in goals))
    final = {goal.modality: goal for goal in (*goals, *enlarged)}
    return {name: _prediction(model, goal, found[goal.form.key], options) for name, goal in final.items()}


def _goals(
    model: PublishedModel,
    targets: Sequence[str],
    plan_of: PlanOf,
    conditions: Sequence[str],
    weights: tuple[float, ...] = (),
) -> list[Goal]:
    """The targets in order.

    One guidance is about all inputs and what was decoded before, weights are about the inputs that have them.
    """
    config, known = model.network.config, list(conditions)
    goals = []
    for name in targets:
        form = target_form(config, name, model.name)
        row = config.row(form.key)
        plan = plan_of(name, row)
        goals.append(Goal(name, form, row, plan, chain([plan.of_target(row, weights)], known)))
        if not weights:
            known.append(form.key)
    return goals


def _enlarged_goals(model: PublishedModel, goals: Sequence[Goal], inputs: Sequence[str]) -> list[Goal]:
    """The targets that the network for super-resolution predicts, seeing everything given and decoded before."""
    larger = model.super_resolution()
    can = targets_of(larger.network.config)
    names = [goal.modality for goal in goals if goal.modality in can and can[goal.modality].key != goal.form.key]
    if not names:
        raise PredictionInvalid(f"super-resolution predicts {', '.join(can)}; none of them is a target")
    conditions = [*inputs, *(goal.form.key for goal in goals)]
    return _goals(larger, names, lambda *_: SUPER_RESOLUTION, conditions)


def _decode(
    model: PublishedModel, state: State, goals: Sequence[Goal], options: PredictOptions, steps_before: int = 0
) -> State:
    """Decode all targets in order, add each to `state`, give them all; the seed has advanced by `steps_before`."""
    ids, found = SpecialIds.of(model.text), {}
    for goal in goals:
        key, seed = goal.form.key, None if options.seed is None else options.seed + steps_before
        steps_before += len(goal.steps)
        sampling = Options(goal.plan.top_k, goal.plan.top_p, seed)
        observe = (
            None
            if options.progress is None
            else progress_of(goal.modality, goal.row, len(goal.steps), options.progress)
        )
        if goal.modality == "sam_instance" and options.points:
            found[key] = ask_everywhere(model, state, key, goal.steps, sampling, options.points, observe)
            state[key] = found[key].first(goal.row.max_length)
        else:
            state[key] = empty_target(goal.row, ids)
            state[key] = found[key] = generate(model.network, state, goal.steps, ids, sampling, observe)[key]
    return found


@torch.inference_mode()
def _prediction(model: PublishedModel, goal: Goal, entry: ModalityState, options: PredictOptions) -> Prediction:
    """A decoded target's value and tokens."""
    tokens: Tensor = entry.values[0][~entry.input_mask[0]]
    name, progress = goal.modality, options.progress
    diffusing = Diffusing(
        options.decoding_steps,
        None if options.diffusion is None else Scheduler(options.diffusion),
        torch.Generator().seed() if options.seed is None else options.seed,
        None if progress is None else lambda done, total: progress(f"picture of {name}", done, total),
    )
    decoded = goal.form.codec.decode(model, goal.row, tokens, diffusing)
    on_grid = goal.row.is_image and MODALITIES[name].content is not Content.VECTOR
    shape = goal.row.grid if on_grid and goal.row.grid else (-1,)
    return Prediction(name, decoded.value, np.asarray(tokens.cpu()).reshape(shape), decoded.arrays)
