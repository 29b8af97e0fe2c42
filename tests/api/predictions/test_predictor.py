"""One model at a time, kept and let go; a prediction that is stopped."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anyseek.api.errors import NotReady, status_of
from anyseek.api.predictions import predictor as predicting
from anyseek.api.predictions.predictor import Predictor, predicting_models
from anyseek.api.predictions.requests import PredictionRequest, read_request
from anyseek.api.service import RequestAbandoned, RequestBudget
from anyseek.model.errors import DeviceInName, UnknownModel, UnsupportedModality
from anyseek.model.modalities.formats.spans import FormatInvalid
from anyseek.model.modalities.reading.budget import use_budget
from anyseek.search.settings import Limits


def _request(*targets: str, **options: Any) -> PredictionRequest:
    inputs = [{"modality": "caption", "text": "a dog"}]
    members = {"model": "4M-21_B", "inputs": inputs, "targets": list(targets), "options": options}
    return read_request(members, Limits())


@pytest.mark.parametrize("is_closed", [True, False])
def test_a_prediction_stops_at_the_next_step_once_nobody_wants_it(random_models: Path, is_closed: bool) -> None:
    predictor, budget, seen = Predictor(random_models), RequestBudget(1, 1), list[str]()

    def stop_at_the_third_step(what: str, done: int, of: int) -> None:
        seen.append(what)
        if len(seen) == 3:
            (predictor.close if is_closed else budget.abandon)()

    with use_budget(budget), pytest.raises(NotReady if is_closed else RequestAbandoned):
        predictor.predict(_request("clip", steps=100), stop_at_the_third_step)
    assert len(seen) == 3
    if is_closed:
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


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the models that are loaded from now on."""
    load_truly, loaded = predicting.load_model, list[str]()

    def load(name: str, home: Path, device: str) -> Any:
        loaded.append(name)
        return load_truly(name, home)

    monkeypatch.setattr(predicting, "load_model", load)
    return loaded


def test_a_model_is_loaded_once_and_by_one_thread(random_models: Path, loads: list[str]) -> None:
    predictor = Predictor(random_models)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(predictor.predict, [_request("dinov2_global", steps=1)] * 3))
    assert loads == ["4M-21_B"]


def test_the_model_that_embeds_predicts_too_unless_another_is_asked_for(random_models: Path) -> None:
    members = {"inputs": [{"modality": "caption", "text": "a dog"}], "targets": ["metadata"]}
    predictor = Predictor(random_models, "4M-21_B:token_budget=98,dtype=bfloat16")
    assert predictor.predict(read_request(members, Limits())).model == "4M-21_B:dtype=bfloat16"


def test_the_served_model_predicts_without_being_loaded_again(
    random_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = predicting.load_model("4M-21_B:dtype=bfloat16", random_models)
    monkeypatch.setattr(predicting, "load_model", lambda name, home: pytest.fail(f"{name} is loaded again"))
    predictor = Predictor(random_models, served.name, serving=lambda: served)
    for name in ("4M-21_B", "EPFL-VILAB/4M-21_B", None):
        found = predictor.predict(replace(_request("metadata"), model=name))
        assert found.model == "4M-21_B:dtype=bfloat16"
    assert isinstance(served.spaces, dict), "the same object embeds"


def test_a_dtype_of_its_own_is_loaded_beside_the_served_model(random_models: Path) -> None:
    served = predicting.load_model("4M-21_B", random_models)
    predictor = Predictor(random_models, served.name, serving=lambda: served)
    asked = replace(_request("metadata"), model="EPFL-VILAB/4M-21_B:token_budget=98,dtype=bfloat16")
    assert predictor.predict(asked).model == "4M-21_B:dtype=bfloat16"
    with pytest.raises(UnknownModel, match="must be float32 or bfloat16"):
        predictor.predict(replace(asked, model="4M-21_B:dtype=float8"))


def test_one_bad_input_of_a_batch_is_one_bad_input(random_models: Path) -> None:
    predictor, plain = Predictor(random_models), _request("metadata", temperature=2)
    given = {
        "right": np.ones(768, np.float32),
        "short": np.ones(5, np.float32),
        "other": np.arange(768, dtype=np.float32),
    }
    requests = [replace(plain, inputs={"dinov2_global": vector}) for vector in given.values()]
    right, short, other = predictor.predict_batch(requests)
    assert (right, other) == tuple(predictor.predict(requests[place]) for place in (0, 2))
    assert isinstance(short, FormatInvalid)
    assert "has the shape (768,), not (5,)" in str(short)
    with pytest.raises(UnsupportedModality, match="does not predict t5_caption"):
        predictor.predict_batch([replace(request, targets=("t5_caption",)) for request in requests])


def test_only_models_that_predict_are_taken(random_models: Path) -> None:
    assert "4m-tiny" in predicting_models()
    assert "4M-21_XL" in predicting_models()
    for name in ("hashing", "4M_tokenizers_rgb_16k_224-448", "4M-7-SR_L_CC12M", "../4M-21_B"):
        members = {"model": name, "inputs": [{"modality": "caption", "text": "a"}], "targets": ["depth"]}
        with pytest.raises(UnknownModel):
            Predictor(random_models).predict(read_request(members, Limits()))


@pytest.mark.parametrize("name", ["4m-tiny:device=cuda", "4M-21_B:dtype=bfloat16,device=cpu", "4M-21_B:device=tpu"])
def test_a_request_cannot_choose_a_device(random_models: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else any client could fill a card, and have the service load the model anew for each request."""
    monkeypatch.setattr(predicting, "load_model", lambda *_: pytest.fail("a model is loaded"))
    with pytest.raises(DeviceInName, match="cannot choose a device") as raised:
        Predictor(random_models).predict(replace(_request("metadata"), model=name))
    assert status_of(raised.value) == 422
    assert raised.value.code == "device-in-name"
