"""Weights of guidance and what each pass does not see."""

import torch

from anyseek.model.generation.schedule import Guidance, Term, combine

FIRST, SECOND, BASE = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 5.0]), torch.tensor([1.0, 1.0])


def test_no_guidance_is_one_pass_that_sees_everything() -> None:
    for none in (Guidance(), Guidance.together(1.0, ["a"]), Guidance.together(3.0, [])):
        assert none.passes == 1
        assert none.hidden(0) == frozenset()
        assert torch.equal(combine([FIRST], none), FIRST)


def test_one_scale_for_all_conditions() -> None:
    guidance = Guidance.together(2.5, ["a", "b"])
    assert [guidance.hidden(place) for place in range(guidance.passes)] == [frozenset(), frozenset("ab")]
    assert torch.equal(combine([FIRST, BASE], guidance), BASE + 2.5 * (FIRST - BASE))


def test_a_weight_for_each_condition() -> None:
    guidance = Guidance.weighted([2.0, -0.5], ["a", "b", "c"])
    assert guidance.terms == (Term(2.0, frozenset("a")), Term(-0.5, frozenset("b")))
    hidden = [guidance.hidden(place) for place in range(guidance.passes)]
    assert hidden == [frozenset("bc"), frozenset("ac"), frozenset("abc")]
    expected = BASE + 2.0 * (FIRST - BASE) - 0.5 * (SECOND - BASE)
    assert torch.equal(combine([FIRST, SECOND, BASE], guidance), expected)


def test_logits_are_combined_in_float32() -> None:
    guidance = Guidance.together(2.0, ["a"])
    assert combine([FIRST.bfloat16(), BASE.bfloat16()], guidance).dtype == torch.float32
