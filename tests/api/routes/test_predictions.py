"""Predictions over HTTP, with published models of random weights."""

import base64
import io
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from anyseek import ApiError, Client
from anyseek.api.predictions.wire import Input
from anyseek.api.service import Service
from anyseek.search.settings import Limits
from tests.api.conftest import picture, problem, serving

MODEL = "4M-21_B"
QUICK = {"decoding_steps": 1, "steps": 1}


@pytest.fixture(scope="module")
def predicting(random_models: Path) -> Iterator[tuple[str, Service]]:
    with serving(random_models, limits=Limits(bytes_per_file=200_000)) as (client, service):
        yield client.url, service


@pytest.fixture
def server(predicting: tuple[str, Service]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=predicting[0], timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def photo() -> str:
    return base64.b64encode(picture("red", "disc")).decode()


def _body(photo: str, *targets: str, **options: Any) -> dict[str, Any]:
    inputs = [{"modality": "image", "data": photo}]
    return {"model": MODEL, "inputs": inputs, "targets": list(targets), "options": QUICK | options}


def _files(answer: httpx.Response, place: int = 0) -> dict[str, bytes]:
    found = answer.json()["predictions"][place]["files"]
    return {file["name"]: base64.b64decode(file["data"]) for file in found}


def test_pictures_are_files_and_texts_are_values(server: httpx.Client, photo: str) -> None:
    answer = server.post("/v1/predict", json=_body(photo, "depth", "caption", "dinov2_global"))
    assert answer.status_code == 200, answer.text
    assert answer.json()["model"] == MODEL
    assert answer.json()["refused"] == []
    depth, caption, vector = answer.json()["predictions"]
    assert [prediction["modality"] for prediction in (depth, caption, vector)] == ["depth", "caption", "dinov2_global"]
    assert depth["value"] is None
    files = _files(answer)
    assert Image.open(io.BytesIO(files["depth.png"])).size == (224, 224)
    assert np.load(io.BytesIO(files["depth.npy"])).dtype == np.float32
    assert isinstance(caption["value"], str)
    assert _files(answer, 1)["caption.txt"].decode() == caption["value"] + "\n"
    stored = np.load(io.BytesIO(_files(answer, 2)["dinov2_global.npy"]))
    np.testing.assert_allclose(vector["value"], stored)
    np.testing.assert_allclose(np.linalg.norm(stored), 1, atol=1e-5)


def test_a_form_and_json_and_the_client_and_no_service_agree(
    predicting: tuple[str, Service], server: httpx.Client, photo: str, random_models: Path
) -> None:
    by_json = server.post("/v1/predict", json=_body(photo, "semseg", seed=3))
    data = base64.b64decode(photo)
    fields = {"rgb": ("a.png", data), "targets": (None, "semseg"), "model": (None, MODEL), "seed": (None, "3")}
    by_form = server.post("/v1/predict", files=fields | {"steps": (None, "1"), "decoding_steps": (None, "1")})
    assert by_form.json() == by_json.json()
    inputs, options = [Input("rgb", data=data)], QUICK | {"seed": 3}
    with Client(predicting[0]) as client, Client(random_models) as local:
        over_http = client.predict(inputs, ["semseg"], MODEL, options)
        assert over_http == local.predict(inputs, ["semseg"], MODEL, options)
    assert {file.name: file.data for file in over_http.predicted[0].files} == _files(by_json)


def test_every_kind_of_input_is_taken(server: httpx.Client) -> None:
    box = {"box": [0.1, 0.1, 0.9, 0.9], "label": "dog"}
    inputs = [
        {"modality": "caption", "text": "snow", "weight": -0.5},
        {"modality": "palette", "data": ["#ffffff", "#000000"], "weight": 2},
        {"modality": "metadata", "text": '{"brightness": 100}'},
        {"modality": "boxes", "data": base64.b64encode(json.dumps([box]).encode()).decode()},
        {"modality": "sam_instance", "text": "[]"},
    ]
    body = {"model": "EPFL-VILAB/4M-21_B", "inputs": inputs, "targets": ["dinov2_global"]}
    answer = server.post("/v1/predict", json=body)
    assert answer.status_code == 200, answer.text
    form = [(given["modality"] + (f":{given['weight']}" if "weight" in given else ""), given) for given in inputs[:3]]
    files = [(name, (None, str(given.get("text", "#ffffff,#000000")))) for name, given in form]
    more = [("targets", (None, "dinov2_global")), ("model", (None, MODEL))]
    by_form = server.post("/v1/predict", files=files + more)
    assert by_form.status_code == 200, by_form.text
    assert by_form.json() == server.post("/v1/predict", json=body | {"inputs": inputs[:3]}).json()


def test_options_of_a_single_target_are_its_own(server: httpx.Client, photo: str) -> None:
    hot = server.post("/v1/predict", json=_body(photo, "dinov2_global", temperature=5.0)).json()
    targets = {"dinov2_global": {"temperature": 5.0, "steps": 1}}
    single = server.post("/v1/predict", json=_body(photo, "dinov2_global", targets=targets)).json()
    cold = server.post("/v1/predict", json=_body(photo, "dinov2_global", temperature=0.0)).json()
    assert hot == single
    assert hot != cold


@pytest.mark.parametrize(
    ("changed", "status", "code", "says"),
    [
        ({"inputs": []}, 422, "invalid-request", "inputs"),
        ({"targets": ["depth"] * 33}, 422, "invalid-request", "targets"),
        ({"targets": ["smell"]}, 422, "unknown-modality", "smell"),
        ({"targets": ["depth", "depth"]}, 422, "prediction-invalid", "twice"),
        ({"targets": ["rgb"]}, 422, "prediction-invalid", "rgb is an input and a target"),
        ({"targets": ["t5_caption"]}, 422, "unsupported-modality", "does not predict t5_caption"),
        ({"model": "hashing"}, 404, "unknown-model", "4M-21_B"),
        ({"model": "openclip:local-dir:/etc"}, 404, "unknown-model", "not a model that predicts"),
        ({"model": "4M-21_XL"}, 503, "weights-missing", "anyseek models pull 4M-21_XL"),
        ({"options": {"steps": 0}}, 422, "invalid-request", "steps"),
        ({"options": {"steps": 500}}, 422, "prediction-invalid", "196"),
        ({"options": {"guidance": 1e308}}, 422, "invalid-request", "guidance"),
        ({"options": {"progress": 1}}, 422, "invalid-request", "progress"),
        ({"options": {"temperature_schedule": "up"}}, 422, "schedule-invalid", "up"),
        ({"options": {"targets": {"caption": {}}}}, 422, "prediction-invalid", "caption"),
        ({"inputs": [{"modality": "rgb"}]}, 422, "bad-query", "exactly one of text and data"),
        ({"inputs": [{"modality": "rgb", "data": "!"}]}, 422, "bad-query", "base64"),
        ({"inputs": [{"modality": "rgb", "text": "a dog"}]}, 422, "bad-query", "send a file"),
        ({"inputs": [{"modality": "rgb", "data": "AAAA"}]}, 422, "not-a-picture", "input 1 (rgb)"),
        ({"inputs": [{"modality": "boxes", "text": "[1]"}]}, 422, "bad-document", "input 1 (boxes)"),
        (
            {"inputs": [{"modality": "text", "text": "a"}, {"modality": "caption", "text": "b"}]},
            422,
            "bad-query",
            "twice",
        ),
        ({"inputs": [{"modality": "text", "text": "a", "weight": 1e9}]}, 422, "bad-query", "weight of caption"),
        ({"inputs": [{"modality": "visual_global", "data": "AAAA"}]}, 422, "bad-map", "NPY"),
        ({"inputs": [{"modality": "text", "text": "a"}] * 17}, 413, "limit-exceeded", "at most 16 inputs"),
        ({"inputs": [{"modality": "rgb", "data": "A" * 400_000}]}, 413, "too-many-bytes", "200,000"),
        ({"wait": 1}, 422, "invalid-request", "wait"),
    ],
)
def test_a_wrong_request_is_refused(
    server: httpx.Client, photo: str, changed: dict[str, Any], status: int, code: str, says: str
) -> None:
    answer = server.post("/v1/predict", json=_body(photo, "depth") | changed)
    problem(answer, status, code)
    assert says in answer.json()["detail"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"caption": "a"}, "bad-query"),
        ({"targets": "depth"}, "bad-query"),
        ({"caption": "a", "targets": "depth", "seed": "many"}, "bad-query"),
        ({"caption:x": "a", "targets": "depth"}, "bad-query"),
        ({"smell": "a", "targets": "depth"}, "unknown-modality"),
    ],
)
def test_a_wrong_form_is_refused(server: httpx.Client, fields: dict[str, str], code: str) -> None:
    answer = server.post("/v1/predict", files={name: (None, text) for name, text in fields.items()})
    problem(answer, 422, code)


def test_what_the_model_does_not_predict_is_named_beside_what_it_does(server: httpx.Client, photo: str) -> None:
    answer = server.post("/v1/predict", json=_body(photo, "visual_global", "metadata"))
    assert [prediction["modality"] for prediction in answer.json()["predictions"]] == ["metadata"]
    (refused,) = answer.json()["refused"]
    assert refused["modality"] == "visual_global"
    assert "4m-tiny does" in refused["detail"]


def test_a_prediction_that_takes_too_long_is_stopped_and_the_next_one_is_not(
    predicting: tuple[str, Service], server: httpx.Client, photo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predicting[1].predictor, "_seconds", 0.0)
    answer = server.post("/v1/predict", json=_body(photo, "depth"))
    problem(answer, 503, "took-too-long")
    monkeypatch.undo()
    assert server.post("/v1/predict", json=_body(photo, "metadata")).status_code == 200


def test_predictions_wait_in_a_line_of_their_own(
    predicting: tuple[str, Service], server: httpx.Client, photo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one is predicted, others wait or are told to come back, and everything else is answered at once."""
    url, service = predicting
    monkeypatch.setattr(service.predictions, "max_waiting", 1)
    entered, go_on = threading.Event(), threading.Event()
    predict_truly = service.predictor.predict

    def wait_first(*args: Any) -> Any:
        entered.set()
        go_on.wait(30)
        return predict_truly(*args)

    monkeypatch.setattr(service.predictor, "predict", wait_first)
    body = _body(photo, "metadata")
    with ThreadPoolExecutor(5) as pool:
        answers = [pool.submit(httpx.post, f"{url}/v1/predict", json=body, timeout=60) for _ in range(5)]
        entered.wait(30)
        started = time.monotonic()
        while sum(answer.done() for answer in answers) < 3:
            assert server.get("/v1/models").status_code == 200
            assert time.monotonic() - started < 30
        go_on.set()
        statuses = sorted(answer.result().status_code for answer in answers)
    assert statuses == [200, 200, 503, 503, 503]


def test_a_service_predicts_with_its_own_model_unless_asked_otherwise(
    server: httpx.Client, random_models: Path, photo: str
) -> None:
    body = _body(photo, "visual_global")
    del body["model"], body["options"]
    problem(server.post("/v1/predict", json=body), 503, "weights-missing")  # 4m-tiny, whose encoders are not here
    with Client(random_models, model=MODEL) as local:
        assert local.predict([Input("caption", text="a dog")], ["metadata"]).model == MODEL


def test_a_refusal_reaches_the_client(predicting: tuple[str, Service]) -> None:
    with Client(predicting[0]) as client, pytest.raises(ApiError) as caught:
        client.predict([Input("rgb", data=picture("red", "disc"))], ["t5_caption"], MODEL)
    assert (caught.value.status, caught.value.type) == (422, "urn:anyseek:unsupported-modality")
