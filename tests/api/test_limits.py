"""What is too much ends as a 4xx at once; the service goes on."""

import base64
import io
import json
import socket
import struct
import zlib
from collections.abc import Iterator

import httpx
import pytest
from PIL import Image

from anyseek.api.service import Service
from tests.api.conftest import problem
from tests.api.queries.query_inputs import query_form

pytestmark = pytest.mark.usefixtures("still_alive")


@pytest.fixture
def still_alive(http: httpx.Client) -> Iterator[None]:
    yield
    assert http.get("/readyz").status_code == 200


def _bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes whose header claims many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


def _query_with(http: httpx.Client, data: bytes, modality: str = "rgb") -> httpx.Response:
    part = {"modality": modality, "data": base64.b64encode(data).decode()}
    return http.post("/v1/collections/shapes/query", json={"parts": [part]})


@pytest.mark.usefixtures("shapes")
def test_a_bomb_is_refused_by_its_header(http: httpx.Client, collection: str) -> None:
    for size in ((30_000, 30_000), (2**31 - 1, 2**31 - 1)):
        for modality in ("rgb", "sketch", "depth", "normal", "semseg"):
            answer = _query_with(http, _bomb(*size), modality)
            assert answer.status_code in (413, 422), answer.text
        put = http.put(f"/v1/collections/{collection}/items/k", files={"rgb": ("bomb.png", _bomb(*size))})
        assert put.status_code in (413, 422)
        assert put.headers["content-type"] == "application/problem+json"
    assert _query_with(http, _bomb(30_000, 30_000)).json()["type"] == "urn:anyseek:too-many-pixels"


@pytest.mark.usefixtures("shapes")
def test_pictures_of_a_query_are_limited_together(http: httpx.Client, collection: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (1_000, 1_000)).save(file, "WEBP", lossless=True)
    small = base64.b64encode(file.getvalue()).decode()
    assert len(small) < 200
    parts = [{"modality": "rgb", "data": small, "name": f"picture {number}"} for number in range(16)]
    problem(http.post(f"/v1/{QUERY}", json={"parts": parts}), 413, "limit-exceeded")
    assert "picture 2 takes 1,000,000 pixels" in http.post(f"/v1/{QUERY}", json={"parts": parts}).json()["detail"]
    assert http.post(f"/v1/{QUERY}", json={"parts": parts[:2]}).status_code == 200
    form = query_form({"parts": [{"modality": "rgb", "file": "a"}] * 3}, a=file.getvalue())
    problem(http.post(f"/v1/{QUERY}", files=form), 413, "limit-exceeded")
    maps = [(modality, ("a.webp", file.getvalue())) for modality in ("rgb", "sketch", "normal")]
    problem(http.put(f"/v1/collections/{collection}/items/k", files=maps), 413, "limit-exceeded")
    problem(http.post("/v1/predict", files=[*maps, ("targets", (None, "caption"))]), 413, "limit-exceeded")


@pytest.mark.usefixtures("shapes")
def test_pictures_of_a_batch_are_limited_together(http: httpx.Client) -> None:
    file = io.BytesIO()
    Image.new("RGB", (1_000, 1_000)).save(file, "WEBP", lossless=True)
    query = {"parts": [{"modality": "rgb", "data": base64.b64encode(file.getvalue()).decode()}]}
    results = http.post(f"/v1/{BATCH}", json={"queries": [query] * 5}).json()["results"]
    assert [bool(result["hits"]) for result in results] == [True, True, True, False, False]
    assert "takes 1,000,000 pixels, and the request has 0 left" in results[3]["error"]


@pytest.mark.usefixtures("shapes")
def test_a_truncated_picture_is_refused(http: httpx.Client) -> None:
    file = io.BytesIO()
    Image.effect_noise((200, 200), 90).save(file, "JPEG")
    answer = _query_with(http, file.getvalue()[: len(file.getvalue()) // 2])
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:anyseek:broken-picture")


@pytest.mark.usefixtures("shapes")
def test_a_file_and_a_text_are_limited(http: httpx.Client) -> None:
    answer = _query_with(http, bytes(200_001))
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:anyseek:too-many-bytes")
    answer = http.post("/v1/collections/shapes/query", json={"parts": [{"text": "x" * 10_001}]})
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:anyseek:text-too-long")


def test_a_form_has_a_bounded_number_of_fields(http: httpx.Client, collection: str) -> None:
    fields = [("rgb", ("a.png", b"x"))] * 65
    answer = http.put(f"/v1/collections/{collection}/items/k", files=fields)
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"] == "application/problem+json"


QUERY, BATCH, MADE = "collections/shapes/query", "collections/shapes/query/batch", "collections"
_WIDE, _DEEP = [{}] * 5_000, b"[" * 40_000 + b"]" * 40_000


@pytest.mark.usefixtures("shapes")
@pytest.mark.parametrize("path", [QUERY, BATCH, MADE, "predict", "previews", "collections/shapes/jobs"])
def test_json_is_limited_wherever_it_is_sent(http: httpx.Client, path: str) -> None:
    headers = {"content-type": "application/json"}
    wide = {"parts": [{"text": "a"}], "queries": [], "where": {"and": _WIDE}}
    problem(http.post(f"/v1/{path}", json=wide), 413, "json-too-large")
    problem(http.post(f"/v1/{path}", json={"x": "y" * 160_000}), 413, "json-too-large")
    problem(http.post(f"/v1/{path}", content=b'{"where": ' + _DEEP + b"}", headers=headers), 422, "json-too-deep")
    problem(http.post(f"/v1/{path}", content=b'{"where": NaN}', headers=headers), 422, "invalid-request")
    problem(http.post(f"/v1/{path}", content=b'{"name": "\xff"}', headers=headers), 422, "invalid-request")


@pytest.mark.usefixtures("shapes")
def test_files_do_not_count_as_json(http: httpx.Client) -> None:
    answer = _query_with(http, bytes(190_000))
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:anyseek:not-a-picture")
    queries = [{"parts": [{"modality": "rgb", "data": base64.b64encode(bytes(190_000)).decode()}]}, "a"]
    answer = http.post(f"/v1/{BATCH}", json={"queries": queries})
    assert "not a picture" in answer.json()["results"][0]["error"]


@pytest.mark.usefixtures("shapes")
@pytest.mark.parametrize("field", ["classes", "attributes", "query"])
def test_json_in_a_form_is_limited(http: httpx.Client, collection: str, field: str) -> None:
    for text in (json.dumps({"a": _WIDE}), _DEEP.decode(), json.dumps({"a": "b" * 120_000})):
        form = {"caption": (None, "a"), field: (None, text)}
        asked = http.post("/v1/collections/shapes/query", files=form)  # type: ignore[arg-type]
        put = http.put(f"/v1/collections/{collection}/items/k", files=form)  # type: ignore[arg-type]
        for answer in (asked, put):
            assert answer.status_code in (413, 422), answer.text
            assert len(answer.json()["detail"]) < 500


@pytest.mark.usefixtures("shapes")
def test_hits_are_limited_over_a_whole_batch(http: httpx.Client) -> None:
    queries = [{"parts": [{"text": "a"}], "k": 10_000}] * 6
    problem(http.post(f"/v1/{BATCH}", json={"queries": queries}), 413, "limit-exceeded")
    assert http.post(f"/v1/{BATCH}", json={"queries": queries[:5]}).status_code == 200


def test_what_hits_say_is_limited(http: httpx.Client, collection: str) -> None:
    attributes = json.dumps({"said": "x" * 60_000})
    for key in ("a", "b"):
        fields = {"caption": (None, key), "attributes": (None, attributes)}
        http.put(f"/v1/collections/{collection}/items/{key}", files=fields).raise_for_status()  # type: ignore[arg-type]
    query = {"parts": [{"text": "a"}]}
    problem(http.post(f"/v1/collections/{collection}/query", json=query), 413, "limit-exceeded")
    assert http.post(f"/v1/collections/{collection}/query", json=query | {"k": 1}).status_code == 200
    batch = {"queries": [query]}
    assert len(http.post(f"/v1/collections/{collection}/query/batch", json=batch).json()["results"][0]["hits"]) == 2


class _Connection:
    """A bare connection, to see exactly what the service reads and answers."""

    def __init__(self, url: str) -> None:
        parts = httpx.URL(url)
        self.socket = socket.create_connection((parts.host, parts.port or 80), timeout=20)

    def start(self, path: str, *headers: str) -> None:
        lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers, "", ""]
        self.socket.sendall("\r\n".join(lines).encode())

    def answer(self) -> tuple[int, dict[str, object]]:
        received = b""
        while chunk := self.socket.recv(65536):
            received += chunk
        head, _, body = received.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)


@pytest.mark.usefixtures("shapes")
def test_a_declared_length_is_refused_without_reading(shared_service: tuple[str, Service]) -> None:
    connection = _Connection(shared_service[0])
    connection.start("/v1/collections/shapes/query", "Content-Length: 600001")
    status, problem = connection.answer()  # not a byte of the body was sent
    assert (status, problem["type"]) == (413, "urn:anyseek:limit-exceeded")


@pytest.mark.usefixtures("shapes")
@pytest.mark.parametrize("path", ["query", "query/batch"])
def test_a_body_without_a_length_stops_being_read(shared_service: tuple[str, Service], path: str) -> None:
    connection = _Connection(shared_service[0])
    connection.start(f"/v1/collections/shapes/{path}", "Transfer-Encoding: chunked")
    sent = 0
    try:
        for _ in range(2_000):
            connection.socket.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")
            sent += 65536
    except (ConnectionResetError, BrokenPipeError):
        pass  # the service closed: it reads no further
    assert sent < 20_000_000
    try:
        status, problem = connection.answer()
    except ConnectionResetError:
        return
    assert (status, problem["type"]) == (413, "urn:anyseek:limit-exceeded")
