"""Collections, jobs, models, health, the page, and what the framework itself refuses."""

import json

import httpx
import pytest

from tests.api.conftest import problem


def test_models_tell_what_they_take(http: httpx.Client) -> None:
    (model,) = http.get("/v1/models").json()["models"]
    assert model["name"] == "hashing"
    assert model["modalities"] == ["canny_edge", "caption", "color_palette", "rgb"]
    assert model["forms"] == {"canny_edge": {"clean": "as it is", "photographed": "photographed from paper"}}
    assert len(model["fingerprint"]) == 64
    assert model["spaces"][0]["dimension"] == 512


def test_a_collection_is_made_listed_shown_and_deleted(http: httpx.Client) -> None:
    made = http.post("/v1/collections", json={"name": "photos-1"})
    assert made.status_code == 201
    assert made.json()["model"] == "hashing"
    assert made.json()["items"] == 0
    assert "photos-1" in [held["name"] for held in http.get("/v1/collections").json()["collections"]]
    assert http.get("/v1/collections/photos-1").json() == made.json()
    problem(http.post("/v1/collections", json={"name": "photos-1"}), 409, "collection-exists")
    assert http.delete("/v1/collections/photos-1").status_code == 204
    problem(http.get("/v1/collections/photos-1"), 404, "collection-not-found")
    problem(http.delete("/v1/collections/photos-1"), 404, "collection-not-found")
    problem(http.post("/v1/collections/photos-1/query", json={"parts": [{"text": "x"}]}), 404, "collection-not-found")


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "ä", "x" * 101])
def test_a_collection_needs_a_plain_name(http: httpx.Client, name: str) -> None:
    problem(http.post("/v1/collections", json={"name": name}), 422, "bad-input")


def test_the_framework_refuses_with_problems_too(http: httpx.Client) -> None:
    problem(http.get("/v1/nothing"), 404, "route-not-found")
    problem(http.get("/web/nothing.js"), 404, "route-not-found")
    refused = http.patch("/v1/collections")
    problem(refused, 405, "method-not-allowed")
    assert "GET" in refused.headers["allow"]


@pytest.mark.parametrize("wanted", ["", "bytes=5-1", "bytes=999999999-", "x", "bytes=0-3"])
def test_files_of_the_page_are_sent_whole_whatever_range_is_asked_for(http: httpx.Client, wanted: str) -> None:
    for path in ("/", "/docs", "/web/app.js", "/web/swagger/swagger-ui.css"):
        answer = http.get(path, headers={"range": wanted})
        assert (answer.status_code, answer.content) == (200, http.get(path).content), path


def test_openapi_describes_every_route_with_examples(http: httpx.Client) -> None:
    described = http.get("/openapi.json").json()
    assert described["paths"]["/v1/collections/{collection}/query"]["post"]["requestBody"]["content"].keys() == {
        "application/json",
        "multipart/form-data",
    }
    schemas = described["components"]["schemas"]
    assert schemas["Query"]["examples"]
    part = {"modality", "text", "file", "data", "item", "weight", "classes", "name", "vector", "collection", "form"}
    part |= {"box", "mask"}
    assert set(schemas["Part"]["properties"]) == part
    by_url = described["paths"]["/v1/collections/{collection}/query"]["get"]["parameters"]
    in_url = {given["name"] for given in by_url} - {"collection", "text", "item", "palette", "words"}
    assert in_url == set(schemas["Query"]["properties"]) - {"parts"}
    assert schemas["PredictedFile"]["properties"]["data"]["type"] == "string"
    text = json.dumps(described)
    for reference in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert reference in schemas
    for path in ("/v1/jobs", "/v1/models", "/healthz", "/readyz", "/v1/collections/{collection}/thumbnails/{key}"):
        assert path in described["paths"]


def test_openapi_names_operations_for_generated_clients(http: httpx.Client) -> None:
    described = http.get("/openapi.json").json()
    operations = {
        (method, path): operation
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    }
    names = [operation["operationId"] for operation in operations.values()]
    assert len(set(names)) == len(names)
    assert {"query", "query_batch", "list_items", "put_item", "patch_item", "list_jobs", "predict"} <= set(names)
    assert described["components"]["securitySchemes"]["apiKey"]["scheme"] == "bearer"
    for (_, path), operation in operations.items():
        assert ("security" in operation) == path.startswith("/v1")
    patch = operations["patch", "/v1/collections/{collection}/items/{key}"]
    for content in patch["requestBody"]["content"].values():
        assert content["schema"] == {"$ref": "#/components/schemas/PatchBody"}
    assert set(described["components"]["schemas"]["PatchBody"]["properties"]) == {"attributes", "caption"}


def test_the_page_and_its_files_have_a_strict_policy(http: httpx.Client) -> None:
    page = http.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert "<script>" not in page.text
    assert "style=" not in page.text
    assert "http" not in page.text.replace("http-equiv", "")
    assert http.get("/web/app.js").headers["content-type"].startswith("text/javascript")


@pytest.mark.parametrize(
    ("path", "body", "meant"),
    [
        ("/v1/collections", {"nam": "a"}, "name"),
        ("/v1/collections/{shapes}/query", {"parts": [{"text": "a"}], "wher": "a = 1"}, "where"),
        ("/v1/collections/{shapes}/query", {"parts": [{"text": "a", "wieght": 2}]}, "weight"),
        ("/v1/collections/{shapes}/query/batch", {"querys": []}, "queries"),
        ("/v1/collections/{shapes}/tune", {"dryrun": True}, "dry_run"),
        ("/v1/collections/{shapes}/jobs", {"source": "/", "on_duplicates": "skip"}, "on_duplicate"),
        ("/v1/predict", {"inputs": [{"modality": "rgb", "txt": ""}], "targets": ["depth"]}, "text"),
        ("/v1/predict", {"inputs": [], "targets": ["a"], "options": {"targets": {"a": {"step": 1}}}}, "steps"),
        ("/v1/previews", {"modality": "depth", "date": ""}, "data"),
    ],
)
def test_a_member_that_nobody_heeds_is_refused_with_the_one_that_was_meant(
    http: httpx.Client, shapes: str, path: str, body: dict[str, object], meant: str
) -> None:
    answer = http.post(path.format(shapes=shapes), json=body)
    problem(answer, 422, "invalid-request")
    assert f"did you mean `{meant}`?" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "field", "meant"),
    [
        ("POST", "/v1/predict", "modle", "model"),
        ("PUT", "/v1/collections/{shapes}/items/new", "atributes", "attributes"),
    ],
)
def test_so_is_a_field_of_a_form(
    http: httpx.Client, shapes: str, method: str, path: str, field: str, meant: str
) -> None:
    fields = {"caption": (None, "a red disc"), field: (None, "late")}
    answer = http.request(method, path.format(shapes=shapes), files=fields)
    problem(answer, 422, "unknown-modality")
    assert f"did you mean `{meant}`?" in answer.json()["detail"]


def test_a_setting_of_a_form_comes_once(http: httpx.Client) -> None:
    twice = [("caption", (None, "red")), ("targets", (None, "depth")), ("targets", (None, "rgb"))]
    problem(http.post("/v1/predict", files=twice), 422, "bad-input")


def test_a_body_that_nobody_reads_is_refused(http: httpx.Client, shapes: str) -> None:
    path = f"/v1/collections/{shapes}/rollback"
    problem(http.post(path, json={"model": "hashing"}), 422, "unexpected-body")
    problem(http.request("DELETE", f"/v1/collections/{shapes}", json={"dry_run": True}), 422, "unexpected-body")
    assert http.post(path, json={}).status_code != 422
    assert http.get(f"/v1/collections/{shapes}").status_code == 200
