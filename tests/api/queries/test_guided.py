"""Guided queries over HTTP, by the client and from the command line, with a published model of random weights."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from anyseek import ApiError, Client
from anyseek.api import cli
from anyseek.api.service import Service, ServiceSettings
from anyseek.search.settings import Settings
from anyseek.workers.runtime import Runtime
from tests.api.conftest import listening

Picture = Callable[..., bytes]
Problem = Callable[..., None]

MODEL, SPACE = "4M-21_B", "dinov2_global"
PATH = "/v1/collections/drawn/query"
WORDS, COLOUR = {"text": "a red disc"}, {"modality": "color_palette", "text": "#d92d2d"}


@pytest.fixture(scope="module")
def home(random_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(random_models, tmp_path_factory.mktemp("guided") / "home"))


@pytest.fixture(scope="module")
def url(home: Path, picture: Picture) -> Iterator[str]:
    """A service with three pictures in a collection of the model."""
    with Runtime.open(Settings(home), MODEL) as runtime, listening(Service(runtime, ServiceSettings())) as url:
        with Client(url, patience=60) as client:
            client.create_collection("drawn")
            for colour in ("red", "green", "blue"):
                client.put_item("drawn", f"{colour} disc", {"rgb": picture(colour, "disc")})
        yield url


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=60) as client:
        yield client


def _body(*parts: dict[str, Any], **how: Any) -> dict[str, Any]:
    return {"parts": list(parts), "space": SPACE, "fusion": "guided", **how}


def test_every_way_of_asking_gives_the_same_hits(http: httpx.Client, url: str) -> None:
    body = _body(WORDS, {**COLOUR, "weight": -0.5})
    answer = http.post(PATH, json=body).json()
    assert (answer["fusion"], answer["space"], len(answer["hits"])) == ("guided", SPACE, 3)
    late = http.post(PATH, json={**body, "fusion": "late"}).json()
    assert [hit["score"] for hit in late["hits"]] != [hit["score"] for hit in answer["hits"]]
    form = {"caption": (None, "a red disc"), "color_palette:-0.5": (None, "#d92d2d")}
    assert http.post(PATH, files={**form, "space": (None, SPACE), "fusion": (None, "guided")}).json() == answer
    (batched,) = http.post(f"{PATH}/batch", json={"queries": [body]}).json()["results"]
    assert batched["fusion"] == "guided"
    assert [hit["score"] for hit in batched["hits"]] == pytest.approx(
        [hit["score"] for hit in answer["hits"]], abs=1e-5
    )
    with Client(url, patience=60) as client:
        found = client.query("drawn", [WORDS, {**COLOUR, "weight": -0.5}], space=SPACE, fusion="guided")
    assert (found.fusion, [hit.key for hit in found.hits]) == ("guided", [hit["key"] for hit in answer["hits"]])


def test_a_single_part_is_guided_in_an_address_and_is_itself_at_weight_1(http: httpx.Client) -> None:
    asked = {"text": "a red disc", "space": SPACE}
    plain, guided = (http.get(PATH, params=asked | more).json() for more in ({}, {"fusion": "guided"}))
    assert [hit["key"] for hit in guided["hits"]] == [hit["key"] for hit in plain["hits"]]
    scores = [[hit["score"] for hit in answer["hits"]] for answer in (plain, guided)]
    assert scores[1] == pytest.approx(scores[0], abs=1e-4)
    both = http.get(PATH, params=asked | {"palette": "#d92d2d", "fusion": "guided"}).json()
    assert both == http.post(PATH, json=_body(WORDS, COLOUR)).json()
    away = http.post(PATH, json=_body({**WORDS, "weight": -3})).json()
    assert [hit["score"] for hit in away["hits"]] != pytest.approx(scores[0], abs=1e-4)


def test_weights_may_be_any_finite_number(http: httpx.Client) -> None:
    answer = http.post(PATH, json=_body({**WORDS, "weight": 1e308}, {**COLOUR, "weight": -1e308}))
    assert answer.status_code == 200, answer.text
    assert all(-1 <= hit["score"] <= 1 for hit in answer.json()["hits"])


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        (_body(WORDS, {"item": "red disc"}), "not-joinable", "stored vector"),
        (_body(WORDS, {"text": "a disc"}), "not-joinable", "two parts of caption"),
        (_body({"vector": [1.0] * 768}), "not-joinable", "is a vector"),
        (_body({**WORDS, "weight": 0}, {**COLOUR, "weight": 0}), "bad-query", "cancel each other out"),
        (_body(WORDS, fusion="guide"), "invalid-request", "guided"),
    ],
)
def test_what_cannot_guide_is_refused(
    problem: Problem, http: httpx.Client, body: dict[str, Any], code: str, says: str
) -> None:
    answer = http.post(PATH, json=body)
    problem(answer, 422, code)
    assert says in answer.json()["detail"]


def test_a_client_says_why_it_was_refused(url: str) -> None:
    with Client(url) as client, pytest.raises(ApiError, match="two parts of caption"):
        client.query("drawn", ["a", "b"], space=SPACE, fusion="guided")


def test_the_command_line_guides_by_the_weights_of_its_options(
    http: httpx.Client, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ANYSEEK_URL", url)
    asked = ["query", "a red disc", "--collection", "drawn", "--palette", "#d92d2d:-0.5", "--fusion", "guided"]
    assert cli.run([*asked, "--space", SPACE, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["fusion"] == "guided"
    expected = http.post(PATH, json=_body(WORDS, {**COLOUR, "weight": -0.5})).json()
    assert [hit["score"] for hit in answer["hits"]] == [hit["score"] for hit in expected["hits"]]
    assert cli.run(["query", "--collection", "drawn", "--item", "red disc", "--fusion", "guided"]) == 2
    assert "stored vector" in capsys.readouterr().err
