"""A part of an item's picture as a query: over HTTP as JSON, as a form, in a batch and of several collections."""

import base64
import io
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from anyseek import Client
from anyseek.api.queries import wire
from tests.api.conftest import picture, problem, two_pictures
from tests.api.queries.query_inputs import query_form

LEFT, RIGHT = [0, 0, 0.5, 1], [0.5, 0, 1, 1]


@pytest.fixture
def both(http: httpx.Client, shapes: str, collection: str) -> str:
    """A collection with one item that shows two of the shapes, and one without a picture."""
    with Client(str(http.base_url)) as client:
        client.put_item(collection, "both", {"rgb": two_pictures()})
        client.put_item(collection, "words", caption="no picture at all")
    return collection


def _first(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    key: str = answer.json()["hits"][0]["key"]
    return key


def test_each_part_of_an_item_finds_what_it_shows(http: httpx.Client, shapes: str, both: str) -> None:
    path = f"/v1/collections/{shapes}/query"
    for box, shown in ((LEFT, "red disc"), (RIGHT, "blue bar")):
        answer = http.post(path, json={"parts": [{"item": "both", "collection": both, "box": box}], "explain": 1})
        assert _first(answer) == shown
        (understood,) = answer.json()["understood"]
        assert understood["sentence"].endswith("is used, 96 x 96 pixels")
        assert understood["name"] == "the picture of 'both'"
    several = {"collections": [both, shapes], "parts": [{"item": "both", "box": LEFT}], "k": 20}
    assert "red disc" in [hit["key"] for hit in http.post("/v1/query", json=several).json()["hits"][:2]]


def test_a_batch_has_boxes(http: httpx.Client, both: str) -> None:
    path = f"/v1/collections/{both}/query"
    whole = http.post(path, json={"parts": [{"item": "both"}], "k": 1}).json()["hits"][0]["score"]
    part = http.post(path, json={"parts": [{"item": "both", "box": LEFT}]}).json()["hits"][0]["score"]
    assert whole == pytest.approx(1)
    assert part < 0.99
    query = {"parts": [{"item": "both", "box": LEFT}]}
    (batch,) = http.post(f"{path}/batch", json={"queries": [query]}).json()["results"]
    assert part == pytest.approx(batch["hits"][0]["score"])


def _mask(right: bool) -> bytes:
    """A mask of one of the two shapes, half as large as their picture."""
    values, stream = np.zeros((48, 96), np.uint8), io.BytesIO()
    values[:, 48:] = right
    values[:, :48] = not right
    Image.fromarray(values).save(stream, "PNG")
    return stream.getvalue()


def test_a_mask_says_which_part_counts(http: httpx.Client, shapes: str, both: str) -> None:
    path = f"/v1/collections/{shapes}/query"
    for right, shown in ((False, "red disc"), (True, "blue bar")):
        mask, written = _mask(right), base64.b64encode(_mask(right)).decode()
        part = {"item": "both", "collection": both, "mask": written}
        assert _first(http.post(path, json={"parts": [part]})) == shown
        form = query_form({"parts": [{"modality": "rgb", "file": "b", "mask": written}]}, b=two_pictures())
        assert _first(http.post(path, files=form)) == shown
        with Client(str(http.base_url)) as client:
            asked = wire.Part("rgb", data=two_pictures(), mask=mask)
            assert client.query(shapes, asked).hits[0].key == shown
            (results,) = client.query_batch(shapes, [{"parts": [{"item": "both", "collection": both, "mask": mask}]}])
            assert isinstance(results, wire.Results)
            assert results.hits[0].key == shown


def test_what_has_no_picture_is_one_sentence(http: httpx.Client, both: str) -> None:
    path = f"/v1/collections/{both}/query"
    refused = http.post(path, json={"parts": [{"item": "words", "box": LEFT}]})
    problem(refused, 404, "asset-not-found")
    assert refused.json()["detail"] == "the item 'words' has no picture, of which a box or a mask would be a part"
    problem(http.post(path, json={"parts": [{"item": "nobody", "box": LEFT}]}), 404, "item-not-found")
    problem(http.post(path, json={"parts": [{"item": "both", "box": [0, 0, 0, 1]}]}), 422, "bad-region")
    problem(http.post(path, json={"parts": [{"vector": [1.0], "box": LEFT}]}), 422, "bad-query")
    other = {"parts": [{"item": "both", "collection": "nowhere", "box": LEFT}]}
    problem(http.post(path, json=other), 404, "collection-not-found")


def test_an_original_is_read_only_as_what_was_indexed(http: httpx.Client, collection: str, root: Path) -> None:
    folder = root / "boxed"
    folder.mkdir()
    (folder / "both.png").write_bytes(two_pictures())
    with Client(str(http.base_url)) as client:
        job = client.index_folder(collection, str(folder))
        assert [seen["job"]["state"] for seen in client.watch(job["id"])][-1] == "done"
    path, query = f"/v1/collections/{collection}/query", {"parts": [{"item": "both.png", "box": LEFT}]}
    assert _first(http.post(path, json=query)) == "both.png"
    (folder / "both.png").write_bytes(picture("green", "box"))
    problem(http.post(path, json=query), 410, "asset-changed")
    (folder / "both.png").unlink()
    problem(http.post(path, json=query), 404, "asset-not-found")
