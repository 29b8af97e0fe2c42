"""How many queries a second a service answers, for one client and for many at once: docs/indexes.md.

    python -m benchmarks.search.clients [--against DIR] [--clients 1,8,32] [--seconds 5] [--rounds 3] [--items 500]
                                        [--made 0] [--model 4m-tiny] [--models DIR] [--asked captions,vectors] [--json]

The product's own service answers captions, which go through the model, and vectors of one space; with `--asked
two-parts` a caption and a palette together. `--made` adds items whose vectors are drawn at random in every space of the
model, so that the index is a large one. Each client asks over one connection and again when it has its answer.
`--against` also starts the service of another checkout of this repository, and both take turns: compare them within one
run, as other work on the machine falls on both. The CPU is that of the service's process alone. Beside it stand the
milliseconds of a query in each stage that `/metrics` times; the catalogue's are partly within the others', and queries
that are answered together share theirs.
"""

import argparse
import http.client
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
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

COLLECTION, K = "captions", 10
HERE = Path(__file__).parents[2]
_READY_SECONDS = 180
_ASKED = 200
_AT_ONCE = 1_000  # items that are written in one transaction
_WORDS = (
    *("a", "the", "red", "blue", "green", "old", "small", "bicycle", "dog", "cat", "house", "tree", "beach", "street"),
    *("mountain", "river", "boat", "table", "lamp", "child", "woman", "man", "walking", "sitting", "running", "near"),
    *("under", "behind", "with", "two", "three", "at", "night", "in", "winter", "on", "sunny", "day"),
)


@dataclass(frozen=True)
class Served:
    """A service: what it is called, and where it listens; `process` is its number."""

    name: str
    port: int
    process: int


def main() -> None:
    """Read the arguments, fill a collection, measure and print."""
    arguments = _arguments()
    checkouts = {"this": HERE} | ({"against": arguments.against} if arguments.against else {})
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        first = Path(folder) / "this"
        _fill(first, arguments)
        served = []
        for name, checkout in checkouts.items():
            home = Path(folder) / name
            if home != first:
                shutil.copytree(first, home, symlinks=True, ignore=shutil.ignore_patterns("server.json", "locks"))
            served.append(stack.enter_context(serving(name, checkout, home, arguments.model)))
        make = {"captions": captions, "vectors": lambda: vectors(served[0].port), "two-parts": two_parts}
        asked = {kind: make[kind]() for kind in arguments.asked}
        rows = [
            row
            for kind, bodies in asked.items()
            for clients in arguments.clients
            for row in compared(served, kind, bodies, clients, arguments)
        ]
    print(json.dumps(rows) if arguments.json else as_table(rows))


def captions() -> list[bytes]:
    """Queries of 2 to 14 words, the same each time."""
    rng = random.Random(0)
    return [_body({"text": _caption(rng)}) for _ in range(_ASKED)]


def two_parts() -> list[bytes]:
    """A caption of 2 to 14 words and a palette of one to three colours, the same each time."""
    rng = random.Random(2)
    return [
        json.dumps({"parts": [{"text": _caption(rng)}, {"modality": "color_palette", "text": _palette(rng)}]}).encode()
        for _ in range(_ASKED)
    ]


def vectors(port: int) -> list[bytes]:
    """Queries by the vectors of items, which go through no model."""
    with Client(f"http://127.0.0.1:{port}") as client:
        found = client.query(COLLECTION, "a red bicycle", k=min(100, _ASKED), vectors=True)
    return [_body({"vector": hit.vector}, space=found.space) for hit in found.hits]


def compared(
    served: Sequence[Served], kind: str, bodies: Sequence[bytes], clients: int, arguments: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """A row for each service; they take turns round by round."""
    for service in served:
        _ask_on(service.port, bodies, 0.0, [], 0)  # opens the index
    rounds: dict[str, list[dict[str, float]]] = {service.name: [] for service in served}
    for number in range(arguments.rounds):
        for service in served if number % 2 else reversed(served):
            rounds[service.name].append(measured(service, bodies, clients, arguments.seconds))
    for name, told in rounds.items():
        row = {measure: [one[measure] for one in told] for measure in told[0]}
        yield {"service": name, "asked": kind, "clients": clients, **{name: _spread(row[name]) for name in row}}


def measured(service: Served, bodies: Sequence[bytes], clients: int, seconds: float) -> dict[str, float]:
    """Queries a second, milliseconds of one, of the service's CPU for each, and of each stage for each."""
    taken: list[list[float]] = [[] for _ in range(clients)]
    stages = _stage_seconds(service.port)
    cpu, began = _cpu_seconds(service.process), time.perf_counter()
    threads = [
        threading.Thread(target=_ask_on, args=(service.port, bodies, began + seconds, taken[number], 7 * number))
        for number in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lasted, cpu = time.perf_counter() - began, _cpu_seconds(service.process) - cpu
    every = sorted(took for of_client in taken for took in of_client)
    after = _stage_seconds(service.port)
    return {
        "queries_per_second": round(len(every) / lasted, 1),
        "p50_ms": round(1000 * statistics.median(every), 2),
        "p95_ms": round(1000 * every[int(0.95 * len(every))], 2),
        "cpu_ms": round(1000 * cpu / len(every), 2),
        **{f"{stage}_ms": round(1000 * (after[stage] - stages[stage]) / len(every), 2) for stage in Stage},
    }


@contextmanager
def serving(name: str, checkout: Path, home: Path, model: str) -> Iterator[Served]:
    """The service of a checkout, over a data directory of its own."""
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
        yield Served(name, port, process.pid)
    finally:
        process.terminate()
        process.wait()


def _fill(home: Path, arguments: argparse.Namespace) -> None:
    home.mkdir()
    if arguments.models is not None:
        (home / "models").symlink_to(arguments.models.resolve())
    rng = random.Random(1)
    with serving("filling", HERE, home, arguments.model) as served, Client(f"http://127.0.0.1:{served.port}") as client:
        client.create_collection(COLLECTION)
        for number in range(arguments.items):
            client.put_item(COLLECTION, str(number), caption=" ".join(rng.choices(_WORDS, k=8)))
    if arguments.made:
        _make(home, arguments.made)


def _make(home: Path, count: int) -> None:
    """Put items with captions, and with random vectors in every space of the collection."""
    database = open_database(read_settings({"ANYSEEK_HOME": str(home)}))
    words, draws = random.Random(3), np.random.default_rng(3)
    with database.read() as session:
        held = collections.get(session, COLLECTION)
    for first in range(0, count, _AT_ONCE):
        some = range(first, min(first + _AT_ONCE, count))
        rows = {space.name: _directions(draws, len(some), space.dimension) for space in held.spaces.values()}
        new = [
            NewItem(
                f"made {number}",
                str(number),
                {space: vectors[place] for space, vectors in rows.items()},
                " ".join(words.choices(_WORDS, k=8)),
            )
            for place, number in enumerate(some)
        ]
        with database.write() as session:
            items.write(session, held, new)
    database.close()


def _directions(draws: np.random.Generator, count: int, dimension: int) -> FloatArray:
    """Unit vectors float32 (count, dimension), any direction as likely as another."""
    rows = draws.standard_normal((count, dimension))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _caption(rng: random.Random) -> str:
    return " ".join(rng.choices(_WORDS, k=rng.randint(2, 14)))


def _palette(rng: random.Random) -> str:
    return ",".join(f"#{rng.randrange(1 << 24):06x}" for _ in range(rng.randint(1, 3)))


def _body(part: dict[str, Any], **more: str | None) -> bytes:
    return json.dumps({"parts": [part], "k": K, **more}).encode()


def _ask_on(port: int, bodies: Sequence[bytes], until: float, taken: list[float], first: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_READY_SECONDS)
    while time.perf_counter() < until or not taken:
        started = time.perf_counter()
        body = bodies[(first + len(taken)) % len(bodies)]
        connection.request("POST", f"/v1/collections/{COLLECTION}/query", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != http.client.OK:
            raise RuntimeError(f"the service answered {answer.status}: {said[:200]!r}")
        taken.append(time.perf_counter() - started)
    connection.close()


def _stage_seconds(port: int) -> dict[str, float]:
    """Of all queries since the service's start, by stage."""
    told = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=60).text
    found = re.findall(r'^anyseek_stage_seconds_sum\{stage="(\w+)"\} (\S+)$', told, re.MULTILINE)
    return dict.fromkeys(Stage, 0.0) | {stage: float(seconds) for stage, seconds in found}


def _cpu_seconds(process: int) -> float:
    """Of all threads of a process since its start."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):g} ({min(values):g}-{max(values):g})"


def as_table(rows: Sequence[dict[str, Any]]) -> str:
    """Medians of the rounds, with the least and the most."""
    names = list(rows[0])
    lines = [[name.replace("_", " ") for name in names], ["---"] * len(names)]
    lines += [[str(row[name]) for name in names] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.search.clients", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", type=Path, help="another checkout, whose service takes turns with this one's")
    parser.add_argument("--clients", type=_numbers, default=[1, 8, 32], help="at once (default 1,8,32)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each round (default 5)")
    parser.add_argument("--rounds", type=int, default=3, help="of each measure (default 3)")
    parser.add_argument("--items", type=int, default=500, help="in the collection (default 500)")
    parser.add_argument("--made", type=int, default=0, help="further items, with random vectors (default 0)")
    parser.add_argument("--model", default="4m-tiny", help="the service's model (default 4m-tiny)")
    parser.add_argument("--models", type=Path, help="where models are installed, if it needs files")
    parser.add_argument("--asked", type=_kinds, default=["captions", "vectors"], help="and two-parts, or some of these")
    parser.add_argument("--json", action="store_true", help="one JSON array on one line")
    return parser.parse_args()


def _kinds(text: str) -> list[str]:
    wrong = set(text.split(",")) - {"captions", "vectors", "two-parts"}
    if wrong:
        raise argparse.ArgumentTypeError(f"{', '.join(wrong)} is none of captions, vectors and two-parts")
    return text.split(",")


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    main()
