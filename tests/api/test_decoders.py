"""Pictures that may crash or stall a decoder do so in a process that the service replaces."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from anyseek.api.service import Service, ServiceSettings
from anyseek.model.modalities.reading.decoders import Decoders
from anyseek.search.settings import Settings
from anyseek.workers.runtime import Runtime
from tests.api.conftest import LIMITS, listening
from tests.search.gallery import begin_catalogue

Field = tuple[str, bytes]
_PROGRAM = (str(Path(__file__).parents[1] / "model" / "modalities" / "reading" / "crashing_decoder.py"),)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service whose decoder crashes at files named crash."""
    home = tmp_path_factory.mktemp("decoders") / "home"
    begin_catalogue(home)
    with Runtime.open(Settings(home, LIMITS), "hashing") as runtime:
        service = Service(runtime, ServiceSettings())
        service.decoders = Decoders(2, 500, _PROGRAM)
        with listening(service) as url:
            yield url


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{url}/v1/collections/things", timeout=60) as client:
        client.post(f"{url}/v1/collections", json={"name": "things"})
        yield client


QUERY: dict[str, Any] = {"query": (None, '{"parts": [{"modality": "rgb", "file": "a"}]}')}


def _webp() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(file, "WEBP")
    return file.getvalue()


def test_a_decoder_that_crashes_is_one_bad_input(http: httpx.Client) -> None:
    assert http.put("/items/red", files={"rgb": ("a.webp", _webp())}).status_code == 200
    for _ in range(3):
        refused = http.post("/query", files=QUERY | {"a": ("crash", _webp())})
        assert (refused.status_code, refused.json()["type"]) == (422, "urn:anyseek:broken-picture")
        assert refused.json()["detail"] == "crash is a damaged picture: its decoder was ended by SIGSEGV"
    assert http.put("/items/crashed", files={"rgb": ("crash", _webp())}).status_code == 422
    assert http.get("/items/crashed").status_code == 404
    found = http.post("/query", files=QUERY | {"a": ("a.webp", _webp())})
    assert [hit["key"] for hit in found.json()["hits"]] == ["red"]
