"""Processor time and memory of `anyseek serve` for the dearest requests of a key with the scope read.

    python -m benchmarks.dearest [--items 12000] [--json]

Each is about as costly as the limits allow, and is sent alone. Processor time includes the decoder processes of the
service; memory is the rise of the peak of its main process above what that held before.
"""

import base64
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import httpx
from PIL import Image

from anyseek.search.assets.base import AssetStore
from anyseek.search.assets.opening import open_assets
from anyseek.search.settings import Settings
from anyseek.search.types import Asset
from benchmarks.load.__main__ import fill_collection
from benchmarks.load.clients import COLLECTION, random_caption
from benchmarks.reporting import markdown_table, option_parser
from tests.services.anyseek import Anyseek

_TICKS = os.sysconf("SC_CLK_TCK")
_PATH = f"/v1/collections/{COLLECTION}"
Json = dict[str, Any]


@dataclass(frozen=True)
class Cost:
    """The cost of a request: processor and waiting time in seconds, memory in MiB, and the status of its answer."""

    request: str
    processor: float
    seconds: float
    memory: float
    status: int


def main() -> None:
    parser = option_parser("dearest", __doc__)
    parser.add_argument("--items", type=int, default=12_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="anyseek-dearest-") as folder:
        costs = sorted(measure_costs(Path(folder), arguments.items), key=lambda cost: -cost.processor)
    print(json.dumps([asdict(cost) for cost in costs]) if arguments.json else table(costs))


def measure_costs(folder: Path, items: int) -> Iterator[Cost]:
    """Send each request alone and yield its cost."""
    service = Anyseek(folder)
    fill_collection(service.home, items, partial(_item_members, open_assets(Settings(service.home))))
    service.start()
    try:
        with httpx.Client(base_url=service.url, timeout=600) as http:
            http.post(f"{_PATH}/query", json={"parts": [{"text": "a red dog"}]}).raise_for_status()  # opens the index
            for name, send in requests().items():
                yield _measure_cost(service, name, lambda send=send: send(http))  # type: ignore[misc]
    finally:
        service.stop()


def requests() -> dict[str, Callable[[httpx.Client], httpx.Response]]:
    """Functions that send the requests, by their names in the table."""
    random = Random(1)
    words = [{"modality": "words", "text": random_caption(random)} for _ in range(1_000)]
    return {
        "a filter of 600 nodes, as text in an address": lambda http: http.get(
            f"{_PATH}/items", params={"where": " or ".join(f"n > {n} and n != {n + 1}" for n in range(100))}
        ),
        "a query with a filter of 600 nodes": _query(where=_nested_filter(66)),
        "a batch of 100 queries with 40 conditions each": _batch(
            [_red_dog() | {"where": _forty_conditions(n)} for n in range(100)]
        ),
        "a batch with 1,000 parts of words": _batch([{"parts": words[n : n + 10]} for n in range(0, 1_000, 10)]),
        "a batch of 1,000 queries with 100 hits each": _batch([_red_dog() | {"k": 100} for _ in range(1_000)]),
        "a query of 16 parts, 20 hits explained": _query(parts=[{"text": "a red dog"}] * 16, explain=20),
        "16 pictures of 12 million pixels": _picture_query([_encode_picture("PNG", 3_500)] * 16),
        "3 JPEG of 49 million pixels in 100 scans": _picture_query([_encode_many_scans(7_000)] * 3),
        "3 WebP of 49 million pixels": _picture_query([_encode_picture("WEBP", 7_000)] * 3),
        "all duplicates": lambda http: http.get(f"{_PATH}/duplicates"),
        "a map": lambda http: http.get(f"{_PATH}/map"),
    }


def _red_dog() -> Json:
    return {"parts": [{"text": "a red dog"}]}


def _query(**members: Any) -> Callable[[httpx.Client], httpx.Response]:
    return lambda http: http.post(f"{_PATH}/query", json=_red_dog() | members)


def _batch(queries: Sequence[Json]) -> Callable[[httpx.Client], httpx.Response]:
    return lambda http: http.post(f"{_PATH}/query/batch", json={"queries": queries})


def _picture_query(files: Sequence[bytes]) -> Callable[[httpx.Client], httpx.Response]:
    parts = [{"modality": "rgb", "data": base64.b64encode(data).decode()} for data in files]
    return lambda http: http.post(f"{_PATH}/query", json={"parts": parts})


def _nested_filter(pairs: int) -> Json:
    """A filter of nested `or`, `not` and `and` that no simplification shortens."""
    return {
        "or": [
            {"not": {"and": [{"field": "n", "gt": n}, {"not": {"or": [{"field": "album", "eq": f"a{n}"}]}}]}}
            for n in range(pairs)
        ]
    }


def _forty_conditions(number: int) -> Json:
    return {"and": [{"not": {"field": "n", "eq": 200 + 40 * number + place}} for place in range(40)]}


def _encode_picture(kind: str, side: int) -> bytes:
    """A small file of a large picture of one colour."""
    stream = io.BytesIO()
    Image.new("RGB", (side, side), "teal").save(stream, kind, **({"progressive": True} if kind == "JPEG" else {}))
    return stream.getvalue()


def _encode_many_scans(side: int) -> bytes:
    """A progressive JPEG with 100 scans: its last scan is repeated."""
    plain = _encode_picture("JPEG", side)
    last = plain.rindex(b"\xff\xda")
    return plain[:-2] + plain[last:-2] * (100 - plain.count(b"\xff\xda")) + plain[-2:]


def _measure_cost(service: Anyseek, name: str, send: Callable[[], httpx.Response]) -> Cost:
    assert service.process
    process = service.process.pid
    Path(f"/proc/{process}/clear_refs").write_text("5")  # resets the peak to what the process holds now
    before, processor, start = service.usage().memory, _processor_seconds(process), time.monotonic()
    answer = send()
    seconds = time.monotonic() - start
    if answer.status_code not in (200, 413):
        sys.exit(f"{name}: {answer.text[:500]}")
    return Cost(
        name, _processor_seconds(process) - processor, seconds, service.usage().peak - before, answer.status_code
    )


def _processor_seconds(pid: int) -> float:
    """Processor seconds of a process and of all its descendants, also of those that have ended."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = " ".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")).split()
    return sum(map(int, stat[11:15])) / _TICKS + sum(_processor_seconds(int(child)) for child in children)


def table(costs: Sequence[Cost]) -> str:
    """The costs in Markdown, the dearest first."""
    header = ("request", "processor s", "seconds", "memory MiB", "status")
    rows = [
        (cost.request, f"{cost.processor:.1f}", f"{cost.seconds:.1f}", f"{cost.memory:.0f}", cost.status)
        for cost in costs
    ]
    return markdown_table(header, rows)


def _item_members(store: AssetStore, number: int) -> Json:
    """Members of a `NewItem`: attributes, a picture outside the store, and a thumbnail of its own."""
    stream, random = io.BytesIO(), Random(number)
    small = Image.frombytes("RGB", (8, 6), random.randbytes(8 * 6 * 3))
    small.resize((256, 192), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=80)
    picture = Asset("rgb", f"/photos/{number}.jpg", False, "image/jpeg", f"{number:064x}", 1_000)
    place = {"lat": number % 90, "lon": number % 180}
    return {
        "attributes": {"n": number % 100, "album": f"a{number % 300}", "at": place},
        "assets": (picture, store.put("thumbnail", stream.getvalue(), "image/jpeg")),
    }


if __name__ == "__main__":
    main()
