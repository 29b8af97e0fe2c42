"""How fast photos are indexed on a machine that others use, by how many embedders and threads do it: docs/indexing.md.

    python -m benchmarks.guest [--photos 96] [--rounds 5] [--neighbours 0,1,2] [--model 4m-tiny] [--json]

A neighbour is a process that computes without a pause. Every way has a process of its own, which loads the model once.
The ways take turns, each with all photos into an empty installation, so that other work on the machine meets all alike.
The last line of a block is the rate of the best way by that of the default. `ANYSEEK_HOME` has the model's files.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from anyseek.model.home import default_home
from anyseek.search.settings import read_settings
from anyseek.workers.runtime import Runtime
from benchmarks.ingest.rates import SMALL, indexer, make_photos

DEFAULT = "default"
OF_THE_USER = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "ANYSEEK_THREADS", "ANYSEEK_WORK_EMBEDDERS")
_PASSIVE = {"OMP_WAIT_POLICY": "passive"}


def _way(embedders: int, threads: int) -> dict[str, str]:
    """The environment of so many embedders with so many threads each."""
    return {"ANYSEEK_THREADS": str(embedders * threads), "ANYSEEK_WORK_EMBEDDERS": str(embedders)}


# One thread waits for no other, so it has no wait policy.
WAYS: Mapping[str, Mapping[str, str]] = {
    DEFAULT: {},
    "1 embedder, 1 thread": _way(1, 1),
    "1 embedder, 2 threads": _way(1, 2),
    "1 embedder, 2 threads, passive": _way(1, 2) | _PASSIVE,
    "2 embedders, 1 thread": _way(2, 1),
    "2 embedders, 2 threads": _way(2, 2),
    "2 embedders, 2 threads, passive": _way(2, 2) | _PASSIVE,
}


@dataclass(frozen=True)
class Turn:
    """One way's photos a second, and milliseconds of processor for each."""

    rate: float
    processor_ms: float


class Way(Protocol):
    """Something that indexes the photos whenever it is told to."""

    def turn(self) -> Turn: ...


def main() -> None:
    """Read the arguments, measure and print; or index when asked to, as one of the ways."""
    arguments = _arguments()
    if arguments.serve:
        _serve(arguments.serve, arguments.model)
        return
    report: dict[str, Any] = {"cores": len(os.sched_getaffinity(0)), "date": time.strftime("%Y-%m-%d")}
    report |= {"load": round(os.getloadavg()[0], 1), "model": arguments.model, "rounds": arguments.rounds}
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        photos = Path(scratch, "photos")
        make_photos(photos, arguments.photos, SMALL)
        ways = {name: stack.enter_context(way_process(photos, arguments.model, way)) for name, way in WAYS.items()}
        counts = [int(count) for count in arguments.neighbours.split(",")]
        report["neighbours"] = {count: measured(ways, count, arguments.rounds) for count in counts}
    report["load_at_the_end"] = round(os.getloadavg()[0], 1)
    print(json.dumps(report) if arguments.json else "\n".join(_as_text(report)))


def measured(ways: Mapping[str, Way], neighbours: int, rounds: int) -> dict[str, Any]:
    """The ways side by side, in turns that begin with another way each time."""
    turns: dict[str, list[Turn]] = {name: [] for name in ways}
    names = list(ways)
    with busy(neighbours):
        for number in range(rounds):
            for name in names[number % len(names) :] + names[: number % len(names)]:
                turns[name].append(ways[name].turn())
    rates = {name: statistics.median(turn.rate for turn in taken) for name, taken in turns.items()}
    best = max(rates, key=lambda name: rates[name])
    return {
        "ways": {name: _told(taken) for name, taken in turns.items()},
        "best": best,
        "best_by_default": round(rates[best] / rates[DEFAULT], 2),
    }


class _Process:
    """Implements `Way` by a process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def turn(self) -> Turn:
        """Raises `RuntimeError` if the process has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a process that indexes has ended; its error is above")
        return Turn(**json.loads(line))


@contextlib.contextmanager
def way_process(photos: Path, model: str, way: Mapping[str, str]) -> Iterator[Way]:
    """A process that indexes in the environment of a way, ready for its first turn."""
    plain = {name: value for name, value in os.environ.items() if name not in OF_THE_USER}
    command = [sys.executable, "-m", __spec__.name, "--serve", str(photos), "--model", model]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=plain | way, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            way_of = _Process(process)
            way_of.turn()  # which loads the model
            yield way_of
        finally:
            process.kill()


@contextlib.contextmanager
def busy(neighbours: int) -> Iterator[None]:
    """Processes that compute until the block ends."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(neighbours)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def _serve(photos: Path, model: str) -> None:
    """Index the photos for every line that comes."""
    settings, files = read_settings({**os.environ, "ANYSEEK_HOME": str(default_home())}), sorted(photos.iterdir())
    with Runtime.open(settings, model) as runtime:
        run = indexer(files, runtime.embedder, settings)
        for _ in sys.stdin:
            pace = run()
            print(json.dumps({"rate": pace.rate, "processor_ms": pace.processor_ms}), flush=True)


def _told(turns: Sequence[Turn]) -> dict[str, float]:
    rates = [turn.rate for turn in turns]
    return {
        "photos_a_second": round(statistics.median(rates), 1),
        "least": round(min(rates), 1),
        "most": round(max(rates), 1),
        "processor_ms": round(statistics.median(turn.processor_ms for turn in turns), 1),
    }


def _as_text(report: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"{report['cores']} cores, load {report['load']} to {report['load_at_the_end']}, {report['date']}, "
        f"{report['model']}, medians of {report['rounds']} rounds"
    )
    for count, found in report["neighbours"].items():
        yield f"\n| beside {count} busy processes | photos a second (least-most) | processor |\n|---|---|---|"
        for name, told in found["ways"].items():
            rates = f"{told['photos_a_second']} ({told['least']}-{told['most']})"
            yield f"| {name} | {rates} | {told['processor_ms']} ms |"
        yield f"\nbest: {found['best']}, {found['best_by_default']} times the default"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.guest", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, default=96, help="JPEGs of 320 x 240 (default 96)")
    parser.add_argument("--rounds", type=int, default=5, help="in which every way takes its turn (default 5)")
    parser.add_argument("--neighbours", default="0,1,2", help="busy processes beside it (default 0,1,2)")
    parser.add_argument("--model", default="4m-tiny")
    parser.add_argument("--json", action="store_true", help="one JSON object on one line")
    parser.add_argument("--serve", type=Path, metavar="PHOTOS", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
