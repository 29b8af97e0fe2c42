"""Queries as JSON, as forms and in batches."""

import asyncio
import base64
import json
from typing import Any

import httpx
import pytest

from anyseek import AsyncClient, Client
from tests.api.conftest import picture, problem
from tests.api.queries.query_inputs import query_form


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"modality": "caption", "text": "a red disc"}, "red disc"),
        ({"modality": "text", "data": "blue bar"}, "blue bar"),
        ({"modality": "color_palette", "text": "#2f6fed"}, "blue"),
        ({"item": "green box"}, "green box"),
    ],
)
def test_parts_find_what_they_mean(http: httpx.Client, shapes: str, part: dict[str, str], expected: str) -> None:
    answer = http.post(f"/v1/collections/{shapes}/query", json={"parts": [part], "k": 3}).json()
    assert answer["space"] == "hashing"
    assert [hit["rank"] for hit in answer["hits"]] == [1, 2, 3]
    assert answer["hits"][0]["key"].startswith(expected)
    assert answer["hits"][0]["caption"] == f"a {answer['hits'][0]['key']}"
    scores = [hit["score"] for hit in answer["hits"]]
    assert scores == sorted(scores, reverse=True)


def test_a_picture_is_found_by_itself_as_json_and_as_a_form(http: httpx.Client, shapes: str) -> None:
    data = picture("blue", "disc")
    path = f"/v1/collections/{shapes}/query"
    by_json = http.post(path, json={"parts": [{"modality": "rgb", "data": base64.b64encode(data).decode()}], "k": 1})
    by_form = http.post(path, files=query_form({"parts": [{"modality": "rgb", "file": "a"}], "k": 1}, a=data))
    assert by_json.json() == by_form.json()
    assert by_json.json()["hits"][0]["key"] == "blue disc"


def test_a_drawing_finds_shapes(http: httpx.Client, shapes: str) -> None:
    drawn = picture("red", "bar", outline=True)
    files = query_form({"parts": [{"modality": "sketch", "file": "bar"}], "k": 3}, bar=drawn)
    hits = http.post(f"/v1/collections/{shapes}/query", files=files).json()["hits"]
    assert {hit["key"] for hit in hits} == {"red bar", "green bar", "blue bar"}


def test_an_answer_says_of_which_part_something_was_understood(http: httpx.Client, shapes: str) -> None:
    words = {"modality": "words", "text": "disc"}
    data = base64.b64encode(picture("red", "disc")).decode()
    sketch = {"modality": "sketch", "data": data, "form": "clean", "name": "a.png"}
    parts = [words, {"text": "a disc"}, sketch]
    (understood,) = http.post(f"/v1/collections/{shapes}/query", json={"parts": parts}).json()["understood"]
    assert (understood["name"], understood["form"], understood["part"]) == ("a.png", "clean", 2)


def test_a_negative_weight_pushes_away(http: httpx.Client, shapes: str) -> None:
    parts = [{"text": "disc"}, {"text": "red", "weight": -1}]
    hits = http.post(f"/v1/collections/{shapes}/query", json={"parts": parts}).json()["hits"]
    assert "red" not in hits[0]["key"]


def test_parts_are_fused_as_asked_and_the_answer_says_how(http: httpx.Client, shapes: str) -> None:
    path = f"/v1/collections/{shapes}/query"
    parts = [{"text": "a red disc"}, {"modality": "color_palette", "text": "#d92d2d"}]
    bodies = [{"parts": parts, **how} for how in ({"fusion": "joint"}, {"fusion": "late"}, {"fusion": "ranks"}, {})]
    answers = [http.post(path, json=body).json() for body in bodies]
    assert [answer["fusion"] for answer in answers] == ["joint", "late", "ranks", "late"]
    assert all(answer["hits"][0]["key"] == "red disc" for answer in answers)
    results = http.post(f"{path}/batch", json={"queries": bodies}).json()["results"]
    assert [result["fusion"] for result in results] == ["joint", "late", "ranks", "late"]
    assert http.post(path, json={"parts": parts[:1]}).json()["fusion"] is None


def test_k_above_the_count_gives_all(http: httpx.Client, shapes: str) -> None:
    hits = http.post(f"/v1/collections/{shapes}/query", json={"parts": [{"text": "a"}], "k": 10_000}).json()["hits"]
    assert len(hits) == 9


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"parts": []}, 422, "invalid-request"),
        ({"parts": [{"text": "a"}], "k": 0}, 422, "invalid-request"),
        ({"parts": [{"text": "a"}], "k": 10_001}, 422, "invalid-request"),
        ({"parts": [{"text": "a", "wait": 2}]}, 422, "invalid-request"),
        ({"parts": [{"modality": "rgb", "file": "/etc/passwd"}]}, 422, "bad-query"),
        ({"parts": [{"text": "a", "weight": "heavy"}]}, 422, "invalid-request"),
        ({"parts": [{"text": "a"}], "fusion": "early"}, 422, "invalid-request"),
        ({"parts": [{"text": "a"}, {"text": "b"}], "fusion": "joint"}, 422, "not-joinable"),
        ({"parts": [{"text": "a", "item": "b"}]}, 422, "bad-query"),
        ({"parts": [{"text": "a", "weight": 0}]}, 422, "bad-query"),
        ({"parts": [{"item": "nobody"}]}, 404, "item-not-found"),
        ({"parts": [{"text": "a"}], "space": "nowhere"}, 404, "space-not-found"),
        ({"parts": [{"text": "a"}] * 17}, 413, "limit-exceeded"),
        ({"parts": [{"modality": "smell", "text": "a"}]}, 422, "unknown-modality"),
        ({"parts": [{"data": "AAAA"}]}, 422, "bad-query"),
        ({"parts": [{"modality": "rgb", "text": "a"}]}, 422, "bad-query"),
        ({"parts": [{"modality": "rgb", "data": "not base64!"}]}, 422, "bad-query"),
        ({"parts": [{"modality": "rgb", "data": "AAAA"}]}, 422, "not-a-picture"),
        ({"parts": [{"modality": "caption", "text": "  "}]}, 422, "empty-input"),
        ({"parts": [{"modality": "palette", "text": "red"}]}, 422, "bad-palette"),
    ],
)
def test_a_wrong_query_is_refused(
    http: httpx.Client, shapes: str, body: dict[str, object], status: int, code: str
) -> None:
    problem(http.post(f"/v1/collections/{shapes}/query", json=body), status, code)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"parts": [{"text": "\\ud800"}]}', b"[" * 100_000])
def test_json_that_is_none_is_refused(http: httpx.Client, shapes: str, content: bytes) -> None:
    headers = {"content-type": "application/json"}
    for path in ("query", "query/batch"):
        answer = http.post(f"/v1/collections/{shapes}/{path}", content=content, headers=headers)
        assert answer.status_code in (400, 422), answer.text
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_batch_answers_in_order_and_one_bad_query_spoils_no_other(http: httpx.Client, shapes: str) -> None:
    queries = [
        {"parts": [{"text": "red disc"}], "k": 1},
        {"parts": [{"modality": "rgb", "data": "AAAA"}]},
        {"parts": [{"item": "nobody"}]},
        "nonsense",
        {"parts": [{"modality": "depth", "data": "AAAA"}]},
        {"parts": [{"item": "blue bar"}], "k": 2},
    ]
    results = http.post(f"/v1/collections/{shapes}/query/batch", json={"queries": queries}).json()["results"]
    assert [bool(result["error"]) for result in results] == [False, True, True, True, True, False]
    assert [hit["key"] for hit in results[0]["hits"]] == ["red disc"]
    assert set(results[5]["hits"][0]) == {"key", "score", "rank"}
    assert results[5]["hits"][0]["key"] == "blue bar"


def test_what_a_query_of_a_batch_may_ask_for(http: httpx.Client, shapes: str) -> None:
    members: list[dict[str, Any]] = [
        {"k": 1, "group_by": "colour"},
        {"k": 2, "offset": 1},
        {"where": WHERE},
        {"where": "width >"},
        {"vectors": True},
    ]
    queries = [{"parts": [{"text": "a green box"}], **more} for more in members]
    results = http.post(f"/v1/collections/{shapes}/query/batch", json={"queries": queries}).json()["results"]
    grouped, paged, filtered, wrong, heavy = results
    assert grouped["hits"][0]["key"].startswith(grouped["hits"][0]["group"])
    assert [hit["rank"] for hit in paged["hits"]] == [2, 3]
    assert {hit["key"] for hit in filtered["hits"]} == {"red disc", "red box", "red bar", "blue bar"}
    assert "ends where a value for 'width' was expected" in wrong["error"]
    assert "send this query by itself" in heavy["error"]


@pytest.mark.parametrize(("value", "written"), [(2000, "2000"), (0.5, "0.5"), (True, "true"), ("x", '"x"')])
def test_the_value_of_a_group_is_written_alike_in_a_batch(
    http: httpx.Client, collection: str, value: object, written: str
) -> None:
    attributes = {"attributes": (None, json.dumps({"of": value})), "caption": (None, "a dog")}
    assert http.put(f"/v1/collections/{collection}/items/a", files=attributes).status_code == 200
    asked = {"parts": [{"text": "dog"}], "group_by": "of"}
    alone = http.post(f"/v1/collections/{collection}/query", json=asked)
    batch = http.post(f"/v1/collections/{collection}/query/batch", json={"queries": [asked]})
    assert f'"group":{written}' in alone.text
    assert f'"group":{written}' in batch.text


def test_a_batch_is_limited_and_needs_its_collection(http: httpx.Client, shapes: str) -> None:
    body = {"queries": [{"parts": [{"text": "a"}]}] * 11}
    problem(http.post(f"/v1/collections/{shapes}/query/batch", json=body), 413, "limit-exceeded")
    problem(http.post("/v1/collections/none/query/batch", json={"queries": []}), 404, "collection-not-found")


WHERE = "@key starts with red or @key in ('blue bar')"


@pytest.mark.parametrize(
    "where", [WHERE, {"or": [{"field": "@key", "prefix": "red"}, {"field": "@key", "in": ["blue bar"]}]}]
)
def test_a_filter_chooses_which_items_may_be_hits(http: httpx.Client, shapes: str, where: object) -> None:
    body = {"parts": [{"text": "a green box"}], "where": where}
    hits = http.post(f"/v1/collections/{shapes}/query", json=body).json()["hits"]
    assert {hit["key"] for hit in hits} == {"red disc", "red box", "red bar", "blue bar"}


@pytest.mark.parametrize("where", ["width >", {"field": "width"}, {"field": "@size", "eq": "x"}])
def test_a_wrong_filter_is_refused(http: httpx.Client, shapes: str, where: object) -> None:
    answer = http.post(f"/v1/collections/{shapes}/query", json={"parts": [{"text": "a"}], "where": where})
    problem(answer, 422, "bad-filter")


def test_a_url_can_hold_a_query(http: httpx.Client, shapes: str) -> None:
    path = f"/v1/collections/{shapes}/query"
    parts = [{"text": "a red"}, {"text": "disc"}, {"item": "blue box"}, {"modality": "palette", "text": "#d92d2d"}]
    more = {"k": 3, "offset": 1, "where": "not @key starts with green", "min_score": 0.01, "fusion": "late"}
    by_url = http.get(
        path, params={"text": ["a red", "disc"], "item": "blue box", "palette": "#d92d2d", "space": "hashing", **more}
    )
    assert by_url.json() == http.post(path, json={"parts": parts, "space": "hashing", **more}).json()
    assert [hit["rank"] for hit in by_url.json()["hits"]] == [2, 3, 4]
    problem(http.get(path), 422, "bad-query")
    problem(http.get(path, params={"text": "a", "k": "0"}), 422, "invalid-request")
    problem(http.get(path, params={"text": "a", "min_score": "nan"}), 422, "invalid-request")
    problem(http.get(path, params={"text": "a", "where": "width >"}), 422, "bad-filter")
    problem(http.get(path, params={"texts": "a"}), 422, "unknown-parameter")
    assert "did you mean `text`?" in http.get(path, params={"texts": "a"}).json()["detail"]


def test_all_members_are_the_same_in_json_in_a_form_and_in_a_url(http: httpx.Client, shapes: str) -> None:
    path, more = f"/v1/collections/{shapes}/query", {"k": 2, "offset": 1, "min_score": 0.001, "vectors": True}
    by_json = http.post(path, json={"parts": [{"text": "a red disc"}], **more}).json()
    assert http.post(path, files=query_form({"parts": [{"text": "a red disc"}], **more})).json() == by_json
    assert http.get(path, params={"text": "a red disc", **more}).json() == by_json
    vector = by_json["hits"][0]["vector"]
    assert len(vector) == 512
    again = http.post(path, json={"parts": [{"vector": vector, "weight": 0.5}], "k": 1}).json()["hits"][0]
    assert (again["key"], again["vector"]) == (by_json["hits"][0]["key"], None)


@pytest.mark.parametrize(
    ("vector", "says"), [("[1, 2", "JSON"), ('["a"]', "number"), ("[1e39]", "no direction"), ("[1, 2]", "2 numbers")]
)
def test_a_wrong_vector_is_refused(http: httpx.Client, shapes: str, vector: str, says: str) -> None:
    written = vector.replace("[1e39]", str([1e39] * 512))
    content = f'{{"parts": [{{"vector": {written}}}]}}'
    headers = {"content-type": "application/json"}
    answer = http.post(f"/v1/collections/{shapes}/query", content=content, headers=headers)
    assert answer.status_code == 422
    assert says in answer.json()["detail"]


def test_the_best_of_each_group_everywhere(http: httpx.Client, shapes: str) -> None:
    path, more = f"/v1/collections/{shapes}/query", {"group_by": "colour", "k": 2, "group_size": 2}
    answer = http.post(path, json={"parts": [{"text": "a green box"}], **more}).json()
    hits = answer["hits"]
    assert hits[0]["key"] == "green box"
    assert [hit["rank"] for hit in hits] == [1, 1, 2, 2]
    assert all(hit["key"].startswith(hit["group"]) for hit in hits)
    assert hits[0]["group"] == hits[1]["group"] != hits[2]["group"]
    assert http.get(path, params={"text": "a green box", **more}).json() == answer
    said = http.get(path, params={"text": "a", "group_by": "color"}).json()
    assert (said["hits"], said["note"]) == ([], "no item has the attribute 'color'; did you mean colour?")


def test_words_alone_and_with_other_parts(http: httpx.Client, shapes: str) -> None:
    path = f"/v1/collections/{shapes}/query"
    alone = http.post(path, json={"parts": [{"modality": "words", "text": "GREEN discs"}]}).json()
    assert [hit["key"] for hit in alone["hits"]][:1] == ["green disc"]
    assert {hit["key"] for hit in alone["hits"]} == {"green disc", "green box", "green bar", "red disc", "blue disc"}
    assert (alone["hits"][0]["score"], alone["space"]) == (1, None)
    assert http.get(path, params={"words": "GREEN discs"}).json() == alone
    mixed = {"parts": [{"item": "blue bar"}, {"modality": "words", "text": "red", "weight": 3}], "k": 4}
    both = http.post(path, json=mixed).json()
    assert {hit["key"] for hit in both["hits"][:3]} == {"red disc", "red box", "red bar"}
    assert both["space"] == "hashing"
    problem(http.post(path, json={"parts": [mixed["parts"][1] | {"weight": -1}]}), 422, "bad-query")
    problem(http.get(path, params={"words": "?"}), 422, "bad-query")


def test_facets_count_what_passes_the_filter_as_json_and_address(http: httpx.Client, shapes: str) -> None:
    path = f"/v1/collections/{shapes}/query"
    body = {"parts": [{"text": "a box"}], "k": 1, "where": "colour != red", "facets": ["colour", "width"]}
    answer = http.post(path, json=body).json()
    address = {"text": "a box", "k": "1", "where": "colour != red", "facets": ["colour", "width"]}
    assert http.get(path, params=address).json() == answer
    by_colour, by_width = answer["facets"]
    assert by_colour["values"] == [{"value": "blue", "items": 3}, {"value": "green", "items": 3}]
    assert (by_width["items"], by_width["least"], by_width["most"]) == (6, 96.0, 96.0)
    batch = http.post(f"{path}/batch", json={"queries": [body]}).json()["results"]
    assert "neither facets nor" in batch[0]["error"]


def test_pages_follow_by_cursor_as_json_form_and_address(http: httpx.Client, shapes: str) -> None:
    path = f"/v1/collections/{shapes}/query"
    every = http.post(path, json={"parts": [{"text": "a box"}], "k": 9}).json()
    assert every["next"] is not None
    last = http.post(path, json={"parts": [{"text": "a box"}], "k": 9, "cursor": every["next"]}).json()
    assert (last["hits"], last["next"]) == ([], None)
    first = http.post(path, json={"parts": [{"text": "a box"}], "k": 2}).json()
    second = http.get(path, params={"text": "a box", "k": "3", "cursor": first["next"]}).json()
    form = query_form({"parts": [{"text": "a box"}], "k": 9, "cursor": second["next"]})
    third = http.post(path, files=form).json()
    assert first["hits"] + second["hits"] + third["hits"] == every["hits"]
    assert third["next"] is None
    problem(http.get(path, params={"text": "a bar", "cursor": first["next"]}), 422, "bad-cursor")
    problem(http.get(path, params={"text": "a box", "cursor": "x"}), 422, "bad-cursor")
    batch = {"queries": [{"parts": [{"text": "a box"}], "cursor": first["next"]}]}
    assert "further pages" in http.post(f"{path}/batch", json=batch).json()["results"][0]["error"]


def test_clients_ask_for_page_after_page(shared_service: tuple[str, object], shapes: str) -> None:
    with Client(shared_service[0]) as client:
        pages = list(client.query_pages(shapes, "a box", k=4, where="colour != red"))
        every = client.query(shapes, "a box", where="colour != red")
        assert [len(page.hits) for page in pages] == [4, 2]
        assert tuple(hit for page in pages for hit in page.hits) == every.hits

    async def asked() -> list[int]:
        async with AsyncClient(shared_service[0]) as client:
            return [len(page.hits) async for page in client.query_pages(shapes, "a box", k=4)]

    assert asyncio.run(asked()) == [4, 4, 1]


def test_several_collections_are_asked_at_once(http: httpx.Client, shapes: str, collection: str) -> None:
    http.put(f"/v1/collections/{collection}/items/red disc", files={"rgb": ("a.png", picture("red", "disc"))})
    sent = base64.b64encode(picture("red", "disc")).decode()
    body = {"collections": [shapes, collection], "parts": [{"modality": "rgb", "data": sent}], "k": 3}
    answer = http.post("/v1/query", json=body).json()
    assert {(hit["key"], hit["collection"]) for hit in answer["hits"][:2]} == {
        ("red disc", shapes),
        ("red disc", collection),
    }
    assert (answer["space"], answer["next"]) == ("hashing", None)
    form = query_form(body | {"parts": [{"modality": "rgb", "file": "a"}]}, a=picture("red", "disc"))
    assert http.post("/v1/query", files=form).json() == answer
    by_item = {"collections": [shapes, collection], "parts": [{"item": "red disc", "collection": collection}], "k": 1}
    assert http.post("/v1/query", json=by_item).json()["hits"][0]["collection"] == collection
    problem(http.post("/v1/query", json=body | {"collections": [shapes, "gone"]}), 404, "collection-not-found")
    assert "'gone'" in http.post("/v1/query", json=body | {"collections": [shapes, "gone"]}).json()["detail"]
    for wrong in ([], [1], "shapes", None, [f"c{n}" for n in range(17)]):
        problem(http.post("/v1/query", json=body | {"collections": wrong}), 422, "invalid-request")
    problem(http.post("/v1/query", json=body | {"collections": [shapes, shapes]}), 422, "bad-query")
    problem(http.post("/v1/query", json={"parts": body["parts"]}), 422, "invalid-request")
    problem(http.post("/v1/query", json=body | {"collection": "a"}), 422, "invalid-request")
    problem(http.post("/v1/query", files=query_form({"parts": [{"text": "a"}]})), 422, "invalid-request")
    problem(http.post("/v1/query", json=body | {"k": 9_999, "offset": 9_999}), 413, "limit-exceeded")


def test_a_model_without_curves_leaves_no_improbable_hit_out(http: httpx.Client, shapes: str) -> None:
    path = f"/v1/collections/{shapes}/query"
    asked: dict[str, Any] = {"parts": [{"text": "red disc"}]}
    every = http.post(path, json=asked).json()["hits"]
    assert {hit["probability"] for hit in every} == {None}
    for found in (
        http.post(path, json=asked | {"min_probability": 1}).json(),
        http.get(path, params={"text": "red disc", "min_probability": 1}).json(),
    ):
        assert found["hits"] == every
        assert found["note"].startswith("min_probability leaves nothing out here")
    for wrong in (2, "high"):
        problem(http.get(path, params={"text": "a", "min_probability": wrong}), 422, "invalid-request")
