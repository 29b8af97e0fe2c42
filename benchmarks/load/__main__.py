"""How well `anyseek serve` serves honest clients, alone and while another client misbehaves, on loopback.

    python -m benchmarks.load [--items 100000] [--clients 4] [--seconds 10] [--rounds 4] [--json]

The misbehaving client runs in a process of its own. Each phase is measured against two: the honest clients alone, and
with one more honest client, since one more client always costs something. Because the other load of a
machine varies, phases are repeated in rounds, with a phase of one more honest client directly before each misbehaving
one, and the answers of a kind of phase are pooled. `against` is the p99 with a misbehaving client divided by the p99 of
the phases directly before.
"""

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
from anyseek.search.catalogue import items as items_table
from anyseek.search.settings import Settings
from anyseek.search.types import NewItem
from anyseek.workers.runtime import Runtime
from benchmarks.load.clients import COLLECTION, MISBEHAVING, Answers, honest, misbehave, random_caption
from benchmarks.reporting import markdown_table, option_parser
from tests.services.anyseek import Anyseek

_ALONE, _ONE_MORE = "nobody", "one more honest"
_BATCH = 1_000
_START_SECONDS = 120


@dataclass(frozen=True)
class Row:
    """One kind of phase: requests a second of the honest clients, milliseconds, errors, the service's memory in MiB."""

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
    """Pooled answers of all phases of one kind, and of the phases directly before them."""

    answers: Answers = field(default_factory=Answers)
    before: Answers = field(default_factory=Answers)
    memory: float = 0.0


def main() -> None:
    parser = option_parser("load", __doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each phase")
    parser.add_argument("--rounds", type=int, default=4)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="anyseek-load-") as folder:
        phases = arguments.clients, arguments.seconds, arguments.rounds
        rows = list(measure_phases(Path(folder), arguments.items, *phases))
    print(json.dumps([asdict(row) for row in rows]) if arguments.json else table(rows))


def measure_phases(folder: Path, items: int, clients: int, seconds: float, rounds: int) -> Iterator[Row]:
    """A row for each kind of phase, on one service with a collection of captions."""
    service, phases = Anyseek(folder), {name: _Phases() for name in (_ALONE, _ONE_MORE, *MISBEHAVING)}
    fill_collection(service.home, items)
    service.start()
    try:
        with Client(service.url, timeout=300) as client:
            client.query(COLLECTION, "a red dog")  # opens the index
        for _ in range(rounds):
            _add_phase(phases[_ALONE], service, _run_phase(service, _ALONE, items, clients, seconds))
            for name in MISBEHAVING:
                before = _run_phase(service, _ONE_MORE, items, clients + 1, seconds)
                _add_phase(phases[_ONE_MORE], service, before)
                _add_phase(phases[name], service, _run_phase(service, name, items, clients, seconds), before)
    finally:
        service.stop()
    for name, pooled in phases.items():
        yield _row(name, pooled, seconds * rounds * (len(MISBEHAVING) if name == _ONE_MORE else 1))


def _add_phase(phases: _Phases, service: Anyseek, answers: Answers, before: Answers | None = None) -> None:
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
    speed = ("requests a second", "p50 ms", "p95 ms", "p99 ms", "p99 against one more")
    return markdown_table(("beside", *speed, "errors", "memory MiB"), map(_cells, rows))


def _cells(row: Row) -> list[str]:
    whole = [f"{value:.0f}" for value in (row.requests, row.p50, row.p95, row.p99)]
    return [row.phase, *whole, f"{row.against:.2f}", str(row.errors), f"{row.memory:.0f}"]


def numbered_attributes(number: int) -> Mapping[str, Any]:
    """Members of the `NewItem` of this number: its attributes."""
    return {"attributes": {"n": number % 100}}


def fill_collection(home: Path, items: int, members: Callable[[int], Mapping[str, Any]] = numbered_attributes) -> None:
    """Write a collection of captions before the service starts; `members` gives further members of each `NewItem`."""
    random = Random(0)
    home.mkdir(parents=True)
    with Runtime.open(Settings(home), "hashing") as runtime:
        embedder = runtime.embedder
        with runtime.database.write() as session:
            collection = collections.create(session, COLLECTION, embedder.name, embedder.spaces.values())
        for start in range(0, items, _BATCH):
            numbers = range(start, min(items, start + _BATCH))
            captions = [random_caption(random) for _ in numbers]
            vectors = embedder.embed([Sample({"caption": text}) for text in captions], list(embedder.spaces))
            new = [
                NewItem(
                    str(number), str(number), {space: rows[place] for space, rows in vectors.items()}, text, **extra
                )
                for place, (number, text, extra) in enumerate(
                    zip(numbers, captions, map(members, numbers), strict=True)
                )
            ]
            with runtime.database.write() as session:
                items_table.write(session, collection, new)


def _run_phase(service: Anyseek, name: str, items: int, clients: int, seconds: float) -> Answers:
    with _misbehaving_client(service, name) if name in MISBEHAVING else nullcontext():
        return asyncio.run(_run_clients(service.url, items, clients, time.monotonic() + seconds))


@contextmanager
def _misbehaving_client(service: Anyseek, name: str) -> Iterator[None]:
    """Run a misbehaving client in another process during the block."""
    spawn = multiprocessing.get_context("spawn")
    begins = spawn.Event()
    process = spawn.Process(target=misbehave, args=(name, service.url, begins), daemon=True)
    process.start()
    try:
        if not begins.wait(_START_SECONDS):
            sys.exit(f"the client that misbehaves by {name} did not begin")
        yield
        if not process.is_alive():
            sys.exit(f"the client that misbehaves by {name} ended with {process.exitcode}")
    finally:
        process.kill()
        process.join()


async def _run_clients(url: str, items: int, clients: int, ends: float) -> Answers:
    answers = Answers()
    await asyncio.gather(*(honest(url, items, seed, ends, answers) for seed in range(clients)))
    return answers


if __name__ == "__main__":
    main()
