"""Readings over HTTP, as JSON, in forms, in the URL, by both clients, and on the command line."""

import asyncio
import json

import httpx
import pytest

from anyseek import AsyncClient, Client
from anyseek.api.cli import run
from anyseek.api.service import Service
from anyseek.search.explanation import Reading

PARTS = [{"text": "bat"}]
CAVES, BALLS = [f"cave {n}" for n in range(8)], [f"ball {n}" for n in range(8)]


@pytest.fixture(scope="module")
def bats(shared_service: tuple[str, Service]) -> str:
    """A collection in which "bat" is said of two kinds of things."""
    with Client(shared_service[0]) as client:
        client.create_collection("bats")
        for cave, ball in zip(CAVES, BALLS, strict=True):
            client.put_item("bats", cave, caption="bat sleeping upside down in a dark cave")
            client.put_item("bats", ball, caption="bat hitting the ball at baseball stadium")
    return "bats"


def check(readings: list[dict[str, object]]) -> None:
    by_keys = {frozenset(one["keys"]): one for one in readings}  # type: ignore[call-overload]
    assert set(by_keys) == {frozenset(CAVES), frozenset(BALLS)}
    assert {one["size"] for one in readings} == {8}
    assert "cave" in str(by_keys[frozenset(CAVES)]["name"])
    assert "ball" in str(by_keys[frozenset(BALLS)]["name"])


def test_an_ambiguous_query_has_its_readings(http: httpx.Client, bats: str) -> None:
    path = f"/v1/collections/{bats}/query"
    answer = http.post(path, json={"parts": PARTS, "k": 3, "readings": True}).json()
    check(answer["readings"])
    assert len(answer["hits"]) == 3  # the readings are of more
    assert answer["hits"][0]["key"] == answer["readings"][0]["keys"][0]
    assert http.post(path, json={"parts": PARTS, "k": 3}).json() == {**answer, "readings": []}
    following = {"parts": PARTS, "k": 3, "cursor": answer["next"], "readings": True}
    assert http.post(path, json=following).json()["readings"] == answer["readings"]


def test_forms_and_urls_ask_for_them_too(http: httpx.Client, bats: str) -> None:
    path = f"/v1/collections/{bats}/query"
    by_json = http.post(path, json={"parts": PARTS, "readings": True}).json()
    form = {"caption": (None, "bat"), "readings": (None, "true")}
    assert http.post(path, files=form).json() == by_json
    assert http.get(path, params={"text": "bat", "readings": True}).json() == by_json
    words = http.get(path, params={"words": "bat", "readings": True}).json()  # which no vector looks for
    check(words["readings"])


def test_a_filter_leaves_one_reading_and_a_clear_query_has_none(http: httpx.Client, bats: str, shapes: str) -> None:
    path = f"/v1/collections/{bats}/query"
    asked = {"parts": PARTS, "where": "@key starts with cave", "readings": True}
    assert http.post(path, json=asked).json()["readings"] == []
    assert http.post(path, json={"parts": PARTS, "min_score": 1, "readings": True}).json()["readings"] == []
    answer = http.post(f"/v1/collections/{shapes}/query", json={"parts": PARTS, "k": 1, "readings": True}).json()
    assert answer["readings"] == []


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"readings": "many"}, "readings"),
        ({"readings": 3}, "readings"),
        (
            {"readings": True, "group_by": "colour"},
            "readings group the hits by themselves; ask for them without",
        ),
    ],
)
def test_bad_readings_are_refused(http: httpx.Client, bats: str, members: dict[str, object], said: str) -> None:
    answer = http.post(f"/v1/collections/{bats}/query", json={"parts": PARTS, **members})
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


def test_batches_and_several_collections_refuse_them(http: httpx.Client, bats: str, shapes: str) -> None:
    queries = [{"parts": PARTS, "readings": True}, {"parts": PARTS}]
    refused, answered = http.post(f"/v1/collections/{bats}/query/batch", json={"queries": queries}).json()["results"]
    assert refused["error"] == "the hits of a batch are brief and in no readings; ask this query alone"
    assert answered["hits"]
    answer = http.post("/v1/query", json={"collections": [bats, shapes], "parts": PARTS, "readings": True})
    assert (answer.status_code, answer.json()["detail"]) == (422, "readings are of one collection; ask it alone")
    form = {"caption": (None, "bat"), "readings": (None, "yes")}
    answer = http.post(f"/v1/collections/{bats}/query", files=form)
    assert (answer.status_code, answer.json()["detail"]) == (422, "readings is true or false, not 'yes'")


def test_clients_read_what_the_service_answers(shared_service: tuple[str, Service], bats: str) -> None:
    url = shared_service[0]
    with Client(url) as client:
        found = client.query(bats, PARTS, 2, readings=True)
    assert all(isinstance(one, Reading) for one in found.readings)
    assert {frozenset(one.keys) for one in found.readings} == {frozenset(CAVES), frozenset(BALLS)}

    async def ask() -> tuple[Reading, ...]:
        async with AsyncClient(url) as client:
            return (await client.query(bats, PARTS, 2, readings=True)).readings

    assert asyncio.run(ask()) == found.readings


def test_the_command_prints_them(
    shared_service: tuple[str, Service],
    bats: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ANYSEEK_URL", shared_service[0])
    asked = ["query", "--collection", bats, "bat", "-k", "1", "--readings"]
    assert run(asked) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("reading ")]
    assert len(lines) == 2
    assert any("cave" in line and "(8): cave " in line for line in lines)
    assert run([*asked, "--json"]) == 0
    check(json.loads(capsys.readouterr().out)["readings"])
    assert run([*asked, "--paths"]) == 2
    assert "--readings is for one query that prints its hits" in capsys.readouterr().err
