"""Kind `traces`: whole generations with their schedules, the places and best ids of every pass, and the results."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anyseek.model.generation.generate import generate
from anyseek.model.generation.run import DecoderPass, SamplingOptions
from anyseek.model.generation.schedule import Scheme, Step, TargetPlan, steps_of
from anyseek.model.generation.state import ModalityState
from anyseek.model.modalities.formats.spans import PUBLISHED_IDS
from anyseek.model.network.transformer import FourM
from tests.golden.cases import Arrays, Case
from tests.golden.checkers import CheckOptions
from tests.golden.comparison import Comparison
from tests.golden.fourm_inputs import generation_seed, modalities_under, recorded_inputs
from tests.golden.logit_statistics import HIDDEN_TOLERANCE
from tests.golden.networks import filled_fourm

_SCHEDULE_TOLERANCE = 1e-9

Trace = Mapping[str, Any]


class TracesChecker:
    """Repeats each recorded generation, faults of the reference included."""

    def accepts(self, case: Case) -> bool:
        """Arrays with a list of traces beside them: `<name>.json`."""
        return case.path.suffix == ".npz" and case.path.with_suffix(".json").is_file() and bool(_traces(case))

    @torch.inference_mode()
    def check(self, case: Case, options: CheckOptions) -> Comparison:
        """Compare schedules, passes and results of every trace."""
        network, seed, result = filled_fourm(case), generation_seed(case), Comparison()
        for trace in _traces(case):
            _check_trace(result, network, case.arrays, trace, seed)
        return result


def _traces(case: Case) -> list[Trace]:
    """The traces listed beside a case, none where that file holds something else."""
    listed = json.loads(case.path.with_suffix(".json").read_text(encoding="utf-8"))
    if not isinstance(listed, list) or not all(
        isinstance(t, dict) and {"targets", "schedule"} <= t.keys() for t in listed
    ):
        return []
    return listed


def _check_trace(result: Comparison, network: FourM, arrays: Arrays, trace: Trace, seed: str) -> None:
    steps = _steps(trace)
    _compare_schedule(result, trace, steps)
    state = _starting_state(network, arrays, f"{trace['name']}/", seed)
    seen: list[DecoderPass] = []
    options = SamplingOptions(trace.get("top_k", 0), trace.get("top_p", 0.0), trace["seed"], reference_faults=True)
    final = generate(network, state, steps, PUBLISHED_IDS, options, seen.append)
    if "min_margin" in trace:
        least = min(float(_lead(one).min()) for one in seen)
        result.close(f"{trace['name']}/min_margin", least, trace["min_margin"], HIDDEN_TOLERANCE)
    passes = [one for one in seen if network.config.row(one.target).is_image]
    _compare_passes(result, arrays, trace, passes)
    for key in trace["targets"]:
        _compare_target(result, arrays, f"{trace['name']}/out/{key}/", final[key], network.config.row(key).is_image)


def _steps(trace: Trace) -> list[Step]:
    """The steps by our own scheduling of what the trace asked for."""
    lists = ("targets", "schemes", "tokens", "steps", "tsched", "temps", "tempsched", "cfg")
    plans = [
        TargetPlan(
            target,
            Scheme(scheme),
            tokens=tokens or 0,
            steps=steps or 1,
            token_schedule=token_schedule or "linear",
            temperature=temperature,
            temperature_schedule=temperature_schedule,
            guidance=tuple(trace["multi"]) if "multi" in trace else scale,
        )
        for target, scheme, tokens, steps, token_schedule, temperature, temperature_schedule, scale in zip(
            *(trace[name] for name in lists), strict=True
        )
    ]
    steps: list[Step] = []
    conditions = list(trace["conds"])
    for plan in plans:
        steps += steps_of(plan, conditions)
        # in the reference, finished sequences never join the conditions of later targets
        if (trace.get("grow", False) or "multi" in trace) and plan.scheme is not Scheme.AUTOREGRESSIVE:
            conditions.append(plan.target)
    return steps


def _compare_schedule(result: Comparison, trace: Trace, steps: Sequence[Step]) -> None:
    place, recorded = f"{trace['name']}/schedule", trace["schedule"]
    ours = [(step.target, step.scheme.value, step.tokens) for step in steps]
    wanted = [(step["target_domain"], step["scheme"], step["num_tokens"]) for step in recorded]
    result.agree(place, ours == wanted, "targets, schemes or numbers of tokens differ")
    for step, asked in zip(steps, recorded, strict=False):
        if step.guidance.conditions:
            _compare_guidance(result, place, step, asked)
    temperatures = np.array([step["temperature"] for step in recorded])
    warmth = np.array([step.temperature for step in steps])
    result.close(f"{place} temperatures", warmth, temperatures, _SCHEDULE_TOLERANCE)


def _compare_guidance(result: Comparison, place: str, step: Step, asked: Mapping[str, Any]) -> None:
    """Unguided steps have no conditions here, whatever is recorded for them."""
    scale = asked["cfg_scale"]
    weights = scale if isinstance(scale, list) else [scale]
    ours = [term.weight for term in step.guidance.terms]
    result.agree(place, ours == weights[: len(ours)], f"weights {ours} are not {weights}")
    conditions, ours_too = frozenset(asked["cfg_cond_domains"]), step.guidance.conditions
    # with a weight for each condition, recorded schedules do not say which targets have joined
    same = conditions <= ours_too if step.guidance.separate else conditions == ours_too
    result.agree(place, same, f"conditions {sorted(ours_too)} are not {sorted(conditions)}")


def _starting_state(network: FourM, arrays: Arrays, place: str, seed: str) -> dict[str, ModalityState]:
    keys = modalities_under(arrays, place)
    inputs = recorded_inputs(network.config, arrays, place, keys, seed)
    state = {}
    for key in keys:
        entry = f"{place}in/{key}/"
        values = inputs[key].values if key in inputs else torch.from_numpy(arrays[entry + "tensor"]).long()
        masks = (torch.from_numpy(arrays[entry + mask]) for mask in ("input_mask", "target_mask"))
        state[key] = ModalityState(values, *masks)
    return state


def _lead(one: DecoderPass) -> Tensor:
    """By how much the best logit of each place leads: float (B, m)."""
    best = one.logits.topk(2, dim=-1).values
    return best[..., 0] - best[..., 1]


def _compare_passes(result: Comparison, arrays: Arrays, trace: Trace, passes: Sequence[DecoderPass]) -> None:
    name = trace["name"]
    count = len(passes)
    result.agree(f"{name} passes", count == trace["forward_passes"], f"{count} are not {trace['forward_passes']}")
    for number, one in enumerate(passes[: trace["forward_passes"]]):
        place = f"{name}/pass{number:02d}/"
        result.equal(place + "positions", one.positions, arrays[place + "positions"])
        clear = (_lead(one) > HIDDEN_TOLERANCE).numpy()
        result.equal(place + "argmax", one.logits.argmax(dim=-1), arrays[place + "argmax"], clear)


def _compare_target(result: Comparison, arrays: Arrays, place: str, state: ModalityState, is_image: bool) -> None:
    result.equal(place + "tensor", state.values, arrays[place + "tensor"])
    result.equal(place + "input_mask", state.input_mask, arrays[place + "input_mask"])
    # what a recorded sequence has left to decode is not said: its target mask repeats its input mask
    left = state.target_mask if is_image else state.input_mask
    result.equal(place + "target_mask", left, arrays[place + "target_mask"])


CHECKER = TracesChecker()
