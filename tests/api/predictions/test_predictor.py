"""One model at a time, kept and let go; a prediction that is stopped."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from api.errors import NotReady
from api.predictions import predictor as predicting
from api.predictions.conversion import PredictionRequest, read_request
from api.predictions.predictor import Predictor, predicting_models
from model.errors import UnknownModel
from search.settings import Limits


def _request(*targets: str, **options: Any) -> PredictionRequest:
    inputs = [{"modality": "caption", "text": "a dog"}]
    members = {"model": "4M-21_B", "inputs": inputs, "targets": list(targets), "options": options}
    return read_request(members, Limits())


def test_a_closed_predictor_stops_at_the_next_step(random_models: Path) -> None:
    predictor = Predictor(random_models)
    seen: list[str] = []

    def close_at_the_third_step(what: str, done: int, of: int) -> None:
        seen.append(what)
        if len(seen) == 3:
            predictor.close()

    with pytest.raises(NotReady):
        predictor.predict(_request("clip", steps=100), close_at_the_third_step)
    assert len(seen) == 3
    with pytest.raises(NotReady):
        predictor.predict(_request("metadata"))


def test_progress_tells_of_every_step_and_of_pictures(random_models: Path) -> None:
    told: list[tuple[str, int, int]] = []
    Predictor(random_models).predict(
        _request("depth", "metadata", steps=2, guidance=1, decoding_steps=3), lambda *progress: told.append(progress)
    )
    assert [step for step in told if step[0] == "depth"] == [("depth", 1, 2), ("depth", 2, 2)]
    assert [step[1:] for step in told if step[0] == "picture of depth"] == [(1, 3), (2, 3), (3, 3)]
    assert any(step[0] == "metadata" for step in told)


def test_a_model_is_loaded_once_and_by_one_thread(random_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from api.predictions import predictor as predicting

    loaded: list[str] = []
    load_truly = predicting.load_model

    def load(name: str, home: Path) -> Any:
        loaded.append(name)
        return load_truly(name, home)

    monkeypatch.setattr(predicting, "load_model", load)
    predictor = Predictor(random_models)
    threads = [threading.Thread(target=predictor.predict, args=(_request("dinov2_global", steps=1),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loaded == ["4M-21_B"]


def test_the_model_that_embeds_predicts_too_unless_another_is_asked_for(random_models: Path) -> None:
    members = {"inputs": [{"modality": "caption", "text": "a dog"}], "targets": ["metadata"]}
    predictor = Predictor(random_models, "4M-21_B:token_budget=98,dtype=bfloat16")
    assert predictor.predict(read_request(members, Limits())).model == "4M-21_B"


def test_the_served_model_predicts_without_being_loaded_again(
    random_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = predicting.load_model("4M-21_B:dtype=bfloat16", random_models)
    monkeypatch.setattr(predicting, "load_model", lambda name, home: pytest.fail(f"{name} is loaded again"))
    predictor = Predictor(random_models, served.name, serving=lambda: served)
    for name in ("4M-21_B", "EPFL-VILAB/4M-21_B", None):
        found = predictor.predict(replace(_request("metadata"), model=name))
        assert found.model == "4M-21_B"
    assert isinstance(served.spaces, dict), "the same object embeds"


def test_only_models_that_predict_are_taken(random_models: Path) -> None:
    assert "4m-tiny" in predicting_models()
    assert "4M-21_XL" in predicting_models()
    for name in ("hashing", "4M_tokenizers_rgb_16k_224-448", "4M-7-SR_L_CC12M", "../4M-21_B"):
        members = {"model": name, "inputs": [{"modality": "caption", "text": "a"}], "targets": ["depth"]}
        with pytest.raises(UnknownModel):
            Predictor(random_models).predict(read_request(members, Limits()))
