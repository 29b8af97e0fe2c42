"""Runs every benchmark that needs no data of yours, one after another, and says which fail: so none of them rots.

    python -m benchmarks.all --quick [--only NAME ...] [--seconds 600] [--json]

`--quick` gives each the smallest numbers with which it still does all that it does: the table tells that they run, and
their figures tell nothing. Without it each runs as long as it takes. What a benchmark prints is shown if it fails.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).parents[1]
_SHOWN = 3_000  # characters of what a benchmark said that failed

# The arguments that make each small.
QUICK: dict[str, Sequence[str]] = {
    "ingest": ("--large", "2", "--small", "8", "--rounds", "1"),
    "load": ("--items", "50", "--clients", "2", "--seconds", "1"),
    "scale": ("--quick", "--json"),
    "dearest": ("--items", "300"),
    "search": ("--vectors", "2000", "--dimension", "32", "--queries", "10", "--seconds", "0.2", "--clients", "2"),
    "search.clients": (
        *("--asked", "captions,vectors,two-parts"),
        *("--model", "hashing", "--items", "20", "--seconds", "0.2", "--rounds", "1"),
        *("--clients", "2"),
    ),
    "starting": ("--repetitions", "1"),
    "structure": (),
    "training": ("--quick",),
    "walks": (),
}
# What these need is no part of the repository; their tests make the smallest of it.
NEED = {
    "page": "a service with a collection, and a browser",
}


@dataclass(frozen=True)
class Ran:
    """How one benchmark ended, after how many seconds; `said` is what it printed if it failed."""

    benchmark: str
    seconds: float
    outcome: str
    said: str = ""


def main() -> int:
    """Run them and print a row for each; 1 if any failed."""
    options = _options()
    every = []
    for name in options.only or QUICK:
        one = run(name, QUICK[name] if options.quick else (), options.seconds)
        print(f"{name}: {one.outcome}, {one.seconds:g} s\n{one.said}", file=sys.stderr, end="", flush=True)
        every.append(one)
    print(json.dumps([asdict(one) for one in every]) if options.json else table(every))
    return int(any(one.outcome != "ok" for one in every))


def run(name: str, arguments: Sequence[str], most_seconds: float) -> Ran:
    """Run a benchmark in a process of its own."""
    began = time.perf_counter()
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=HERE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=most_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Ran(name, most_seconds, "took too long")
    seconds = round(time.perf_counter() - began, 1)
    if done.returncode:
        return Ran(name, seconds, f"exit {done.returncode}", f"{' '.join(command)}\n{done.stdout[-_SHOWN:]}\n")
    return Ran(name, seconds, "ok" if done.stdout.strip() else "printed nothing")


def table(every: Sequence[Ran]) -> str:
    """A row for each, and one for each that was not run, with what it needs."""
    rows = ["| benchmark | seconds | outcome |", "|---|---|---|"]
    rows += [f"| {one.benchmark} | {one.seconds:g} | {one.outcome} |" for one in every]
    rows += [f"| {name} | | not run: it needs {what} |" for name, what in NEED.items()]
    return "\n".join([*rows, "", f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores"])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.all", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="with the smallest numbers: do they run")
    parser.add_argument("--only", nargs="+", choices=sorted(QUICK), help="these alone")
    parser.add_argument("--seconds", type=float, default=600.0, help="the most for each (default 600)")
    parser.add_argument("--json", action="store_true", help="one JSON array on one line")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
