"""Any-to-any prediction with a 4M network: plan every target, decode its tokens, turn them into values."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from torch import Tensor

from anyseek.model.fourm.bundled.images import DenseTarget
from anyseek.model.fourm.codecs import Diffusing, TargetForm
from anyseek.model.fourm.images import central_squares
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
class Plan:
    """The fields of `anyseek.model.generation.schedule.TargetPlan` of that name, and the filters of its draws."""

    scheme: Scheme
    steps: int = 1
    token_schedule: str = "linear"
    temperature: float = 0.0
    temperature_schedule: str = "constant"
    guidance: float = 1.0
    top_p: float = 0.8
    top_k: int | float = 0

    def of_target(self, row: ModalityConfig, weights: tuple[float, ...] = ()) -> TargetPlan:
        """The plan of the target that `row` holds; `weights` of single inputs take the place of one guidance."""
        settings = asdict(self) | {"guidance": weights or self.guidance}
        del settings["top_p"], settings["top_k"]
        return TargetPlan(row.key, tokens=row.tokens if row.is_image else 0, **settings)


# of an image whose tokens the network does not take; without guidance, as it never learned what is likely where nothing
# is given
ALONE = Plan(Scheme.ROAR, temperature=0.01)
_SEEN = Plan(Scheme.ROAR, temperature=0.01, guidance=2.0)
_GLOBAL = Plan(Scheme.ROAR, temperature=0.1)
_IMAGINED = Plan(Scheme.MASKGIT, 8, "cosine", 3.0, "onex:0.5:0.5", guidance=2.0)
_IMAGINED_OTHERWISE = {
    "clip": Plan(Scheme.ROAR, 50, "linear", 5.0, "onex:0.5:0.5", guidance=3.0),
    "rgb": Plan(Scheme.MASKGIT, 25, "cosine", 3.0, "onex:0.5:0.5", guidance=2.0),
}
_TEMPERATURES = {"caption": 0.3, "bounding_boxes": 0.7, "sam_instance": 0.01}
_TEMPERATURE = 0.1

_OF_IMAGES = ("scheme", "steps", "token_schedule", "temperature_schedule")

SUPER_RESOLUTION = Plan(Scheme.MASKGIT, 8, "cosine", 1.0, guidance=2.0)


def default_plan(modality: str, row: ModalityConfig, given: Collection[str]) -> Plan:
    """The default plan of decoding a modality, held as `row` says, from the modalities that are given."""
    if row.kind is EmbeddingKind.SEQUENCE:
        return Plan(Scheme.AUTOREGRESSIVE, temperature=_TEMPERATURES.get(modality, _TEMPERATURE))
    if MODALITIES[modality].content is Content.VECTOR:
        return _GLOBAL
    if "rgb" in given:
        return _SEEN
    return _IMAGINED_OTHERWISE.get(modality, _IMAGINED)


def changed_plan(plan: Plan, options: TargetOptions, modality: str, row: ModalityConfig) -> Plan:
    """A plan with what the options say otherwise. Raises `PredictionInvalid`."""
    changes = set_options(options)
    if not row.is_image:
        # one set of options may serve several targets: options of images do not apply to this one
        changes = {name: value for name, value in changes.items() if name not in _OF_IMAGES}
    elif changes.get("steps", 1) > row.tokens:
        raise PredictionInvalid(
            f"{modality} has {row.tokens} tokens and takes 1 to {row.tokens} steps, not {changes['steps']}"
        )
    if "scheme" in changes:
        changes["scheme"] = Scheme(changes["scheme"])
    return replace(plan, **changes)


MOST_TOGETHER = 16  # samples decoded together
_MOST_ROWS = 64  # points asked about in one batch
_LONGEST_ANSWER = 3 * 21 + 1  # tokens: three masks, which is what an ambiguous point has, and what ends them

PlanOf = Callable[[str, ModalityConfig], Plan]
State = dict[str, ModalityState]


@dataclass(frozen=True)
class Goal:
    """A target, how the network holds it, and the steps in which it is decoded.

    With `expecting`, its value is decoded from the probabilities of all codes.
    """

    modality: str
    form: TargetForm
    row: ModalityConfig
    plan: Plan
    steps: Sequence[Step]
    expecting: DenseTarget | None


@dataclass(frozen=True)
class _Found:
    """A decoded target of all samples; `first` is the first pass of the decoder where its probabilities are wanted."""

    entry: ModalityState
    first: DecoderPass | None = None


def decode_samples(
    parts: FourMParts,
    samples: Sequence[Mapping[str, Value]],
    targets: Sequence[str],
    options: PredictOptions,
) -> list[dict[str, Prediction]]:
    """See `Predictor.predict`. Every target that was decoded is an input of the next, as its tokens.

    Samples of the same modalities are decoded together, at most 16 at once.
    """
    predictions: list[dict[str, Prediction]] = [{} for _ in samples]
    alike: dict[tuple[str, ...], list[int]] = {}
    for place, values in enumerate(samples):
        alike.setdefault(tuple(values), []).append(place)
    for places in alike.values():
        for start in range(0, len(places), MOST_TOGETHER):
            chunk = places[start : start + MOST_TOGETHER]
            decoded = _decode_alike(parts, [samples[place] for place in chunk], targets, options)
            for place, by_target in zip(chunk, decoded, strict=True):
                predictions[place] = by_target
    return predictions


def _decode_alike(
    parts: FourMParts, samples: Sequence[Mapping[str, Value]], targets: Sequence[str], options: PredictOptions
) -> list[dict[str, Prediction]]:
    """`decode_samples` of a few samples that have the same modalities in the same order."""
    given = samples[0].keys()

    def plan_of(modality: str, row: ModalityConfig) -> Plan:
        unseen = row.is_image and row.key not in parts.network.config.domains_in
        plan = ALONE if unseen else default_plan(modality, row, given)
        return changed_plan(plan, options.of_target(modality), modality, row)

    keys = {name: parts.input_form(name).key for name in given}
    weights = {keys[name]: weight for name, weight in options.weights.items()}
    goals = _goals(parts, targets, plan_of, list(weights or keys.values()), tuple(weights.values()))
    enlarged = _enlarged_goals(parts, goals, list(keys.values())) if options.super_resolution else []
    of_centre = any(goal.form.of_centre for goal in goals)
    cropped = [Sample(central_squares(values) if of_centre else values) for values in samples]
    state = {key: input_state(entry.values, entry.mask) for key, entry in encode_samples(parts, cropped).inputs.items()}
    decoded = _decode(parts, state, len(samples), goals, options)
    if enlarged and parts.larger is not None:
        steps = sum(len(goal.steps) for goal in goals)
        decoded |= _decode(parts.larger(), state, len(samples), enlarged, options, steps)
    final = {goal.modality: goal for goal in (*goals, *enlarged)}
    return [
        {name: _prediction(parts, goal, decoded[goal.form.key], place, options) for name, goal in final.items()}
        for place in range(len(samples))
    ]


def decode_directly(
    parts: FourMParts, values: Mapping[str, Value], target: str, options: PredictOptions
) -> Prediction | None:
    """An image decoded from the best of the inputs without the network; None where the network has to be asked.

    It is asked for what no encoder sees, and when options say how tokens are decoded.
    """
    best = None if parts.direct is None else parts.direct.best_input(target, values.keys())
    if parts.direct is None or best is None or options.weights:
        return None
    row = parts.network.config.row(parts.target_form(target).key)
    if changed_plan(ALONE, options.of_target(target), target, row) != ALONE:
        return None
    for name in values:
        parts.input_form(name)
    value = parts.direct.decode(target, best, central_squares(values)[best])
    if options.progress is not None:
        options.progress(target, 1, 1)
    return Prediction(target, value)


def is_value(name: str, value: Value) -> bool:
    """Whether a prediction may be given: a predicted text may have no words, a palette no colours."""
    try:
        check_value(MODALITIES[name], value)
    except FormatInvalid:
        return False
    return True


def _goals(
    parts: FourMParts,
    targets: Sequence[str],
    plan_of: PlanOf,
    conditions: Sequence[str],
    weights: tuple[float, ...] = (),
) -> list[Goal]:
    """The targets in order.

    One guidance is about all inputs and what was decoded before, weights are about the inputs that have them.
    """
    known = list(conditions)
    goals = []
    for name in targets:
        form = parts.target_form(name)
        row = parts.network.config.row(form.key)
        plan = plan_of(name, row)
        codec = form.codec if isinstance(form.codec, DenseTarget) and plan == ALONE and not weights else None
        goals.append(Goal(name, form, row, plan, steps_of(plan.of_target(row, weights), known), codec))
        if not weights:
            known.append(form.key)
    return goals


def _enlarged_goals(parts: FourMParts, goals: Sequence[Goal], inputs: Sequence[str]) -> list[Goal]:
    """The targets that the network for super-resolution predicts, seeing everything given and decoded before."""
    assert parts.larger is not None, "a model without larger pictures refuses super-resolution"
    larger = parts.larger()
    can = larger.targets
    names = [goal.modality for goal in goals if goal.modality in can and can[goal.modality].key != goal.form.key]
    if not names:
        raise PredictionInvalid(f"super-resolution predicts {', '.join(can)}; none of them is a target")
    conditions = [*inputs, *(goal.form.key for goal in goals)]
    return _goals(larger, names, lambda *_: SUPER_RESOLUTION, conditions)


def _decode(
    parts: FourMParts,
    state: State,
    samples: int,
    goals: Sequence[Goal],
    options: PredictOptions,
    steps_before: int = 0,
) -> dict[str, _Found]:
    """Decode all targets in order, add each to `state`, give them all; the seed has advanced by `steps_before`.

    `state` has a row for each of `samples`.
    """
    ids, found = SpecialIds.of(parts.tokenizers.text), {}
    for goal in goals:
        key, seed = goal.form.key, None if options.seed is None else options.seed + steps_before
        parts.ready(key)
        steps_before += len(goal.steps)
        sampling = SamplingOptions(goal.plan.top_k, goal.plan.top_p, seed)
        passes: list[DecoderPass] = []
        observe = _observer(goal, options.progress, passes)
        if goal.modality == "sam_instance" and options.points:
            entry = _ask_everywhere(parts, state, samples, goal, sampling, options.points, observe)
            state[key] = entry.prefix(goal.row.longest)
        else:
            state[key] = empty_target(goal.row, ids, samples)
            options_of_all = replace(sampling, samples=samples)
            decoded = generate(parts.network, state, goal.steps, ids, options_of_all, observe, parts.unconditional)
            state[key] = entry = decoded[key]
        found[key] = _Found(entry, *passes)
    return found


def _observer(goal: Goal, progress: Progress | None, passes: list[DecoderPass]) -> Observer | None:
    """Tells `progress` how far a target is, and keeps the first pass of the decoder if it is wanted."""
    if goal.expecting is None and progress is None:
        return None

    def observe(done: DecoderPass) -> None:
        if goal.expecting is not None and not passes:
            passes.append(done)
        if progress is not None and goal.row.is_image:
            progress(goal.modality, done.step + 1, len(goal.steps))
        elif progress is not None:
            progress(goal.modality, int(done.positions[0, 0]) + 1, goal.row.longest)

    return observe


def _ask_everywhere(
    parts: FourMParts,
    state: State,
    samples: int,
    goal: Goal,
    sampling: SamplingOptions,
    side: int,
    observe: Observer | None,
) -> ModalityState:
    """The points of a grid of side x side and the masks that contain them, as one sequence for each sample.

    The sequences are as long as they are. Points of one sample are asked about in batches with a row for each.
    """
    text = parts.tokenizers.text
    sequences = []
    for place in range(samples):
        sample_state = {name: entry.select(slice(place, place + 1)) for name, entry in state.items()}
        answers = _answers(parts, sample_state, goal, sampling, query_grid(side), observe)
        sequences.append(text.encode(instances_to_text(answers)))
    return sequence_input(sequences, SpecialIds.of(text)).to(parts.network.mask_token.device)


def _answers(
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
    for start in range(0, len(points), _MOST_ROWS):
        rows = [text.encode(f"point v0={y} v1={x} [S_1]") for y, x in points[start : start + _MOST_ROWS]]
        batch = {
            name: ModalityState(
                *(part.expand(len(rows), *part.shape[1:]) for part in (one.values, one.input_mask, one.target_mask))
            )
            for name, one in state.items()
        }
        batch[goal.form.key] = text_target(rows, _LONGEST_ANSWER, ids)
        done = generate(parts.network, batch, goal.steps, ids, sampling, observe)[goal.form.key]
        # the first point is the one that was asked about; the network may go on to others
        answers += [instances_from_text(text.decode(row))[0] for row in done.input_rows()]
    return answers


@torch.inference_mode()
def _prediction(parts: FourMParts, goal: Goal, found: _Found, place: int, options: PredictOptions) -> Prediction:
    """The value and tokens of a decoded target, of the sample at `place`."""
    if goal.expecting is not None and found.first is not None:
        # An image of the mean code of each position, by how likely the network finds each code there.
        logits = found.first.logits[place]
        shares = torch.empty_like(logits)
        shares[found.first.positions[place]] = logits.softmax(dim=-1)
        shares = shares.view(*(goal.row.grid or (-1,)), -1)
        value = goal.expecting.expected(shares)
        return Prediction(goal.modality, value, np.asarray(shares.argmax(dim=-1).cpu()))
    tokens: Tensor = found.entry.values[place][~found.entry.input_mask[place]]
    name, progress = goal.modality, options.progress
    diffusing = Diffusing(
        options.decoding_steps,
        None if options.diffusion is None else Scheduler(options.diffusion),
        torch.Generator().seed() if options.seed is None else options.seed,
        None if progress is None else lambda done, total: progress(f"picture of {name}", done, total),
    )
    decoded = goal.form.codec.decode(parts.tokenizers, goal.row, tokens, diffusing)
    on_grid = goal.row.is_image and MODALITIES[name].content is not Content.VECTOR
    shape = goal.row.grid if on_grid and goal.row.grid else (-1,)
    return Prediction(name, decoded.value, np.asarray(tokens.cpu()).reshape(shape), decoded.arrays)
