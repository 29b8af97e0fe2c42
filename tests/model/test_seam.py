"""Options of predictions and their ranges."""

from typing import Any

import pytest

from anyseek.model.seam import PredictionInvalid, PredictOptions, TargetOptions


@pytest.mark.parametrize(
    "wrong",
    [
        {"scheme": "diffusion"},
        {"steps": 0},
        {"steps": 2.5},
        {"token_schedule": "square"},
        {"temperature": -0.1},
        {"temperature": float("inf")},
        {"temperature": float("nan")},
        {"guidance": float("nan")},
        {"top_p": 1.1},
        {"top_k": 1.5},
        {"top_k": -1},
        {"decoding_steps": 0},
        {"decoding_steps": 1001},
        {"points": 33},
        {"diffusion": "euler"},
        {"seed": -1},
        {"weights": {"rgb": float("inf")}},
    ],
)
def test_options_out_of_range_are_refused_by_name(wrong: dict[str, Any]) -> None:
    name = "weight" if "weights" in wrong else next(iter(wrong))
    with pytest.raises(PredictionInvalid, match=rf"{name} is .*, not ") as refusal:
        PredictOptions(**wrong)
    assert refusal.value.code == "prediction-invalid"


def test_the_ends_of_ranges_are_taken() -> None:
    PredictOptions(steps=1, temperature=0, guidance=-3, top_p=0, top_k=0, decoding_steps=1, points=32, seed=None)
    PredictOptions(top_p=1, top_k=1.0, decoding_steps=1000, diffusion="ddim", scheme="roar", token_schedule="cosine")


def test_a_target_has_its_own_options_before_those_of_all() -> None:
    options = PredictOptions(temperature=2.0, top_p=0.9, targets={"caption": TargetOptions(temperature=0, top_k=3)})
    assert options.of_target("caption") == TargetOptions(temperature=0, top_p=0.9, top_k=3)
    assert options.of_target("depth") == TargetOptions(temperature=2.0, top_p=0.9)


@pytest.mark.parametrize("guided", [{"guidance": 2.0}, {"targets": {"depth": TargetOptions(guidance=2.0)}}])
def test_guidance_and_weights_exclude_each_other(guided: dict[str, Any]) -> None:
    with pytest.raises(PredictionInvalid, match="give only one of the two"):
        PredictOptions(weights={"rgb": 1.0}, **guided)
