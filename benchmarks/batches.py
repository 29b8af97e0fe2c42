"""The memory that a service takes for its largest batches: one of many bytes, one of many hits.

    python -m benchmarks.batches [--items 10000] [--hits 100000] [--mib 16] [--json]

Each is sent to a service of its own, which has just answered a small batch. Its peak of resident memory (Linux) is
compared with what it had then.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from benchmarks.load.__main__ import fill
from benchmarks.load.clients import COLLECTION
from tests.services.anyseek import Anyseek

MIB = 1024 * 1024
_CHARACTERS = 9_000  # of a text; the most is 10,000
_PARTS = 16


def of_bytes(mib: float) -> list[dict[str, Any]]:
    """Queries of `mib` MiB in all, for one hit each."""
    query = {"parts": [{"text": "a dog " * (_CHARACTERS // 6)}] * _PARTS, "k": 1}
    return [query] * max(1, int(mib * MIB) // (len(json.dumps(query)) + 2) - 1)


def of_hits(hits: int, items: int) -> list[dict[str, Any]]:
    """Queries for so many hits in all."""
    return [{"parts": [{"text": "a dog"}], "k": items}] * max(1, hits // items)


def measured(items: int, queries: list[dict[str, Any]]) -> dict[str, float]:
    """Mebibytes and seconds of a batch."""
    with tempfile.TemporaryDirectory(prefix="anyseek-batches-") as folder:
        service = Anyseek(Path(folder))
        fill(service.home, items)
        service.start()
        try:
            url = f"{service.url}/v1/collections/{COLLECTION}/query/batch"
            _send(url, json.dumps({"queries": of_hits(1, 1)}).encode())
            before = service.usage().peak
            body = json.dumps({"queries": queries}).encode()
            started = time.perf_counter()
            received = _send(url, body)
            seconds = time.perf_counter() - started
            return {
                "MiB sent": len(body) / MIB,
                "MiB received": received / MIB,
                "MiB before": before,
                "MiB more at its peak": service.usage().peak - before,
                "seconds": seconds,
            }
        finally:
            service.stop()


def _send(url: str, body: bytes) -> int:
    """The bytes of the answer, every one of whose queries was answered."""
    answer = httpx.post(url, content=body, headers={"content-type": "application/json"}, timeout=600)
    answer.raise_for_status()
    assert b'"error":{' not in answer.content, answer.text[:500]
    return len(answer.content)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batches", description=__doc__)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--hits", type=int, default=100_000)
    parser.add_argument("--mib", type=float, default=15.9)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args(arguments)
    batches = {"many bytes": of_bytes(asked.mib), "many hits": of_hits(asked.hits, asked.items)}
    found = {name: measured(asked.items, queries) for name, queries in batches.items()}
    if asked.json:
        print(json.dumps(found))
        return
    for name, costs in found.items():
        print(name, *(f"{cost:.1f} {what}" for what, cost in costs.items()), sep=", ")


if __name__ == "__main__":
    main()
