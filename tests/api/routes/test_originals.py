"""Files of items: originals, which stay where they are, and thumbnails; only the recorded content is sent."""

from pathlib import Path

import httpx
import pytest

from anyseek.api.service import Service
from tests.api.conftest import ended_job, picture, problem

PRIVATE = b"BEGIN PRIVATE KEY"


@pytest.fixture
def photo(http: httpx.Client, collection: str, root: Path, tmp_path: Path) -> Path:
    """A picture that was indexed in place as `a.png`."""
    folder = root / collection
    folder.mkdir()
    (folder / "a.png").write_bytes(picture("red", "disc"))
    body = {"source": str(folder)}
    job = http.post(f"/v1/collections/{collection}/jobs", json=body).json()["id"]
    assert ended_job(http, job)["state"] == "done"
    return folder / "a.png"


def original(http: httpx.Client, collection: str) -> httpx.Response:
    return http.get(f"/v1/collections/{collection}/assets/rgb/a.png")


def test_an_original_is_served_with_the_hash_of_its_content(http: httpx.Client, collection: str, photo: Path) -> None:
    answer = original(http, collection)
    assert (answer.status_code, answer.content) == (200, photo.read_bytes())
    again = http.get(answer.url.path, headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        ("bytes=0-9", slice(0, 10)),
        ("bytes=20-", slice(20, None)),
        ("bytes=-5", slice(-5, None)),
        ("bytes=3-99999999", slice(3, None)),
        ("bytes=-99999999", slice(None)),
    ],
)
def test_a_part_of_a_file(http: httpx.Client, collection: str, photo: Path, wanted: str, part: slice) -> None:
    data, whole = photo.read_bytes(), original(http, collection)
    assert whole.headers["accept-ranges"] == "bytes"
    for more in ({}, {"if-range": whole.headers["etag"]}):
        answer = http.get(whole.url.path, headers={"range": wanted, **more})
        start, end, _ = part.indices(len(data))
        assert (answer.status_code, answer.content) == (206, data[part])
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(data)}"
        assert answer.headers["content-length"] == str(end - start)


@pytest.mark.parametrize("headers", [{}, {"range": "bytes=-"}, {"range": "bytes=0-1,4-5"}, {"range": "lines=1-2"}])
def test_other_ranges_give_the_whole_file(
    http: httpx.Client, collection: str, photo: Path, headers: dict[str, str]
) -> None:
    path = original(http, collection).url.path
    answer = http.get(path, headers=headers or {"range": "bytes=0-9", "if-range": '"of another version"'})
    assert (answer.status_code, answer.content) == (200, photo.read_bytes())


@pytest.mark.parametrize("wanted", ["bytes=99999999-", "bytes=-0", "bytes=9-3"])
def test_a_part_that_is_not_there_is_416(http: httpx.Client, collection: str, photo: Path, wanted: str) -> None:
    path = original(http, collection).url.path
    problem(http.get(path, headers={"range": wanted}), 416, "range-unsatisfiable")


def test_a_link_to_a_private_file_is_410(http: httpx.Client, collection: str, photo: Path, tmp_path: Path) -> None:
    private = tmp_path / "id_rsa"
    private.write_bytes(PRIVATE)
    photo.unlink()
    photo.symlink_to(private)
    answer = original(http, collection)
    problem(answer, 410, "asset-changed")
    assert PRIVATE not in answer.content
    assert str(tmp_path) not in answer.text


def test_other_content_is_410_and_none_404(http: httpx.Client, collection: str, photo: Path) -> None:
    photo.write_bytes(PRIVATE)
    problem(original(http, collection), 410, "asset-changed")
    photo.unlink()
    problem(original(http, collection), 404, "asset-not-found")


def test_a_damaged_thumbnail_is_not_served(
    http: httpx.Client, collection: str, shared_service: tuple[str, Service]
) -> None:
    http.put(f"/v1/collections/{collection}/items/x", files={"rgb": ("x.png", picture("blue", "box"))})
    store = shared_service[1].runtime.assets
    answer = http.get(f"/v1/collections/{collection}/thumbnails/x")
    (path,) = [path for path in store.root.rglob("*") if path.is_file() and path.read_bytes() == answer.content]
    sound = path.read_bytes()
    try:
        path.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
        problem(http.get(f"/v1/collections/{collection}/thumbnails/x"), 500, "store-corrupt")
    finally:
        path.write_bytes(sound)
