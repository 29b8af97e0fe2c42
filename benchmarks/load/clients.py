"""Well-behaved clients, which read and write, and misbehaving ones."""

import asyncio
import base64
import io
import json
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.synchronize import Event
from random import Random
from typing import Any

import httpx
from PIL import Image

COLLECTION = "load"
_WORDS = "red green blue old new large small round dog cat house tree road river cloud boat lamp chair".split()  # noqa: SIM905
_TIMEOUT_SECONDS = 30.0


@dataclass
class Answers:
    """Latency of each answer in seconds, and the number of failed requests."""

    seconds: list[float] = field(default_factory=list)
    errors: int = 0

    def add(self, others: "Answers") -> None:
        self.seconds += others.seconds
        self.errors += others.errors


def random_caption(random: Random) -> str:
    return " ".join(random.choice(_WORDS) for _ in range(5))


async def honest(url: str, items: int, seed: int, ends: float, answers: Answers) -> None:
    """Send one request after another until `ends`: seventy percent queries, twenty percent reads, ten percent puts."""
    random = Random(seed)
    async with httpx.AsyncClient(base_url=f"{url}/v1/collections/{COLLECTION}", timeout=_TIMEOUT_SECONDS) as http:
        while time.monotonic() < ends:
            start = time.monotonic()
            try:
                answer = await _send_random_request(http, random, items, seed)
                answers.errors += answer.is_error
            except httpx.HTTPError:
                answers.errors += 1
            answers.seconds.append(time.monotonic() - start)


async def _send_random_request(http: httpx.AsyncClient, random: Random, items: int, seed: int) -> httpx.Response:
    chosen = random.random()
    if chosen < 0.7:
        return await http.post("/query", json={"parts": [{"text": random_caption(random)}], "k": 10})
    if chosen < 0.9:
        return await http.get(f"/items/{random.randrange(items)}")
    form = {"caption": (None, random_caption(random)), "attributes": (None, json.dumps({"n": random.randrange(100)}))}
    return await http.put(f"/items/put-{seed}-{random.randrange(1000)}", files=form)


Attack = Callable[[str], Coroutine[Any, Any, None]]


def slow_headers() -> Attack:
    """Fifty connections that send their headers slowly and without end."""
    return partial(_drip, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n", b"x: y\r\n")


def slow_bodies() -> Attack:
    """Fifty connections that send their bodies slowly."""
    head = f"POST /v1/collections/{COLLECTION}/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return partial(_drip, f"{head}Content-Length: 50000\r\n\r\n".encode(), b" ")


async def _drip(head: bytes, piece: bytes, url: str) -> None:
    address = httpx.URL(url)

    async def drip_on_one_connection() -> None:
        while True:
            _, writer = await asyncio.open_connection(address.host, address.port)
            try:
                writer.write(head)
                while True:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0.2)
            except ConnectionError:
                continue
            finally:
                writer.close()

    await asyncio.gather(*(drip_on_one_connection() for _ in range(50)))


def bombs() -> Attack:
    """Queries with four small files that decode to 81 million pixels each, one query after another."""
    file = io.BytesIO()
    Image.new("RGB", (9_000, 9_000)).save(file, "WEBP", lossless=True, method=0)
    parts = [{"modality": "rgb", "data": base64.b64encode(file.getvalue()).decode()} for _ in range(4)]
    return partial(_post_repeatedly, json.dumps({"parts": parts}).encode())


def huge_json() -> Attack:
    """A filter of 100 MiB of `{}`, again and again."""
    body = b'{"parts": [{"text": "a"}], "where": {"and": [' + b"{}," * ((100 << 20) // 3) + b"{}]}}"
    return partial(_post_repeatedly, body)


def deep_json() -> Attack:
    """JSON as deep as its bytes allow, again and again."""
    return partial(_post_repeatedly, b'{"where": ' + b"[" * 500_000 + b"]" * 500_000 + b"}")


async def _post_repeatedly(body: bytes, url: str) -> None:
    async with httpx.AsyncClient(timeout=60) as http:
        while True:
            try:
                headers = {"content-type": "application/json"}
                await http.post(f"{url}/v1/collections/{COLLECTION}/query", content=body, headers=headers)
            except httpx.HTTPError:
                await asyncio.sleep(0.1)


MISBEHAVING: dict[str, Callable[[], Attack]] = {
    "slow headers": slow_headers,
    "slow bodies": slow_bodies,
    "bombs": bombs,
    "huge JSON": huge_json,
    "deep JSON": deep_json,
}


def misbehave(name: str, url: str, begins: Event) -> None:
    """Run an attack in this process until it is killed; set `begins` once its requests are prepared."""
    attack = MISBEHAVING[name]()
    begins.set()
    asyncio.run(attack(url))
