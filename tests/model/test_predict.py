"""The bundled model's predictions, and which model a name means."""

import os
from pathlib import Path

import numpy as np
import pytest

from anyseek.model.errors import UnknownModel, UnsupportedModality, WeightsMissing
from anyseek.model.home import default_home
from anyseek.model.modalities.formats.spans import FormatInvalid
from anyseek.model.predict import predict
from anyseek.model.registry.loading import load_model
from anyseek.model.seam import Embedder, PredictionInvalid, PredictOptions, Sample

HOME = Path(os.environ.get("ANYSEEK_HOME", "~/.anyseek")).expanduser()
VECTORS = ("visual_global", "semantic_global")


@pytest.fixture(scope="module")
def tiny() -> Embedder:
    try:
        loaded = load_model("4m-tiny", HOME)
    except WeightsMissing as error:
        pytest.skip(str(error))
    assert hasattr(loaded, "embed")
    return loaded


def test_the_bundled_model_predicts_its_vectors(tiny: Embedder) -> None:
    assert set(VECTORS) <= set(tiny.targets)
    found = predict({"text": "a red house"}, list(VECTORS), model=tiny)
    assert list(found) == list(VECTORS)
    expected = tiny.embed([Sample({"caption": "a red house"})], VECTORS)
    for name, prediction in found.items():
        assert prediction.tokens is None
        np.testing.assert_array_equal(prediction.value, expected[name][0])


def test_the_bundled_model_names_what_it_cannot_do(tiny: Embedder) -> None:
    caption = {"caption": "a red house"}
    with pytest.raises(
        UnsupportedModality, match=r"4m-tiny does not predict human_pose; it predicts .*visual_global, semantic"
    ):
        predict(caption, ["human_pose"], model=tiny)
    with pytest.raises(UnsupportedModality, match="does not take sam_edge"):
        predict({"sam_edge": np.ones((4, 4), np.uint8)}, ["visual_global"], model=tiny)
    with pytest.raises(FormatInvalid, match="rgb is a uint8 array"):
        predict({"rgb": np.ones((4, 4), np.uint8)}, ["visual_global"], model=tiny)
    with pytest.raises(PredictionInvalid, match="has no options"):
        predict(caption, ["visual_global"], model=tiny, options=PredictOptions(temperature=1.0))
    predict(caption, ["visual_global"], model=tiny, options=PredictOptions(seed=3, progress=lambda *_: None))


def test_a_model_without_modalities_of_its_own_predicts_none() -> None:
    with pytest.raises(UnsupportedModality, match="hashing does not predict depth; it predicts none"):
        predict({"caption": "a"}, ["depth"], model="hashing")


def test_names_of_models(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="anyseek models pull 4M-21_L"):
        predict({"caption": "a"}, ["depth"], model="EPFL-VILAB/4M-21_L", home=tmp_path)
    with pytest.raises(UnknownModel, match="'4M-22'"):
        predict({"caption": "a"}, ["depth"], model="4M-22", home=tmp_path)


def test_the_data_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ANYSEEK_HOME", str(tmp_path))
    assert default_home() == tmp_path
    monkeypatch.delenv("ANYSEEK_HOME")
    assert default_home() == Path.home() / ".anyseek"
