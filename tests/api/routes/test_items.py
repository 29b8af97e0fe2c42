"""Items: any key, files, attributes, pages."""

import json
from urllib.parse import quote

import httpx
import pytest

from tests.api.conftest import picture, problem

ODD_KEYS = [
    "a/b/c.png",
    "/leading",
    "a//b",
    "with space",
    "käse 猫 🍕",
    "100%",
    "a%2Fb",
    "what?x=1&y#z",
    "x/thumbnail",
    "assets/rgb",
    "a\\b",
    "line\nend\n",
    "tab\there",
    "..hidden",
    "a/../b",
    "+plus+",
    "é",
    "é",
    "'\"<script>",
    "k" * 1000,
]


def _item(collection: str, key: str) -> str:
    return f"/v1/collections/{collection}/items/{quote(key, safe='')}"


@pytest.mark.parametrize("key", ODD_KEYS)
def test_any_text_is_a_key(http: httpx.Client, collection: str, key: str) -> None:
    path, data = _item(collection, key), picture("red", "disc")
    put = http.put(path, files={"rgb": ("red.png", data)}, data={"caption": "a red disc"})
    assert put.status_code == 200, put.text
    assert put.json()["key"] == key
    assert http.get(path).json() == put.json()
    segment = quote(key, safe="")
    assert http.get(f"/v1/collections/{collection}/assets/rgb/{segment}").content == data
    assert http.get(f"/v1/collections/{collection}/thumbnails/{segment}").headers["content-type"] == "image/jpeg"
    (hit,) = http.post(f"/v1/collections/{collection}/query", json={"parts": [{"item": key}]}).json()["hits"]
    assert hit["key"] == key
    assert hit["score"] == pytest.approx(1, abs=1e-5)
    assert [item["key"] for item in http.get(f"/v1/collections/{collection}/items").json()["items"]] == [key]
    assert http.delete(path).status_code == 204
    problem(http.get(path), 404, "item-not-found")
    problem(http.delete(path), 404, "item-not-found")


def test_an_item_is_findable_when_put_returns_and_gone_when_deleted(http: httpx.Client, shapes: str) -> None:
    def first() -> str:
        query = {"parts": [{"modality": "caption", "text": "zebra"}], "k": 1}
        hits = http.post(f"/v1/collections/{shapes}/query", json=query).json()["hits"]
        return str(hits[0]["key"])

    assert first() != "new"
    files = {"rgb": ("z.png", picture("green", "bar"))}
    http.put(_item(shapes, "new"), files=files, data={"caption": "zebra zebra"})
    assert first() == "new"
    changed = http.put(_item(shapes, "new"), files=files, data={"caption": "a green bar"})
    assert changed.json()["revision"] == 2
    assert first() != "new" or "zebra" not in changed.json()["caption"]
    http.delete(_item(shapes, "new"))
    assert first() != "new"


def test_an_item_has_attributes_and_files(http: httpx.Client, shapes: str) -> None:
    item = http.get(_item(shapes, "red disc")).json()
    assert item["caption"] == "a red disc"
    assert item["attributes"].items() >= {"colour": "red", "format": "PNG"}.items()
    assert [asset["name"] for asset in item["assets"]] == ["rgb", "thumbnail"]
    path = f"/v1/collections/{shapes}/assets/rgb/red disc"
    answer = http.get(path)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-security-policy"].endswith("sandbox")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert http.get(path, headers={"if-none-match": answer.headers["etag"]}).status_code == 304
    problem(http.get(f"/v1/collections/{shapes}/assets/depth/red disc"), 404, "asset-not-found")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"caption": (None, "a"), "attributes": (None, "[1]")}, "bad-input"),
        ({"caption": (None, "a"), "attributes": (None, "{")}, "not-json"),
        ({"caption": (None, "a"), "attributes": (None, '{"a": NaN}')}, "not-json"),
        ({"caption": (None, "a"), "attributes": (None, '{"a": 1e999}')}, "bad-attributes"),
        ({"caption": (None, "a"), "attributes": (None, '{"a": "\\ud800"}')}, "bad-input"),
        ({"caption": (None, "a"), "classes": (None, '{"0": "\\ud800"}')}, "bad-input"),
        ({"caption": (None, "a"), "attributes": (None, "[" * 90_000)}, "json-too-deep"),
        ({"attributes": (None, "{}")}, "bad-input"),
        ({"rgb": ("a.png", b"no picture")}, "not-a-picture"),
        ({"rgb": ("a.png", b"")}, "empty-input"),
        ({"smell": ("a.png", b"x")}, "unknown-modality"),
        ({"caption": (None, " ")}, "empty-input"),
    ],
)
def test_a_wrong_item_is_refused_and_nothing_is_written(
    http: httpx.Client, collection: str, fields: dict[str, tuple[str | None, str | bytes]], code: str
) -> None:
    problem(http.put(_item(collection, "k"), files=fields), 422, code)
    assert http.get(f"/v1/collections/{collection}/items").json()["items"] == []


def test_two_files_of_one_modality_are_refused(http: httpx.Client, collection: str) -> None:
    twice = [("rgb", ("a.png", picture("red", "disc"))), ("rgb", ("b.png", picture("red", "box")))]
    problem(http.put(_item(collection, "k"), files=twice), 422, "bad-input")
    alias = [("rgb", ("a.png", picture("red", "disc"))), ("image", ("b.png", picture("red", "box")))]
    problem(http.put(_item(collection, "k"), files=alias), 422, "bad-input")


def test_an_item_is_sent_as_a_form(http: httpx.Client, collection: str) -> None:
    problem(http.put(_item(collection, "k"), json={"caption": "a"}), 422, "bad-input")


def test_parameters_that_nobody_heeds_are_refused(http: httpx.Client, shapes: str) -> None:
    path = f"/v1/collections/{shapes}/items"
    problem(http.get(path, params={"offset": "3"}), 422, "unknown-parameter")
    assert "it takes after, limit, sort, where" in http.get(path, params={"offset": "3"}).json()["detail"]
    assert http.get(path, params={"wher": "a"}).json()["detail"] == "unknown parameter `wher`; did you mean `where`?"
    for other in ("/v1/collections", "/v1/jobs", "/v1/models", "/healthz", f"{path}/red disc"):
        problem(http.get(other, params={"k": "1"}), 422, "unknown-parameter")
    problem(
        http.post(f"/v1/collections/{shapes}/query?k=1", json={"parts": [{"text": "red"}]}), 422, "unknown-parameter"
    )
    assert http.get("/", params={"from": "elsewhere"}).status_code == 200


def test_attributes_and_captions_are_patched(http: httpx.Client, collection: str) -> None:
    path = _item(collection, "a/b")
    form = {"caption": "a red disc", "attributes": '{"n": 1, "place": {"town": "Rome", "km": 3}}'}
    put = http.put(path, files={"rgb": ("red.png", picture("red", "disc"))}, data=form)
    assert put.headers["etag"] == f'"{put.json()["etag"]}"' == http.get(path).headers["etag"]
    change = {"attributes": {"n": None, "rating": 5, "place": {"km": 4}}}
    kind = {"content-type": "application/merge-patch+json", "if-match": put.headers["etag"]}
    patched = http.patch(path, content=json.dumps(change), headers=kind)
    assert patched.status_code == 200, patched.text
    assert patched.json() == http.get(path).json()
    said = patched.json()["attributes"]
    assert (said.get("n"), said["rating"], said["place"]) == (None, 5, {"town": "Rome", "km": 4})
    assert (patched.json()["caption"], patched.json()["revision"]) == ("a red disc", 2)
    query = {"parts": [{"text": "zebra"}], "where": "rating = 5"}
    (before,) = http.post(f"/v1/collections/{collection}/query", json=query).json()["hits"]
    assert http.patch(path, json={"caption": "zebra"}).json()["caption"] == "zebra"
    (after,) = http.post(f"/v1/collections/{collection}/query", json=query).json()["hits"]
    assert after["score"] > before["score"]
    assert http.patch(path, json={"attributes": None, "caption": None}).json()["attributes"] == {}


def test_a_change_of_what_others_have_changed_is_refused(http: httpx.Client, collection: str) -> None:
    path = _item(collection, "k")
    seen = http.put(path, files={"caption": (None, "a dog")}).headers["etag"]
    matching = {"if-match": f'"9-9", {seen}'}
    assert http.patch(path, json={"attributes": {"n": 1}}, headers=matching).status_code == 200
    for wrong in (seen, f"W/{http.get(path).headers['etag']}", '""', "x"):
        headers = {"if-match": wrong}
        problem(http.patch(path, json={"attributes": {"n": 2}}, headers=headers), 412, "item-changed")
        problem(http.patch(path, json={"caption": "b"}, headers=headers), 412, "item-changed")
        problem(http.put(path, files={"caption": (None, "a cat")}, headers=headers), 412, "item-changed")
        problem(http.delete(path, headers=headers), 412, "item-changed")
    held = http.get(path)
    assert (held.json()["caption"], held.json()["attributes"]) == ("a dog", {"n": 1})
    assert http.delete(path, headers={"if-match": held.headers["etag"]}).status_code == 204
    problem(http.put(path, files={"caption": (None, "a cat")}, headers={"if-match": "*"}), 412, "item-changed")
    problem(http.patch(path, json={"attributes": {}}), 404, "item-not-found")


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("{}", "bad-input"),
        ("[]", "invalid-request"),
        ("{", "invalid-request"),
        ('{"attribute": {}}', "invalid-request"),
        ('{"key": "other"}', "invalid-request"),
        ('{"attributes": []}', "invalid-request"),
        ('{"caption": 3}', "invalid-request"),
        ('{"caption": " "}', "empty-input"),
        ('{"attributes": {"a": 1e999}}', "bad-attributes"),
        ('{"attributes": {"a": "\\ud800"}}', "bad-input"),
        ('{"attributes": ' + '{"a":' * 40 + "1" + "}" * 40 + "}", "bad-attributes"),
    ],
)
def test_a_wrong_patch_is_refused_and_changes_nothing(http: httpx.Client, shapes: str, sent: str, code: str) -> None:
    path = _item(shapes, "red disc")
    before = http.get(path).json()
    problem(http.patch(path, content=sent), 422, code)
    assert http.get(path).json() == before


def test_attributes_are_predicted_on_request(http: httpx.Client, collection: str) -> None:
    path, files = _item(collection, "told"), {"rgb": ("red.png", picture("red", "disc"))}
    assert "predicted" not in http.put(path, files=files).json()["attributes"]
    told = http.put(path, files=files, data={"predict_attributes": "true"}).json()["attributes"]["predicted"]
    assert 0 < told["brightness"] < 1
    assert told["colour_shares"]["red"] > 0
    where = {"where": "predicted.colour_shares.red > 0"}
    listed = http.get(f"/v1/collections/{collection}/items", params=where).json()["items"]
    assert [item["key"] for item in listed] == ["told"]
    problem(http.put(path, files=files, data={"predict_attributes": "perhaps"}), 422, "bad-query")
    own = {"attributes": json.dumps({"predicted": {"brightness": 1}})}
    problem(http.put(path, files=files, data=own), 422, "bad-attributes")
    patch = {"attributes": {"predicted": {"brightness": 1}}}
    problem(http.patch(path, json=patch), 422, "bad-attributes")
    assert http.get(path).json()["attributes"]["predicted"] == told
    http.delete(path)
