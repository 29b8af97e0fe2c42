import pytest
import torch

from anyseek.model.fourm.prediction import Plan, default_plan, progress_of
from anyseek.model.fourm.published.modalities import FORMS
from anyseek.model.generation.run import Pass
from anyseek.model.generation.schedule import Scheme, TargetPlan, chain
from anyseek.model.network.config import PUBLISHED_MODALITIES


def _passed(step: int, position: int) -> Pass:
    return Pass(step, "target", torch.tensor([[position]]), torch.zeros(1, 1, 2))


def test_images_go_by_steps_and_sequences_by_tokens() -> None:
    told: list[tuple[str, int, int]] = []
    rows = [PUBLISHED_MODALITIES[key] for key in ("tok_depth@224", "caption")]
    for row in rows:
        observe = progress_of(row.key, row, 8, lambda *one: told.append(one))
        observe(_passed(0, 5))
        observe(_passed(3, 6))
    assert told == [("tok_depth@224", 1, 8), ("tok_depth@224", 4, 8), ("caption", 6, 256), ("caption", 7, 256)]


@pytest.mark.parametrize("given", [("rgb",), ("caption",), ("depth", "caption")])
def test_every_plan_can_be_carried_out(given: tuple[str, ...]) -> None:
    for name, forms in FORMS.items():
        row = PUBLISHED_MODALITIES[forms[-1].key]
        plan = default_plan(name, row, given)
        tokens = row.tokens if row.is_image else 0
        assert (plan.scheme is Scheme.AUTOREGRESSIVE) is not row.is_image or name == "t5_caption"
        steps = chain([plan.of_target(row)], given) if row.is_image else []
        assert sum(step.tokens or 0 for step in steps) == tokens


def test_what_a_photo_shows_is_decided_in_one_step_and_what_words_say_is_imagined() -> None:
    depth, dinov2 = PUBLISHED_MODALITIES["tok_depth@224"], PUBLISHED_MODALITIES["tok_dinov2_global"]
    assert default_plan("depth", depth, ["caption", "rgb"]).steps == 1
    assert default_plan("depth", depth, ["caption"]).steps == 8
    assert default_plan("dinov2_global", dinov2, ["caption"]) == default_plan("dinov2_global", dinov2, ["rgb"])
    caption = default_plan("caption", PUBLISHED_MODALITIES["caption"], ["rgb"])
    assert (caption.scheme, caption.temperature) == (Scheme.AUTOREGRESSIVE, 0.3)


def test_a_plan_becomes_that_of_a_target() -> None:
    image, text = PUBLISHED_MODALITIES["tok_rgb@224"], PUBLISHED_MODALITIES["caption"]
    plan = Plan(Scheme.MASKGIT, 8, "cosine", 3.0, "linear", guidance=2.0, top_p=0.5, top_k=9)
    assert plan.of_target(image) == TargetPlan(
        "tok_rgb@224", Scheme.MASKGIT, 196, 8, "cosine", 3.0, "linear", guidance=2.0
    )
    planned = Plan(Scheme.AUTOREGRESSIVE).of_target(text, (0.5, -1.0))
    assert (planned.tokens, planned.guidance) == (0, (0.5, -1.0))
