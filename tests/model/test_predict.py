"""The bundled model's predictions, and which model a name means."""

from pathlib import Path

import pytest

from anyseek.model.errors import UnknownModel, UnsupportedModality, WeightsMissing
from anyseek.model.home import default_home
from anyseek.model.predict import predict

VECTORS = ("visual_global", "semantic_global")


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
