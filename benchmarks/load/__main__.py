"""How honest clients are served by `anyseek serve`, alone and beside one that misbehaves. On loopback only.

    python -m benchmarks.load [--items 100000] [--clients 4] [--seconds 10] [--rounds 4] [--json]

The misbehaving client runs in a process of its own. Each phase is measured against two: the honest clients alone, and
with one more honest client, since one more client always costs something. Other work on a machine comes and goes, so
the phases come in rounds, one more honest client directly before each that misbehaves, and all answers of a kind of
phase are counted together. `against` is the p99 beside a client that misbehaves divided by that of the phases directly
before it.
"""

import argparse
import asyncio
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from anyseek import Client, Sample
from anyseek.search.catalogue import collections
from anyseek.search.catalogue import items as catalogued
from anyseek.search.settings import Settings
from anyseek.search.types import NewItem
from anyseek.workers.runtime import Runtime
from benchmarks.load.clients import COLLECTION, MISBEHAVING, Answers, caption, honest, misbehave
from tests.services.anyseek import Anyseek

_FIRST, _ONE_MORE = "nobody", "one more honest"
_BATCH = 1_000
_PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class Row:
    """One kind of phase: requests a second of the honest clients, milliseconds, errors, the service's memory in MiB.

    `against` is the p99 divided by that with one more honest client directly before; 1 where nobody misbehaves.
    """

    phase: str
    requests: float
    p50: float
    p95: float
    p99: float
    errors: int
    memory: float
    against: float


@dataclass
class _Phases:
    """All phases of one kind, and the phases with one more honest client before each of them."""

    answers: Answers = field(default_factory=Answers)
    before: Answers = field(default_factory=Answers)
    memory: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each phase")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="anyseek-load-") as folder:
        given = arguments.items, arguments.clients, arguments.seconds, arguments.rounds
        rows = list(measured(Path(folder), *given))
    sys.stdout.write(json.dumps([asdict(row) for row in rows]) + "\n" if arguments.json else table(rows))


def measured(folder: Path, items: int, clients: int, seconds: float, rounds: int) -> Iterator[Row]:
    """A row for each kind of phase, on one service with a collection of captions."""
    service, phases = Anyseek(folder), {name: _Phases() for name in (_FIRST, _ONE_MORE, *MISBEHAVING)}
    fill(service.home, items)
    service.start()
    try:
        with Client(service.url, timeout=300) as client:
            client.query(COLLECTION, "a red dog")  # which makes the index
        for _ in range(rounds):
            _count(phases[_FIRST], service, _phase(service, _FIRST, items, clients, seconds))
            for name in MISBEHAVING:
                before = _phase(service, _ONE_MORE, items, clients + 1, seconds)
                _count(phases[_ONE_MORE], service, before)
                _count(phases[name], service, _phase(service, name, items, clients, seconds), before)
    finally:
        service.stop()
    for name, each in phases.items():
        yield _row(name, each, seconds * rounds * (len(MISBEHAVING) if name == _ONE_MORE else 1))


def _count(phases: _Phases, service: Anyseek, answers: Answers, before: Answers | None = None) -> None:
    phases.answers.add(answers)
    phases.before.add(before or answers)
    phases.memory = max(phases.memory, service.usage().memory)


def _row(name: str, phases: _Phases, seconds: float) -> Row:
    answers = phases.answers
    p50, p95, p99 = (1_000 * float(value) for value in np.percentile(answers.seconds, (50, 95, 99)))
    against = p99 / (1_000 * float(np.percentile(phases.before.seconds, 99)))
    return Row(name, len(answers.seconds) / seconds, p50, p95, p99, answers.errors, phases.memory, against)


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown."""
    names = (
        "beside",
        "requests a second",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "p99 against one more",
        "errors",
        "memory MiB",
    )
    head = f"| {' | '.join(names)} |\n" + "|---" * len(names) + "|\n"
    return head + "".join(f"| {' | '.join(_cells(row))} |\n" for row in rows)


def _cells(row: Row) -> list[str]:
    whole = [f"{value:.0f}" for value in (row.requests, row.p50, row.p95, row.p99)]
    return [row.phase, *whole, f"{row.against:.2f}", str(row.errors), f"{row.memory:.0f}"]


def numbered(number: int) -> Mapping[str, Any]:
    """The attributes of an item."""
    return {"attributes": {"n": number % 100}}


def fill(home: Path, items: int, details: Callable[[int], Mapping[str, Any]] = numbered) -> None:
    """Write a collection of captions before the service starts; `details` are further members of each `NewItem`."""
    random = Random(0)
    home.mkdir(parents=True)
    with Runtime.open(Settings(home), "hashing") as runtime:
        embedder = runtime.embedder
        with runtime.database.write() as session:
            made = collections.create(session, COLLECTION, embedder.name, embedder.spaces.values())
        for start in range(0, items, _BATCH):
            numbers = range(start, min(items, start + _BATCH))
            captions = [caption(random) for _ in numbers]
            vectors = embedder.embed([Sample({"caption": text}) for text in captions], list(embedder.spaces))
            new = [
                NewItem(str(number), str(number), {space: rows[place] for space, rows in vectors.items()}, text, **more)
                for place, (number, text, more) in enumerate(zip(numbers, captions, map(details, numbers), strict=True))
            ]
            with runtime.database.write() as session:
                catalogued.write(session, made, new)


def _phase(service: Anyseek, name: str, items: int, clients: int, seconds: float) -> Answers:
    with _beside(service, name) if name in MISBEHAVING else nullcontext():
        return asyncio.run(_clients(service.url, items, clients, time.monotonic() + seconds))


@contextmanager
def _beside(service: Anyseek, name: str) -> Iterator[None]:
    """While the block runs, a process misbehaves."""
    spawn = multiprocessing.get_context("spawn")
    begins = spawn.Event()
    process = spawn.Process(target=misbehave, args=(name, service.url, begins), daemon=True)
    process.start()
    try:
        if not begins.wait(_PATIENCE_SECONDS):
            sys.exit(f"the client that misbehaves by {name} did not begin")
        yield
        if not process.is_alive():
            sys.exit(f"the client that misbehaves by {name} ended with {process.exitcode}")
    finally:
        process.kill()
        process.join()


async def _clients(url: str, items: int, clients: int, ends: float) -> Answers:
    answers = Answers()
    await asyncio.gather(*(honest(url, items, seed, ends, answers) for seed in range(clients)))
    return answers


if __name__ == "__main__":
    main()
