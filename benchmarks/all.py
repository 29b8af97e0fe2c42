"""Runs every benchmark that needs no data of yours, one after another, and lists which fail.

    python -m benchmarks.all --quick [--only NAME ...] [--seconds 600] [--json]

`--quick` runs each with its smallest numbers: that shows that they run, but their figures mean nothing. Without it each
runs as long as it takes. The output of a benchmark is shown if it fails.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchmarks.reporting import markdown_table, option_parser
from benchmarks.structure import ROOT

_SHOWN = 3_000  # last characters shown of the output of a benchmark that failed

# The arguments that make each benchmark small.
QUICK: dict[str, Sequence[str]] = {
    "conditions": (),  # prints what is stored
    "ingest": ("--large", "2", "--small", "8", "--rounds", "1"),
    "languages": (),  # prints what is stored
    "load": ("--items", "50", "--clients", "2", "--seconds", "1"),
    "rooms": (),  # prints what is stored
    "scale": ("--quick", "--json"),
    "dearest": ("--items", "300"),
    "relevance": (),  # prints what is stored
    "search": ("--vectors", "2000", "--dimension", "32", "--queries", "10", "--seconds", "0.2", "--clients", "2"),
    "search.clients": (
        *("--asked", "captions,vectors,two-parts", "--model", "hashing", "--items", "20"),
        *("--seconds", "0.2", "--rounds", "1", "--clients", "2"),
    ),
    "sources": (),  # prints what is stored
    "starting": ("--repetitions", "1"),
    "structure": (),
    "teaching": (),  # prints what is stored
    "training": ("--quick",),
    "walks": (),
}
# Benchmarks that need more than the repository, and what they need.
REQUIREMENTS = {
    "page": "a service with a collection, and a browser",
    "search.pgvector": "a PostgreSQL database with pgvector",
}


@dataclass(frozen=True)
class BenchmarkRun:
    """How a benchmark ended, and its duration in seconds; `said` is its output if it failed."""

    benchmark: str
    seconds: float
    outcome: str
    said: str = ""


def main() -> int:
    """Run the benchmarks and print a row for each; return 1 if any failed."""
    options = _parse_options()
    runs = []
    for name in options.only or QUICK:
        run = run_benchmark(name, QUICK[name] if options.quick else (), options.seconds)
        print(f"{name}: {run.outcome}, {run.seconds:g} s\n{run.said}", file=sys.stderr, end="", flush=True)
        runs.append(run)
    print(json.dumps([asdict(run) for run in runs]) if options.json else table(runs))
    return int(any(run.outcome != "ok" for run in runs))


def run_benchmark(name: str, arguments: Sequence[str], timeout: float) -> BenchmarkRun:
    """Run a benchmark in a process of its own for at most `timeout` seconds."""
    start = time.perf_counter()
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    output, errors = subprocess.PIPE, subprocess.STDOUT
    try:
        process = subprocess.run(
            command, cwd=ROOT, stdout=output, stderr=errors, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        return BenchmarkRun(name, timeout, "took too long")
    seconds = round(time.perf_counter() - start, 1)
    if process.returncode:
        details = f"{' '.join(command)}\n{process.stdout[-_SHOWN:]}\n"
        return BenchmarkRun(name, seconds, f"exit {process.returncode}", details)
    return BenchmarkRun(name, seconds, "ok" if process.stdout.strip() else "printed nothing")


def table(runs: Sequence[BenchmarkRun]) -> str:
    """A row for each run, and one for each benchmark that cannot run here, with what it needs."""
    rows = [(run.benchmark, f"{run.seconds:g}", run.outcome) for run in runs]
    rows += [(name, "", f"not run: it needs {needs}") for name, needs in REQUIREMENTS.items()]
    load = f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores"
    return f"{markdown_table(('benchmark', 'seconds', 'outcome'), rows)}\n\n{load}"


def _parse_options() -> argparse.Namespace:
    parser = option_parser("all", __doc__)
    parser.add_argument("--quick", action="store_true", help="use the smallest numbers, only to see that each runs")
    parser.add_argument("--only", nargs="+", choices=sorted(QUICK), help="run only these benchmarks")
    parser.add_argument("--seconds", type=float, default=600.0, help="time limit of each (default 600)")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
