import pytest

from anyseek.model.fourm.prediction import default_plan
from anyseek.model.fourm.published.modalities import FORMS
from anyseek.model.generation.schedule import Scheme, steps_of
from anyseek.model.network.config import PUBLISHED_MODALITIES


@pytest.mark.parametrize("given", [("rgb",), ("caption",), ("depth", "caption")])
def test_every_plan_can_be_carried_out(given: tuple[str, ...]) -> None:
    for name, forms in FORMS.items():
        row = PUBLISHED_MODALITIES[forms[-1].key]
        plan = default_plan(name, row, given)
        tokens = row.tokens if row.is_image else 0
        assert (plan.scheme is Scheme.AUTOREGRESSIVE) is not row.is_image or name == "t5_caption"
        steps = steps_of(plan.target_plan(row), given) if row.is_image else []
        assert sum(step.tokens or 0 for step in steps) == tokens


def test_what_a_photo_shows_is_decided_in_one_step_and_what_words_say_is_imagined() -> None:
    depth, dinov2 = PUBLISHED_MODALITIES["tok_depth@224"], PUBLISHED_MODALITIES["tok_dinov2_global"]
    assert default_plan("depth", depth, ["caption", "rgb"]).steps == 1
    assert default_plan("depth", depth, ["caption"]).steps == 8
    assert default_plan("dinov2_global", dinov2, ["caption"]) == default_plan("dinov2_global", dinov2, ["rgb"])
    caption = default_plan("caption", PUBLISHED_MODALITIES["caption"], ["rgb"])
    assert (caption.scheme, caption.temperature) == (Scheme.AUTOREGRESSIVE, 0.3)
