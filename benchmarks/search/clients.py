"""Queries per second of a service, with one client and with many at once: docs/indexes.md.

    python -m benchmarks.search.clients [--against DIR] [--clients 1,8,32] [--seconds 5] [--rounds 3] [--items 500]
                                        [--made 0] [--model 4m-tiny] [--models DIR] [--asked captions,vectors] [--json]

The product's own service answers captions, which go through the model, and vectors of one space; with `--asked
two-parts` a caption and a palette together. `--made` adds items whose vectors are drawn at random in every space of the
model, so that the index is a large one. Each client queries over one connection in a closed loop.
`--against` also starts the service of another checkout of this repository, in turns with this one, so that other load
of the machine falls on both. The CPU is that of the service's process alone. The other columns are the milliseconds of
a query in each stage that `/metrics` times; those of the catalogue overlap with others, and queries that are answered
together share theirs.
"""

import argparse
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from anyseek import Client
from anyseek.model.seam import FloatArray
from anyseek.search.catalogue import collections, items
from anyseek.search.catalogue.upgrade import open_database
from anyseek.search.settings import read_settings
from anyseek.search.telemetry.spans import Stage
from anyseek.search.types import NewItem
from benchmarks.reporting import comma_separated_ints, option_parser, record_table
from benchmarks.search.service import query_concurrently
from benchmarks.structure import ROOT

COLLECTION, K = "captions", 10
_READY_SECONDS = 180
_QUERIES = 200
_BATCH = 1_000  # items of a transaction
_WORDS = (
    *("a", "the", "red", "blue", "green", "old", "small", "bicycle", "dog", "cat", "house", "tree", "beach", "street"),
    *("mountain", "river", "boat", "table", "lamp", "child", "woman", "man", "walking", "sitting", "running", "near"),
    *("under", "behind", "with", "two", "three", "at", "night", "in", "winter", "on", "sunny", "day"),
)


@dataclass(frozen=True)
class RunningService:
    """A service by its name in the report, its port and its process id."""

    name: str
    port: int
    pid: int


def main() -> None:
    """Read the options, fill a collection, measure and print."""
    arguments = _parse_options()
    checkouts = {"this": ROOT} | ({"against": arguments.against} if arguments.against else {})
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        first = Path(folder) / "this"
        _fill_collection(first, arguments)
        services = []
        for name, checkout in checkouts.items():
            home = Path(folder) / name
            if home != first:
                shutil.copytree(first, home, symlinks=True, ignore=shutil.ignore_patterns("server.json", "locks"))
            services.append(stack.enter_context(running_service(name, checkout, home, arguments.model)))
        make = {
            "captions": caption_queries,
            "vectors": lambda: vector_queries(services[0].port),
            "two-parts": two_part_queries,
        }
        queries = {kind: make[kind]() for kind in arguments.asked}
        rows = [
            row
            for kind, bodies in queries.items()
            for clients in arguments.clients
            for row in compare_services(services, kind, bodies, clients, arguments)
        ]
    print(json.dumps(rows) if arguments.json else record_table(rows))


def caption_queries() -> list[bytes]:
    """Reproducible queries of 2 to 14 words."""
    rng = random.Random(0)
    return [_body({"text": _caption(rng)}) for _ in range(_QUERIES)]


def two_part_queries() -> list[bytes]:
    """Reproducible queries of a caption of 2 to 14 words and a palette of one to three colours."""
    rng = random.Random(2)
    return [
        json.dumps({"parts": [{"text": _caption(rng)}, {"modality": "color_palette", "text": _palette(rng)}]}).encode()
        for _ in range(_QUERIES)
    ]


def vector_queries(port: int) -> list[bytes]:
    """Queries by the vectors of items, which no model embeds."""
    with Client(f"http://127.0.0.1:{port}") as client:
        results = client.query(COLLECTION, "a red bicycle", k=min(100, _QUERIES), vectors=True)
    return [_body({"vector": hit.vector}, space=results.space) for hit in results.hits]


def compare_services(
    services: Sequence[RunningService], kind: str, bodies: Sequence[bytes], clients: int, arguments: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Yield a row for each service; in each round, all services take their turn."""
    for service in services:
        query_concurrently(service.port, COLLECTION, bodies, 1, 0)  # opens the index
    rounds: dict[str, list[dict[str, float]]] = {service.name: [] for service in services}
    for number in range(arguments.rounds):
        for service in services if number % 2 else reversed(services):
            rounds[service.name].append(measure(service, bodies, clients, arguments.seconds))
    for name, rows in rounds.items():
        spreads = {column: _spread([row[column] for row in rows]) for column in rows[0]}
        yield {"service": name, "asked": kind, "clients": clients, **spreads}


def measure(service: RunningService, bodies: Sequence[bytes], clients: int, seconds: float) -> dict[str, float]:
    """Throughput, and milliseconds of a query: quantiles, CPU of the service, and each stage."""
    before, cpu = _stage_seconds(service.port), _cpu_seconds(service.pid)
    latencies, duration = query_concurrently(service.port, COLLECTION, bodies, clients, seconds)
    cpu = _cpu_seconds(service.pid) - cpu
    latencies.sort()
    count = len(latencies)
    after = _stage_seconds(service.port)
    return {
        "queries_per_second": round(count / duration, 1),
        "p50_ms": round(1000 * statistics.median(latencies), 2),
        "p95_ms": round(1000 * latencies[int(0.95 * count)], 2),
        "cpu_ms": round(1000 * cpu / count, 2),
        **{f"{stage}_ms": round(1000 * (after[stage] - before[stage]) / count, 2) for stage in Stage},
    }


@contextmanager
def running_service(name: str, checkout: Path, home: Path, model: str) -> Iterator[RunningService]:
    """Start the service of a checkout on a data directory, and yield it once its model is loaded."""
    environment = os.environ | {"ANYSEEK_HOME": str(home), "PYTHONPATH": str(checkout)}
    command = [sys.executable, "-m", "anyseek", "serve", "--port", "0", "--model", model]
    process = subprocess.Popen(
        command, cwd=checkout, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().split()[-1].rstrip("/").rpartition(":")[2])
        with Client(f"http://127.0.0.1:{port}") as client:
            client.wait_until_ready(_READY_SECONDS)
        yield RunningService(name, port, process.pid)
    finally:
        process.terminate()
        process.wait()


def _fill_collection(home: Path, arguments: argparse.Namespace) -> None:
    home.mkdir()
    if arguments.models is not None:
        (home / "models").symlink_to(arguments.models.resolve())
    rng = random.Random(1)
    with (
        running_service("filling", ROOT, home, arguments.model) as served,
        Client(f"http://127.0.0.1:{served.port}") as client,
    ):
        client.create_collection(COLLECTION)
        for number in range(arguments.items):
            client.put_item(COLLECTION, str(number), caption=" ".join(rng.choices(_WORDS, k=8)))
    if arguments.made:
        _put_random_items(home, arguments.made)


def _put_random_items(home: Path, count: int) -> None:
    """Write items with captions, and with random vectors in every space of the collection."""
    database = open_database(read_settings({"ANYSEEK_HOME": str(home)}))
    rng, vector_rng = random.Random(3), np.random.default_rng(3)
    with database.read() as session:
        collection = collections.get(session, COLLECTION)
    for first in range(0, count, _BATCH):
        numbers = range(first, min(first + _BATCH, count))
        rows = {
            space.name: _unit_vectors(vector_rng, len(numbers), space.dimension) for space in collection.spaces.values()
        }
        captions = [" ".join(rng.choices(_WORDS, k=8)) for _ in numbers]
        new = [
            NewItem(f"made {number}", str(number), {space: vectors[place] for space, vectors in rows.items()}, caption)
            for place, (number, caption) in enumerate(zip(numbers, captions, strict=True))
        ]
        with database.write() as session:
            items.write(session, collection, new)
    database.close()


def _unit_vectors(rng: np.random.Generator, count: int, dimension: int) -> FloatArray:
    """Unit vectors float32 (count, dimension), uniform over all directions."""
    rows = rng.standard_normal((count, dimension))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _caption(rng: random.Random) -> str:
    return " ".join(rng.choices(_WORDS, k=rng.randint(2, 14)))


def _palette(rng: random.Random) -> str:
    return ",".join(f"#{rng.randrange(1 << 24):06x}" for _ in range(rng.randint(1, 3)))


def _body(part: dict[str, Any], **members: str | None) -> bytes:
    return json.dumps({"parts": [part], "k": K, **members}).encode()


def _stage_seconds(port: int) -> dict[str, float]:
    """Seconds of all queries since the start of the service, by stage."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=60).text
    sums = re.findall(r'^anyseek_stage_seconds_sum\{stage="(\w+)"\} (\S+)$', text, re.MULTILINE)
    return dict.fromkeys(Stage, 0.0) | {stage: float(seconds) for stage, seconds in sums}


def _cpu_seconds(pid: int) -> float:
    """CPU seconds of a process with all its threads since its start."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):g} ({min(values):g}-{max(values):g})"


def _parse_options() -> argparse.Namespace:
    parser = option_parser("search.clients", __doc__)
    parser.add_argument("--against", type=Path, help="another checkout to compare with")
    parser.add_argument("--clients", type=comma_separated_ints, default=[1, 8, 32], help="at once (default 1,8,32)")
    parser.add_argument("--seconds", type=float, default=5.0, help="duration of each round (default 5)")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of each measurement (default 3)")
    parser.add_argument("--items", type=int, default=500, help="in the collection (default 500)")
    parser.add_argument("--made", type=int, default=0, help="further items, with random vectors (default 0)")
    parser.add_argument("--model", default="4m-tiny", help="the service's model (default 4m-tiny)")
    parser.add_argument("--models", type=Path, help="folder of installed models, if the model needs files")
    parser.add_argument(
        "--asked",
        type=_kinds,
        default=["captions", "vectors"],
        help="of captions, vectors and two-parts (default the first two)",
    )
    return parser.parse_args()


def _kinds(text: str) -> list[str]:
    unknown = set(text.split(",")) - {"captions", "vectors", "two-parts"}
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is not one of captions, vectors and two-parts")
    return text.split(",")


if __name__ == "__main__":
    main()
