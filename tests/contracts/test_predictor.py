"""What every `Predictor` does, whatever is behind it: the same model that embeds, and `model.predict.predict`."""

import os
from pathlib import Path

import numpy as np
import pytest

from anyseek.model.errors import UnsupportedModality, WeightsMissing
from anyseek.model.fourm.bundled.loading import load_bundled
from anyseek.model.modalities.formats.spans import FormatInvalid
from anyseek.model.modalities.registry import MODALITIES
from anyseek.model.predict import predict, predict_samples
from anyseek.model.registry.loading import load_model
from anyseek.model.seam import Model, PredictionInvalid, PredictOptions, Sample, TargetOptions, Value
from tests.model.openclip.making import make_folder
from tests.random_bridge import write_random_bridge
from tests.random_bundle import write_random_bundle
from tests.random_weights import write_random_models

HOME = Path(os.environ.get("ANYSEEK_HOME", "~/.anyseek")).expanduser()
WORDS: dict[str, Value] = {"caption": "a red house"}


@pytest.fixture(scope="module", params=["hashing", "4m-tiny", "random 4m-tiny", "openclip", "bridge", "4M-21_B"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    name, home = request.param, HOME
    if name == "openclip":
        name = f"openclip:local-dir:{make_folder(tmp_path_factory.mktemp('openclip'))}"
    if name == "bridge":
        home = tmp_path_factory.mktemp("bridge")
        name = write_random_bridge(home)
    if name == "4M-21_B":
        home = tmp_path_factory.mktemp("published")
        write_random_models(home)
    try:
        if name == "random 4m-tiny":
            folder = tmp_path_factory.mktemp("bundle") / "4m-tiny"
            write_random_bundle(folder, dense=["depth", "semseg"])
            return load_bundled("4m-tiny", HOME, folder)
        return load_model(name, home)
    except WeightsMissing as error:
        pytest.skip(str(error))


def test_it_says_which_modalities_it_predicts(model: Model) -> None:
    assert set(model.targets) <= MODALITIES.keys()
    assert len(set(model.targets)) == len(model.targets)


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["of each content", "every"])
def test_it_predicts_each_by_its_name_in_the_order_asked_for(model: Model, every: bool) -> None:
    wanted = [name for name in reversed(model.targets) if name not in ("caption", "rgb", "human_pose", "sam_instance")]
    if not every:
        wanted = list({MODALITIES[name].content: name for name in wanted}.values())
    if not wanted:
        pytest.skip(f"{model.name} predicts nothing")
    found = predict(WORDS, wanted, model=model, options=PredictOptions(decoding_steps=1))
    assert list(found) == wanted
    assert all(prediction.modality == name for name, prediction in found.items())


def test_several_samples_get_what_each_gets_alone(model: Model) -> None:
    wanted = [name for name in model.targets if name in ("color_palette", "metadata", "depth", "visual_global")]
    if not wanted:
        pytest.skip(f"{model.name} predicts none of these")
    samples: list[dict[str, Value]] = [{"caption": "a dog"}, {"caption": "two blue birds"}]
    if "color_palette" not in wanted:
        samples.append({"color_palette": ("#ff0000",)})
    options = PredictOptions(decoding_steps=1, seed=3)
    together = predict_samples(samples, wanted, model=model, options=options)
    for sample, found in zip(samples, together, strict=True):
        alone = predict(sample, wanted, model=model, options=options)
        assert list(found) == wanted
        for name in wanted:
            np.testing.assert_array_equal(found[name].tokens, alone[name].tokens)
            if isinstance(alone[name].value, np.ndarray):
                np.testing.assert_allclose(found[name].value, alone[name].value, atol=1e-4)
            else:
                assert found[name].value == alone[name].value
    assert predict_samples([], wanted, model=model) == []


def test_what_it_does_not_predict_is_refused_by_name(model: Model) -> None:
    for name in MODALITIES.keys() - set(model.targets) - {"caption"}:
        with pytest.raises(UnsupportedModality, match=f"does not predict {name}; it predicts"):
            predict(WORDS, [name], model=model)


@pytest.mark.parametrize(
    ("value", "error", "says"),
    [
        ({"visual_global": np.ones(1280, np.float32)}, UnsupportedModality, "does not take visual_global; it takes"),
        ({"rgb": np.zeros(3, np.uint8)}, FormatInvalid, "rgb is a uint8 array"),
    ],
    ids=["a modality", "a value"],
)
def test_what_it_does_not_take_is_refused_by_name(
    model: Model, value: dict[str, Value], error: type[Exception], says: str
) -> None:
    if not model.targets:
        pytest.skip(f"{model.name} predicts nothing")
    with pytest.raises(error, match=says):
        predict(value, [model.targets[-1]], model=model)


def test_vectors_of_its_spaces_are_those_that_it_embeds_and_have_no_options(model: Model) -> None:
    for name in {"visual_global", "semantic_global"} & model.spaces.keys() & set(model.targets):
        found = predict(WORDS, [name], model=model, options=PredictOptions(seed=3))[name]
        np.testing.assert_array_equal(found.value, model.embed([Sample(WORDS)], [name])[name][0])
        assert found.tokens is None
        for options in (PredictOptions(temperature=1.0), PredictOptions(targets={name: TargetOptions(steps=2)})):
            with pytest.raises(PredictionInvalid, match="predicts vectors in one step and has no options for them"):
                predict(WORDS, [name], model=model, options=options)
