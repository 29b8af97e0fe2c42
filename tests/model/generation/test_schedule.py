"""Shares of tokens, temperatures, weights of guidance, and the steps of several targets."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anyseek.model.generation.schedule import (
    Guidance,
    ScheduleInvalid,
    Scheme,
    Step,
    TargetPlan,
    Term,
    combine,
    cosine_counts,
    linear_counts,
    steps_of,
    temperatures,
    token_counts,
)

FIRST, SECOND, BASE = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 5.0]), torch.tensor([1.0, 1.0])


def test_no_guidance_is_one_pass_that_sees_everything() -> None:
    for none in (Guidance(), Guidance.from_scale(1.0, ["a"]), Guidance.from_scale(3.0, [])):
        assert none.passes == 1
        assert none.hidden_conditions(0) == frozenset()
        assert torch.equal(combine([FIRST], none), FIRST)


def test_one_scale_for_all_conditions() -> None:
    guidance = Guidance.from_scale(2.5, ["a", "b"])
    assert [guidance.hidden_conditions(place) for place in range(guidance.passes)] == [frozenset(), frozenset("ab")]
    assert torch.equal(combine([FIRST, BASE], guidance), BASE + 2.5 * (FIRST - BASE))


def test_a_weight_for_each_condition() -> None:
    guidance = Guidance.from_weights([2.0, -0.5], ["a", "b", "c"])
    assert guidance.terms == (Term(2.0, frozenset("a")), Term(-0.5, frozenset("b")))
    hidden = [guidance.hidden_conditions(place) for place in range(guidance.passes)]
    assert hidden == [frozenset("bc"), frozenset("ac"), frozenset("abc")]
    expected = BASE + 2.0 * (FIRST - BASE) - 0.5 * (SECOND - BASE)
    assert torch.equal(combine([FIRST, SECOND, BASE], guidance), expected)


def test_logits_are_combined_in_float32() -> None:
    guidance = Guidance.from_scale(2.0, ["a"])
    assert combine([FIRST.bfloat16(), BASE.bfloat16()], guidance).dtype == torch.float32


@given(st.integers(1, 60), st.integers(1, 300))
def test_shares_add_up(steps: int, total: int) -> None:
    assert sum(linear_counts(steps, total)) == sum(cosine_counts(steps, total)) == total
    assert len(cosine_counts(steps, total)) == steps
    linear = linear_counts(steps, total)
    assert linear == sorted(linear, reverse=True)
    assert max(linear) - min(linear) <= 1


@given(st.integers(1, 900), st.integers(1, 300), st.sampled_from(["linear", "cosine"]))
def test_every_step_of_a_plan_decodes_something(steps: int, total: int, schedule: str) -> None:
    counts = token_counts(TargetPlan("tok", Scheme.MASKGIT, total, steps, schedule))
    assert sum(counts) == total
    assert min(counts) > 0
    assert len(counts) <= steps


@pytest.mark.parametrize("name", ["cubic", "onex", "onex:1", "onex:a:b", "linear:3", "onex:1:2:3"])
def test_unknown_temperature_schedules_are_named(name: str) -> None:
    with pytest.raises(ScheduleInvalid, match=name):
        temperatures(name, 1.0, [1])


def test_one_plan_is_its_steps() -> None:
    plan = TargetPlan(
        "tok", Scheme.MASKGIT, tokens=16, steps=4, token_schedule="cosine", temperature=4.0,
        temperature_schedule="linear", guidance=2.0,
    )  # fmt: skip
    steps = steps_of(plan, ["caption"])
    assert [step.tokens for step in steps] == [2, 6, 6, 2]
    assert [step.temperature for step in steps] == [4.0, 3.5, 2.0, 0.5]
    both = frozenset({"caption"})
    assert {step.guidance for step in steps} == {Guidance(both, (Term(2.0, both),))}


def test_roar_takes_equal_shares_whatever_is_asked() -> None:
    plan = TargetPlan("tok", Scheme.ROAR, tokens=16, steps=4, token_schedule="cosine")
    assert [step.tokens for step in steps_of(plan, [])] == [4, 4, 4, 4]


def test_a_sequence_is_one_step() -> None:
    assert steps_of(TargetPlan("caption", Scheme.AUTOREGRESSIVE, temperature=0.3), ["rgb"]) == [
        Step("caption", Scheme.AUTOREGRESSIVE, None, 0.3, Guidance())
    ]


@pytest.mark.parametrize(
    ("plan", "complaint"),
    [
        (TargetPlan("tok", Scheme.ROAR), "0 and 1"),
        (TargetPlan("tok", Scheme.MASKGIT, tokens=4, steps=0), "4 and 0"),
        (TargetPlan("tok", Scheme.MASKGIT, tokens=4, token_schedule="square"), "square"),
    ],
)
def test_plans_that_cannot_be_carried_out_are_refused(plan: TargetPlan, complaint: str) -> None:
    with pytest.raises(ScheduleInvalid, match=complaint):
        steps_of(plan, [])
