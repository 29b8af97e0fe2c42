"""Explanations over HTTP, as JSON, in forms, in the URL, and by both clients."""

import asyncio

import httpx
import pytest

from anyseek import AsyncClient, Client
from anyseek.search.answers.results import Explanation, PartShare, SharedWord

PARTS = [{"text": "a red disc"}, {"modality": "color_palette", "text": "#d92d2d", "weight": 0.5}]


def test_a_hit_says_what_each_part_contributed(http: httpx.Client, shapes: str) -> None:
    path = f"/v1/collections/{shapes}/query"
    answer = http.post(path, json={"parts": PARTS, "k": 3, "explain": 2}).json()
    assert [one["key"] for one in answer["explanations"]] == [hit["key"] for hit in answer["hits"][:2]]
    best = answer["explanations"][0]
    words, palette = best["parts"]
    without = http.post(path, json={"parts": PARTS[1:]}).json()["hits"]
    (alone,) = [hit for hit in without if hit["key"] == best["key"]]
    assert (words["score_without"], words["rank_without"]) == (pytest.approx(alone["score"], abs=1e-6), alone["rank"])
    assert (words["modality"], words["text"], words["weight"]) == ("caption", "a red disc", 1)
    assert (palette["modality"], palette["text"], palette["weight"]) == ("color_palette", None, 0.5)
    assert {word["word"] for word in words["words"]} == {"red", "disc"}
    assert words["words"][0]["fields"] == ["key", "caption", "colour"]
    assert http.post(path, json={"parts": PARTS, "k": 3}).json()["explanations"] == []


def test_urls_ask_for_them_too(http: httpx.Client, shapes: str) -> None:
    path = f"/v1/collections/{shapes}/query"
    by_json = http.post(path, json={"parts": PARTS[:1], "k": 2, "explain": True}).json()
    assert len(by_json["explanations"]) == 1
    assert http.get(path, params={"text": "a red disc", "k": 2, "explain": 1}).json() == by_json
    named = http.get(path, params={"text": "a red disc", "k": 1, "explain_keys": ["blue bar", "green bar"]}).json()
    assert [one["key"] for one in named["explanations"]] == ["blue bar", "green bar"]


@pytest.mark.parametrize(
    ("members", "status", "said"),
    [
        ({"explain": 21}, 422, "explain"),
        ({"explain": -1}, 422, "explain"),
        ({"explain_keys": "red disc"}, 422, "explain_keys"),
        ({"explain_keys": ["no such"]}, 404, "has no item 'no such' to explain"),
        ({"explain_keys": ["a\x00b"]}, 404, "to explain"),
        ({"explain": 20, "explain_keys": ["red disc"]}, 413, "21 hits and items are to be explained; the most is 20"),
    ],
)
def test_what_cannot_be_explained_is_refused(
    http: httpx.Client, shapes: str, members: dict[str, object], status: int, said: str
) -> None:
    answer = http.post(f"/v1/collections/{shapes}/query", json={"parts": PARTS, **members})
    assert answer.status_code == status
    assert said in answer.json()["detail"]


def test_batches_and_several_collections_explain_nothing_and_say_so(http: httpx.Client, shapes: str) -> None:
    queries = [{"parts": PARTS, "explain": 1}, {"parts": PARTS}]
    refused, answered = http.post(f"/v1/collections/{shapes}/query/batch", json={"queries": queries}).json()["results"]
    assert refused["error"] == "hits of a batch are not explained; send this query by itself"
    assert answered["hits"]
    several = http.post("/v1/query", json={"collections": [shapes], "parts": PARTS, "explain": 1})
    assert several.status_code == 422
    assert several.json()["detail"] == "hits are explained of one collection; ask it alone"


def test_clients_read_what_the_service_answers(shared_service: tuple[str, object], shapes: str) -> None:
    url = shared_service[0]
    with Client(url) as client:
        found = client.query(shapes, PARTS, 2, explain=1, explain_keys=["blue bar"])
    first, other = found.explanations
    assert isinstance(first, Explanation)
    assert isinstance(first.parts[0], PartShare)
    assert first.key == found.hits[0].key
    assert SharedWord("red", ("key", "caption", "colour")) in first.parts[0].words
    assert other.key == "blue bar"

    async def ask() -> tuple[Explanation, ...]:
        async with AsyncClient(url) as client:
            return (await client.query(shapes, PARTS, 2, explain=1, explain_keys=["blue bar"])).explanations

    assert asyncio.run(ask()) == found.explanations


def test_hits_of_a_further_page_keep_their_places(http: httpx.Client, shapes: str) -> None:
    path = f"/v1/collections/{shapes}/query"
    following = http.post(path, json={"parts": PARTS, "k": 2}).json()["next"]
    answer = http.post(path, json={"parts": PARTS, "k": 2, "cursor": following, "explain": 2}).json()
    assert [one["rank"] for one in answer["explanations"]] == [3, 4]
    assert [one["key"] for one in answer["explanations"]] == [hit["key"] for hit in answer["hits"]]
