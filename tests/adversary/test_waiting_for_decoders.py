"""Pictures that take a decoder long, beside which plain queries waited for a thread, 12 seconds for one."""

import base64
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from anyseek.model.modalities.reading.budget import Budget
from anyseek.model.modalities.reading.decoders import DecodeRequest, DecoderPool
from anyseek.model.modalities.reading.encoded import DecodedFile, EncodedFile
from tests.api.conftest import LIMITS, serving
from tests.indexer.pictures import encoded
from tests.search.gallery import begin_catalogue

_WEBP = base64.b64encode(encoded(Image.new("RGB", (40, 30), "red"), "WEBP")).decode()
_COSTLY = {"parts": [{"modality": "rgb", "data": _WEBP}] * 2}
_BODIES: dict[str, Any] = {
    "/v1/collections/a/query": _COSTLY,
    "/v1/collections/a/query/batch": {"queries": [_COSTLY]},
    "/v1/query": _COSTLY | {"collections": ["a"]},
}


@pytest.mark.parametrize("path", _BODIES)
def test_plain_queries_are_answered_while_others_wait_for_decoders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    waiting, go_on, read = threading.Semaphore(0), threading.Event(), DecoderPool.read

    def wait(decoders: DecoderPool, request: DecodeRequest, file: EncodedFile, budget: Budget) -> DecodedFile:
        waiting.release()
        assert go_on.wait(120)
        return read(decoders, request, file, budget)

    monkeypatch.setattr(DecoderPool, "read", wait)
    begin_catalogue(tmp_path)
    with serving(tmp_path, limits=LIMITS) as (client, service):
        client.create_collection("a")
        client.put_item("a", "x", caption="x")
        count = service.pool.threads + 2
        with httpx.Client(base_url=client.url, timeout=60) as http, ThreadPoolExecutor(count) as pool:
            send = partial(httpx.post, f"{client.url}{path}", json=_BODIES[path], timeout=120)
            costly = [pool.submit(send) for _ in range(count)]
            try:
                for _ in range(service.pool.threads):
                    assert waiting.acquire(timeout=60)
                assert http.get("/v1/collections/a/query?text=x").json()["hits"][0]["key"] == "x"
                assert http.post("/v1/collections/a/query", json={"parts": [{"item": "x"}]}).status_code == 200
                assert http.post("/v1/query", json={"parts": [{"text": "x"}], "collections": ["a"]}).status_code == 200
                assert not any(answer.done() for answer in costly)
            finally:
                go_on.set()
            assert {answer.result().status_code for answer in costly} == {200}
