"""Any-to-any prediction with a 4M network: plan every target, decode its tokens, convert them to values."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from torch import Tensor

from anyseek.model.fourm.bundled.images import DenseTarget
from anyseek.model.fourm.codecs import DiffusionOptions, TargetForm
from anyseek.model.fourm.images import crop_to_squares
from anyseek.model.fourm.inputs import FourMParts, encode_samples
from anyseek.model.generation.generate import generate
from anyseek.model.generation.run import DecoderPass, Observer, SamplingOptions
from anyseek.model.generation.schedule import Scheme, Step, TargetPlan, steps_of
from anyseek.model.generation.state import ModalityState, empty_target, input_state, sequence_input, text_target
from anyseek.model.modalities.formats.sam_instances import (
    QueryPoint,
    instances_from_text,
    instances_to_text,
    query_grid,
)
from anyseek.model.modalities.formats.spans import FormatInvalid, SpecialIds
from anyseek.model.modalities.registry import MODALITIES, Content
from anyseek.model.modalities.values import check_value
from anyseek.model.network.config import EmbeddingKind, ModalityConfig
from anyseek.model.seam import (
    Prediction,
    PredictionInvalid,
    PredictOptions,
    Progress,
    Sample,
    TargetOptions,
    Value,
    set_options,
)
from anyseek.model.tokenizers.diffusion import Scheduler


@dataclass(frozen=True)
class DecodingPlan:
    """The fields of `anyseek.model.generation.schedule.TargetPlan` of the same names, and the sampling filters."""

    scheme: Scheme
    steps: int = 1
    token_schedule: str = "linear"
    temperature: float = 0.0
    temperature_schedule: str = "constant"
    guidance: float = 1.0
    top_p: float = 0.8
    top_k: int | float = 0

    def target_plan(self, row: ModalityConfig, weights: tuple[float, ...] = ()) -> TargetPlan:
        """The plan of the target `row`; `weights` of single inputs replace the guidance scale."""
        settings = asdict(self) | {"guidance": weights or self.guidance}
        del settings["top_p"], settings["top_k"]
        return TargetPlan(row.key, tokens=row.tokens if row.is_image else 0, **settings)


# For an image whose tokens the network does not take. No guidance: it never learned to predict without inputs.
UNGUIDED = DecodingPlan(Scheme.ROAR, temperature=0.01)
_FROM_PICTURE = DecodingPlan(Scheme.ROAR, temperature=0.01, guidance=2.0)
_VECTOR = DecodingPlan(Scheme.ROAR, temperature=0.1)
_GENERATED = DecodingPlan(Scheme.MASKGIT, 8, "cosine", 3.0, "onex:0.5:0.5", guidance=2.0)
_GENERATED_BY_MODALITY = {
    "clip": DecodingPlan(Scheme.ROAR, 50, "linear", 5.0, "onex:0.5:0.5", guidance=3.0),
    "rgb": DecodingPlan(Scheme.MASKGIT, 25, "cosine", 3.0, "onex:0.5:0.5", guidance=2.0),
}
_TEMPERATURES = {"caption": 0.3, "bounding_boxes": 0.7, "sam_instance": 0.01}
_TEMPERATURE = 0.1

_IMAGE_OPTIONS = ("scheme", "steps", "token_schedule", "temperature_schedule")

SUPER_RESOLUTION = DecodingPlan(Scheme.MASKGIT, 8, "cosine", 1.0, guidance=2.0)


def default_plan(modality: str, row: ModalityConfig, given: Collection[str]) -> DecodingPlan:
    """The default plan for decoding the modality `row` from the `given` modalities."""
    if row.kind is EmbeddingKind.SEQUENCE:
        return DecodingPlan(Scheme.AUTOREGRESSIVE, temperature=_TEMPERATURES.get(modality, _TEMPERATURE))
    if MODALITIES[modality].content is Content.VECTOR:
        return _VECTOR
    if "rgb" in given:
        return _FROM_PICTURE
    return _GENERATED_BY_MODALITY.get(modality, _GENERATED)


def apply_options(plan: DecodingPlan, options: TargetOptions, modality: str, row: ModalityConfig) -> DecodingPlan:
    """The plan with the options that are set. Raises `PredictionInvalid`."""
    changes = set_options(options)
    if not row.is_image:
        # one set of options may serve several targets: image options do not apply to this one
        changes = {name: value for name, value in changes.items() if name not in _IMAGE_OPTIONS}
    elif changes.get("steps", 1) > row.tokens:
        raise PredictionInvalid(
            f"{modality} has {row.tokens} tokens and takes 1 to {row.tokens} steps, not {changes['steps']}"
        )
    if "scheme" in changes:
        changes["scheme"] = Scheme(changes["scheme"])
    return replace(plan, **changes)


MAX_BATCH = 16  # samples decoded together
_MAX_POINTS = 64  # query points in one batch
_MAX_ANSWER_TOKENS = 3 * 21 + 1  # the three masks of an ambiguous point, and the end token

PlanOf = Callable[[str, ModalityConfig], DecodingPlan]
State = dict[str, ModalityState]


@dataclass(frozen=True)
class Goal:
    """A target with its form, its config in the network, and its decoding steps.

    With `expected_target`, its value is decoded from the probabilities of all codes.
    """

    modality: str
    form: TargetForm
    row: ModalityConfig
    plan: DecodingPlan
    steps: Sequence[Step]
    expected_target: DenseTarget | None


@dataclass(frozen=True)
class _DecodedTarget:
    """A decoded target of all samples; `first_pass` is kept if the value depends on its probabilities."""

    entry: ModalityState
    first_pass: DecoderPass | None = None


def decode_samples(
    parts: FourMParts,
    samples: Sequence[Mapping[str, Value]],
    targets: Sequence[str],
    options: PredictOptions,
) -> list[dict[str, Prediction]]:
    """See `Predictor.predict`. The tokens of every decoded target are an input of the next.

    Samples with the same modalities are decoded together, at most 16 at once.
    """
    predictions: list[dict[str, Prediction]] = [{} for _ in samples]
    groups: dict[tuple[str, ...], list[int]] = {}
    for index, values in enumerate(samples):
        groups.setdefault(tuple(values), []).append(index)
    for indices in groups.values():
        for start in range(0, len(indices), MAX_BATCH):
            chunk = indices[start : start + MAX_BATCH]
            decoded = _decode_group(parts, [samples[index] for index in chunk], targets, options)
            for index, by_target in zip(chunk, decoded, strict=True):
                predictions[index] = by_target
    return predictions


def _decode_group(
    parts: FourMParts, samples: Sequence[Mapping[str, Value]], targets: Sequence[str], options: PredictOptions
) -> list[dict[str, Prediction]]:
    """`decode_samples` for at most `MAX_BATCH` samples with the same modalities in the same order."""
    given = samples[0].keys()

    def plan_of(modality: str, row: ModalityConfig) -> DecodingPlan:
        unseen = row.is_image and row.key not in parts.network.config.domains_in
        plan = UNGUIDED if unseen else default_plan(modality, row, given)
        return apply_options(plan, options.of_target(modality), modality, row)

    keys = {name: parts.input_form(name).key for name in given}
    weights = {keys[name]: weight for name, weight in options.weights.items()}
    goals = _plan_goals(parts, targets, plan_of, list(weights or keys.values()), tuple(weights.values()))
    upscaled = _plan_upscaled_goals(parts, goals, list(keys.values())) if options.super_resolution else []
    crops_inputs = any(goal.form.crops_inputs for goal in goals)
    cropped = [Sample(crop_to_squares(values) if crops_inputs else values) for values in samples]
    state = {key: input_state(entry.values, entry.mask) for key, entry in encode_samples(parts, cropped).inputs.items()}
    decoded = _decode(parts, state, len(samples), goals, options)
    if upscaled and parts.load_upscaler is not None:
        steps = sum(len(goal.steps) for goal in goals)
        decoded |= _decode(parts.load_upscaler(), state, len(samples), upscaled, options, steps)
    final = {goal.modality: goal for goal in (*goals, *upscaled)}
    return [
        {name: _to_prediction(parts, goal, decoded[goal.form.key], index, options) for name, goal in final.items()}
        for index in range(len(samples))
    ]


def decode_directly(
    parts: FourMParts, values: Mapping[str, Value], target: str, options: PredictOptions
) -> Prediction | None:
    """An image decoded from the best input without the network, None if the network has to predict it.

    The network predicts targets that no input shows, and all targets if options set how tokens are decoded.
    """
    best = None if parts.dense_images is None else parts.dense_images.best_input(target, values.keys())
    if parts.dense_images is None or best is None or options.weights:
        return None
    row = parts.network.config.row(parts.target_form(target).key)
    if apply_options(UNGUIDED, options.of_target(target), target, row) != UNGUIDED:
        return None
    for name in values:
        parts.input_form(name)
    value = parts.dense_images.decode(target, best, crop_to_squares(values)[best])
    if options.progress is not None:
        options.progress(target, 1, 1)
    return Prediction(target, value)


def is_valid_value(name: str, value: Value) -> bool:
    """Whether a prediction may serve as an input: a predicted text may have no words, a palette no colours."""
    try:
        check_value(MODALITIES[name], value)
    except FormatInvalid:
        return False
    return True


def _plan_goals(
    parts: FourMParts,
    targets: Sequence[str],
    plan_of: PlanOf,
    conditions: Sequence[str],
    weights: tuple[float, ...] = (),
) -> list[Goal]:
    """The goals of the targets, in order.

    A guidance scale applies to all inputs and earlier targets, weights only to the inputs that have them.
    """
    known = list(conditions)
    goals = []
    for name in targets:
        form = parts.target_form(name)
        row = parts.network.config.row(form.key)
        plan = plan_of(name, row)
        codec = form.codec if isinstance(form.codec, DenseTarget) and plan == UNGUIDED and not weights else None
        goals.append(Goal(name, form, row, plan, steps_of(plan.target_plan(row, weights), known), codec))
        if not weights:
            known.append(form.key)
    return goals


def _plan_upscaled_goals(parts: FourMParts, goals: Sequence[Goal], inputs: Sequence[str]) -> list[Goal]:
    """The goals of the network for super-resolution, which sees all inputs and all decoded targets."""
    assert parts.load_upscaler is not None, "a model without super-resolution refuses that option"
    upscaler = parts.load_upscaler()
    forms = upscaler.targets
    names = [goal.modality for goal in goals if goal.modality in forms and forms[goal.modality].key != goal.form.key]
    if not names:
        raise PredictionInvalid(f"super-resolution predicts {', '.join(forms)}; none of them is a target")
    conditions = [*inputs, *(goal.form.key for goal in goals)]
    return _plan_goals(upscaler, names, lambda *_: SUPER_RESOLUTION, conditions)


def _decode(
    parts: FourMParts,
    state: State,
    samples: int,
    goals: Sequence[Goal],
    options: PredictOptions,
    steps_before: int = 0,
) -> dict[str, _DecodedTarget]:
    """Decode all targets in order, add each to `state`, and return them by key; the seed is offset by `steps_before`.

    `state` has `samples` rows, one for each sample.
    """
    ids, targets = SpecialIds.of(parts.tokenizers.text), {}
    for goal in goals:
        key, seed = goal.form.key, None if options.seed is None else options.seed + steps_before
        parts.prepare_head(key)
        steps_before += len(goal.steps)
        sampling = SamplingOptions(goal.plan.top_k, goal.plan.top_p, seed)
        passes: list[DecoderPass] = []
        observe = _observer(goal, options.progress, passes)
        if goal.modality == "sam_instance" and options.points:
            entry = _decode_point_grid(parts, state, samples, goal, sampling, options.points, observe)
            state[key] = entry.prefix(goal.row.longest)
        else:
            state[key] = empty_target(goal.row, ids, samples)
            sampling = replace(sampling, samples=samples)
            decoded = generate(parts.network, state, goal.steps, ids, sampling, observe, parts.unconditional)
            state[key] = entry = decoded[key]
        targets[key] = _DecodedTarget(entry, *passes)
    return targets


def _observer(goal: Goal, progress: Progress | None, passes: list[DecoderPass]) -> Observer | None:
    """An observer that reports to `progress`, and appends the first pass to `passes` if the goal needs it."""
    if goal.expected_target is None and progress is None:
        return None

    def observe(done: DecoderPass) -> None:
        if goal.expected_target is not None and not passes:
            passes.append(done)
        if progress is not None and goal.row.is_image:
            progress(goal.modality, done.step + 1, len(goal.steps))
        elif progress is not None:
            progress(goal.modality, int(done.positions[0, 0]) + 1, goal.row.longest)

    return observe


def _decode_point_grid(
    parts: FourMParts,
    state: State,
    samples: int,
    goal: Goal,
    sampling: SamplingOptions,
    side: int,
    observe: Observer | None,
) -> ModalityState:
    """Decode the masks at each point of a side x side grid, as one sequence per sample, of any length.

    The points of a sample are decoded in batches with one row per point.
    """
    text = parts.tokenizers.text
    sequences = []
    for index in range(samples):
        sample_state = {name: entry.select(slice(index, index + 1)) for name, entry in state.items()}
        answers = _masks_at_points(parts, sample_state, goal, sampling, query_grid(side), observe)
        sequences.append(text.encode(instances_to_text(answers)))
    return sequence_input(sequences, SpecialIds.of(text)).to(parts.network.mask_token.device)


def _masks_at_points(
    parts: FourMParts,
    state: State,
    goal: Goal,
    sampling: SamplingOptions,
    points: Sequence[tuple[int, int]],
    observe: Observer | None,
) -> list[QueryPoint]:
    """The masks that contain each point (y, x) of a sample; everything in `state` has one row."""
    text = parts.tokenizers.text
    ids, answers = SpecialIds.of(text), list[QueryPoint]()
    for start in range(0, len(points), _MAX_POINTS):
        rows = [text.encode(f"point v0={y} v1={x} [S_1]") for y, x in points[start : start + _MAX_POINTS]]
        batch = {
            name: ModalityState(
                *(
                    part.expand(len(rows), *part.shape[1:])
                    for part in (entry.values, entry.input_mask, entry.target_mask)
                )
            )
            for name, entry in state.items()
        }
        batch[goal.form.key] = text_target(rows, _MAX_ANSWER_TOKENS, ids)
        done = generate(parts.network, batch, goal.steps, ids, sampling, observe)[goal.form.key]
        # the first point is the query point; the network may continue with others
        answers += [instances_from_text(text.decode(row))[0] for row in done.input_rows()]
    return answers


@torch.inference_mode()
def _to_prediction(
    parts: FourMParts, goal: Goal, target: _DecodedTarget, index: int, options: PredictOptions
) -> Prediction:
    """The value and tokens of a decoded target for sample number `index`."""
    if goal.expected_target is not None and target.first_pass is not None:
        # Decode the probability-weighted mean code of each position.
        logits = target.first_pass.logits[index]
        probabilities = torch.empty_like(logits)
        probabilities[target.first_pass.positions[index]] = logits.softmax(dim=-1)
        probabilities = probabilities.view(*(goal.row.grid or (-1,)), -1)
        value = goal.expected_target.expected_value(probabilities)
        return Prediction(goal.modality, value, np.asarray(probabilities.argmax(dim=-1).cpu()))
    tokens: Tensor = target.entry.values[index][~target.entry.input_mask[index]]
    name, progress = goal.modality, options.progress
    diffusion = DiffusionOptions(
        options.decoding_steps,
        None if options.diffusion is None else Scheduler(options.diffusion),
        torch.Generator().seed() if options.seed is None else options.seed,
        None if progress is None else lambda done, total: progress(f"picture of {name}", done, total),
    )
    decoded = goal.form.codec.decode(parts.tokenizers, goal.row, tokens, diffusion)
    on_grid = goal.row.is_image and MODALITIES[name].content is not Content.VECTOR
    shape = goal.row.grid if on_grid and goal.row.grid else (-1,)
    return Prediction(name, decoded.value, np.asarray(tokens.cpu()).reshape(shape), decoded.arrays)
