"""Any to any with published networks, from values to values."""

from typing import Any

import numpy as np
import pytest
import torch

from anyseek.model.errors import UnsupportedModality
from anyseek.model.fourm.inputs import FourMParts, encode_samples
from anyseek.model.fourm.model import FourMModel
from anyseek.model.fourm.published.modalities import targets_of
from anyseek.model.generation.schedule import ScheduleInvalid
from anyseek.model.modalities.formats.metadata import Metadata
from anyseek.model.modalities.formats.spans import FormatInvalid
from anyseek.model.modalities.registry import MODALITIES
from anyseek.model.modalities.values import check_value
from anyseek.model.network.tokens import ModalityInput
from anyseek.model.predict import predict
from anyseek.model.seam import Prediction, PredictionInvalid, PredictOptions, Regions, Sample, TargetOptions, Value
from tests.model.fourm.published.values import PICTURE, VALUES

TARGETS = sorted(VALUES.keys() - {"t5_caption"})
FAST = PredictOptions(decoding_steps=2, steps=1, top_p=0.0)
GREEDY = PredictOptions(temperature=0, guidance=1.0, decoding_steps=1)
WORDS: dict[str, Value] = {"caption": "a red bus"}


def _tokens(prediction: Prediction) -> list[int]:
    return [int(token) for token in prediction.tokens.reshape(-1)]


def _is_empty(value: Value) -> bool:
    """Random networks predict captions without words and palettes without colours."""
    return (isinstance(value, str) and value == "") or (isinstance(value, np.ndarray) and value.size == 0)


@torch.no_grad()
def _logits(parts: FourMParts, inputs: dict[str, ModalityInput], key: str) -> torch.Tensor:
    return parts.network.decode_global(parts.network.encode(inputs), [key])[key][0]


def test_the_model_predicts_every_modality_but_text_states(model: FourMModel) -> None:
    assert sorted(model.targets) == TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_becomes_a_value_of_its_kind(model: FourMModel, parts: FourMParts, target: str) -> None:
    given = {"rgb": PICTURE} if target != "rgb" else WORDS
    found = predict(given, [target], model=model, options=FAST)[target]
    assert found.modality == target
    if not _is_empty(found.value):
        check_value(MODALITIES[target], found.value)
    assert found.tokens.dtype == np.int64
    row = parts.network.config.row(targets_of(parts.network.config)[target].key)
    assert found.tokens.size <= (row.tokens if row.is_image else row.longest)
    if target in ("rgb", "normal"):
        assert np.asarray(found.value).shape == (224, 224, 3)
    if target.endswith("_global"):
        assert np.linalg.norm(np.asarray(found.value)) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("given", VALUES)
@torch.inference_mode()
def test_every_input_says_something_of_a_target(model: FourMModel, parts: FourMParts, given: str) -> None:
    target = "imagebind_global" if given == "dinov2_global" else "dinov2_global"
    found = predict({given: VALUES[given]}, [target], model=model, options=GREEDY)[target]
    key = f"tok_{target}"
    logits = _logits(parts, encode_samples(parts, [Sample({given: VALUES[given]})]).inputs, key)
    assert _tokens(found) == logits.argmax(dim=1).tolist()
    tokenizer = parts.tokenizers.tokenizer(targets_of(parts.network.config)[target].codec.tokenizer)
    expected = tokenizer.decode_tokens(logits.argmax(dim=1)[None]).detach()
    np.testing.assert_allclose(found.value, torch.nn.functional.normalize(expected, dim=1)[0], atol=1e-5)


def test_a_finished_target_is_an_input_of_the_next(model: FourMModel, parts: FourMParts) -> None:
    both = predict({"rgb": PICTURE}, ["semseg", "clip"], model=model, options=GREEDY)
    semseg = torch.tensor(_tokens(both["semseg"]))[None]
    inputs = encode_samples(parts, [Sample({"rgb": PICTURE})]).inputs
    inputs["tok_semseg@224"] = ModalityInput(semseg, torch.zeros(1, 196, dtype=torch.bool))
    assert _tokens(both["clip"]) == _logits(parts, inputs, "tok_clip@224").argmax(dim=1).tolist()
    assert list(both) == ["semseg", "clip"]


def test_guidance_leads_from_nothing_to_the_inputs_and_beyond(model: FourMModel, parts: FourMParts) -> None:
    given: dict[str, Value] = {"rgb": PICTURE, **WORDS}
    options = PredictOptions(temperature=0, guidance=3.0)
    found = predict(given, ["semseg"], model=model, options=options)["semseg"]
    inputs = encode_samples(parts, [Sample(given)]).inputs
    nothing = {
        "rgb@224": ModalityInput(inputs["rgb@224"].values, torch.ones(1, 196, dtype=torch.bool)),
        "caption": ModalityInput(
            torch.tensor([[parts.tokenizers.text.sentinel_ids[1]]]), torch.zeros(1, 1, dtype=torch.bool)
        ),
    }
    with_them, without = (_logits(parts, one, "tok_semseg@224") for one in (inputs, nothing))
    assert _tokens(found) == (without + 3.0 * (with_them - without)).argmax(dim=1).tolist()


def test_inputs_can_be_weighted_and_led_away_from(model: FourMModel, parts: FourMParts) -> None:
    given: dict[str, Value] = {"rgb": PICTURE, "depth": VALUES["depth"], **WORDS}
    options = PredictOptions(temperature=0, weights={"text": 2.0, "depth": -1.0})
    found = predict(given, ["semseg"], model=model, options=options)["semseg"]

    def logits(*names: str) -> torch.Tensor:
        return _logits(
            parts, encode_samples(parts, [Sample({name: given[name] for name in names})]).inputs, "tok_semseg@224"
        )

    neither, caption, depth = logits("rgb"), logits("rgb", "caption"), logits("rgb", "depth")
    expected = neither + 2.0 * (caption - neither) - (depth - neither)
    assert _tokens(found) == expected.argmax(dim=1).tolist()


@pytest.mark.parametrize("target", ["semseg", "color_palette", "depth"])
def test_the_same_seed_gives_the_same(model: FourMModel, target: str) -> None:
    options = {"temperature": 2.0, "top_p": 0.0, "decoding_steps": 2, "steps": 1}
    first, again, other = (
        predict({"rgb": PICTURE}, [target], model=model, options=PredictOptions(seed=seed, **options))[target]
        for seed in (1, 1, 2)
    )
    assert _tokens(first) == _tokens(again) != _tokens(other)
    left, right = ([one.value.ids if isinstance(one.value, Regions) else one.value] for one in (first, again))
    np.testing.assert_array_equal(left, right)


def test_without_a_seed_two_runs_differ(model: FourMModel) -> None:
    options = PredictOptions(seed=None, temperature=2.0, top_p=0.0)
    first, second = (predict(WORDS, ["dinov2_global"], model=model, options=options) for _ in range(2))
    assert _tokens(first["dinov2_global"]) != _tokens(second["dinov2_global"])


def test_targets_have_options_of_their_own(model: FourMModel) -> None:
    told: list[tuple[str, int, int]] = []
    options = PredictOptions(
        steps=2,
        top_p=0.0,
        targets={"clip": TargetOptions(steps=3, scheme="roar", temperature=0)},
        progress=lambda *step: told.append(step),
    )
    predict({"rgb": PICTURE}, ["semseg", "clip"], model=model, options=options)
    assert {step for step in told if step[0] == "semseg"} == {("semseg", 1, 2), ("semseg", 2, 2)}
    assert {step for step in told if step[0] == "clip"} == {("clip", 1, 3), ("clip", 2, 3), ("clip", 3, 3)}


def test_progress_is_told_of_diffusion_and_of_sequences(model: FourMModel) -> None:
    told: list[tuple[str, int, int]] = []
    options = PredictOptions(decoding_steps=4, diffusion="ddim", progress=lambda *step: told.append(step))
    predict({"rgb": PICTURE}, ["depth", "color_palette"], model=model, options=options)
    assert [step for step in told if step[0].startswith("picture")] == [
        ("picture of depth", n, 4) for n in (1, 2, 3, 4)
    ]
    palette = [step for step in told if step[0] == "color_palette"]
    assert palette == [("color_palette", n, 23) for n in range(1, len(palette) + 1)]


def test_super_resolution_is_for_448_pixels(model: FourMModel) -> None:
    options = PredictOptions(super_resolution=True, steps=1, decoding_steps=1)
    found = predict(WORDS, ["dinov2_global", "semseg"], model=model, options=options)
    small = predict(WORDS, ["dinov2_global"], model=model, options=options_without(options))["dinov2_global"]
    assert found["semseg"].tokens.shape == (28, 28)
    assert isinstance(found["semseg"].value, Regions)
    assert found["semseg"].value.ids.shape == (448, 448)
    assert _tokens(found["dinov2_global"]) == _tokens(small)
    with pytest.raises(PredictionInvalid, match="super-resolution predicts rgb, depth, normal, semseg, clip; none"):
        predict(WORDS, ["dinov2_global"], model=model, options=options)


def options_without(options: PredictOptions) -> PredictOptions:
    return PredictOptions(steps=options.steps, decoding_steps=options.decoding_steps)


@pytest.mark.parametrize(
    ("inputs", "targets", "options", "words"),
    [
        ({}, ["depth"], {}, "needs inputs and targets; there are 0 and 1"),
        ({"rgb": PICTURE}, [], {}, "there are 1 and 0"),
        ({"rgb": PICTURE}, ["image"], {}, "rgb is an input and a target"),
        ({"rgb": PICTURE}, ["depth", "depth"], {}, "asked for twice"),
        ({"rgb": PICTURE, "image": PICTURE}, ["depth"], {}, "given under two names:"),
        ({"rgb": PICTURE}, ["depth"], {"weights": {"caption": 1.0}}, "'caption' has a weight but is not an input"),
        ({"rgb": PICTURE}, ["depth"], {"targets": {"rgb": TargetOptions()}}, "'rgb' has options but is not a target"),
        ({"rgb": PICTURE}, ["depth"], {"steps": 197}, "depth has 196 tokens and takes 1 to 196 steps, not 197"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    model: FourMModel, inputs: dict[str, Value], targets: list[str], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(PredictionInvalid, match=words):
        predict(inputs, targets, model=model, options=PredictOptions(**options))


def test_what_the_model_does_not_know_is_named(model: FourMModel) -> None:
    with pytest.raises(UnsupportedModality, match="'smell' is not a modality; the modalities are rgb, "):
        predict({"smell": "rose"}, ["depth"], model=model)
    with pytest.raises(UnsupportedModality, match="4M-21_B does not predict t5_caption; it predicts rgb, depth"):
        predict({"rgb": PICTURE}, ["t5_caption"], model=model)
    with pytest.raises(UnsupportedModality, match="4M-21_B does not take visual_global; it takes rgb"):
        predict({"visual_global": np.ones(1280, np.float32)}, ["depth"], model=model)
    with pytest.raises(FormatInvalid, match="metadata is Metadata, not 'brightness'"):
        predict({"metadata": "brightness"}, ["depth"], model=model)
    with pytest.raises(ScheduleInvalid, match="cubic"):
        predict({"rgb": PICTURE}, ["depth"], model=model, options=PredictOptions(temperature_schedule="cubic"))


def test_predicted_values_are_inputs_again(model: FourMModel) -> None:
    options = PredictOptions(steps=1, decoding_steps=1, top_p=0.0)
    targets = ["semseg", "depth", "canny_edge", "clip", "imagebind_global", "metadata"]
    found = predict({"rgb": PICTURE}, targets, model=model, options=options)
    given = {name: one.value for name, one in found.items()}
    assert isinstance(given["metadata"], Metadata)
    again = predict(given, ["dinov2_global"], model=model, options=options)
    assert len(_tokens(again["dinov2_global"])) == 16
