"""Maps and boxes as pictures to look at."""

import base64
import io
import json
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.api.conftest import picture, problem

BOXES = [{"box": [0.1, 0.1, 0.5, 0.6], "label": "dog"}]


def sent(data: bytes) -> str:
    return base64.b64encode(data).decode()


def png(array: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def shown(answer: httpx.Response) -> Image.Image:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    return Image.open(io.BytesIO(answer.content)).convert("RGB")


def test_depth_goes_from_yellow_to_violet(http: httpx.Client) -> None:
    depth = np.tile(np.arange(1, 9, dtype=np.uint16) * 100, (8, 1))
    picture = shown(http.post("/v1/previews", json={"modality": "depth", "data": sent(png(depth))}))
    near, far = picture.getpixel((2, 10)), picture.getpixel((picture.width - 3, 10))
    assert isinstance(near, tuple)
    assert isinstance(far, tuple)
    assert near[0] > 200 > near[2]
    assert max(far) < 100


def test_a_shaded_depth_map_is_lit_from_the_upper_left(http: httpx.Client) -> None:
    down, across = np.mgrid[0:64, 0:64]
    ball = (1000 - 400 * np.sqrt(np.clip(1 - ((down - 32) ** 2 + (across - 32) ** 2) / 900, 0, 1))).astype(np.uint16)
    asked = {"modality": "depth", "data": sent(png(ball)), "shaded": True}
    picture = shown(http.post("/v1/previews", json=asked))
    side = picture.width
    lit, dark = (sum(picture.getpixel((round(share * side), round(share * side)))) for share in (0.35, 0.65))
    assert lit > 1.3 * dark


def test_an_array_that_no_browser_opens_is_shown(http: httpx.Client) -> None:
    file = io.BytesIO()
    np.save(file, np.linspace(1, 5, 64).reshape(8, 8))
    assert shown(http.post("/v1/previews", json={"modality": "depth", "data": sent(file.getvalue())})).width >= 8


def test_regions_have_a_colour_each_and_their_names(http: httpx.Client) -> None:
    ids = np.repeat(np.array([[1, 2]], np.uint8), 2, axis=0)
    body = {"modality": "semseg", "data": sent(png(ids))}
    plain = shown(http.post("/v1/previews", json=body))
    assert plain.getpixel((10, 10)) != plain.getpixel((plain.width - 10, 10))
    named = shown(http.post("/v1/previews", json=body | {"classes": {"1": "a name that is long", "2": "sky"}}))
    assert named.tobytes() != plain.tobytes()


def test_boxes_are_drawn_on_the_picture(http: httpx.Client) -> None:
    body = {"modality": "boxes", "data": sent(json.dumps(BOXES).encode())}
    grey = shown(http.post("/v1/previews", json=body))
    red = shown(http.post("/v1/previews", json=body | {"picture": sent(picture("red", "disc"))}))
    assert grey.getpixel((440, 440)) != red.getpixel((440, 440)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ({"modality": "depth", "data": sent(b"dear friend"), "name": "far.png"}, "not-a-picture", "far.png"),
        ({"modality": "depth", "data": "?"}, "bad-query", "base64"),
        ({"modality": "caption", "data": "x"}, "bad-input", "no preview"),
        ({"modality": "smell", "data": ""}, "unknown-modality", "smell"),
        ({"modality": "boxes", "data": sent(b"[1]")}, "bad-document", "the bounding_boxes"),
        ({"modality": "boxes", "data": sent(b"[]"), "picture": sent(b"x")}, "not-a-picture", "picture of the preview"),
    ],
)
def test_what_cannot_be_shown_is_told(http: httpx.Client, body: dict[str, str], code: str, says: str) -> None:
    answer = http.post("/v1/previews", json=body)
    problem(answer, 422, code)
    assert says in answer.json()["detail"]


def test_credits_are_plain_text_without_a_key(http: httpx.Client) -> None:
    answer = http.get("/credits")
    assert answer.headers["content-type"].startswith("text/plain")
    for words in ("OpenMoji", "CC BY-SA 4.0", "emojibase", "sweethome3d-furniture", "Teapot"):
        assert words in answer.text
