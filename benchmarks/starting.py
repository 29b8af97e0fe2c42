"""How long commands take that do little, most of which is starting: docs/speed.md.

    python -m benchmarks.starting [--repetitions 5] [--model hashing] [--json]

Each command runs in a process of its own, in a data directory with a few small pictures, without a service. The
commands take turns. Beside the seconds of the clock there are those of the processor, which other work hardly moves.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PICTURES = 12
_PROGRAM = "import sys; from api.cli import main; sys.argv[0] = 'anyseek'; main()"
Taken = dict[str, list[tuple[float, float]]]


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        told = measured(Path(folder), arguments.model, arguments.models, arguments.repetitions)
    if arguments.json:
        print(json.dumps(told))
        return
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d')}, {arguments.model}\n")
    print("| command | processor s, median (least-most) | seconds |\n| --- | --- | --- |")
    for name, row in told.items():
        print(f"| {name} | {row['cpu']} ({row['cpu_least']}-{row['cpu_most']}) | {row['seconds']} |")


def measured(folder: Path, model: str, models: Path | None, repetitions: int) -> dict[str, dict[str, float]]:
    """Seconds of each command; `models` is a folder with downloaded files that the model needs."""
    home, pictures = folder / "home", folder / "pictures"
    home.mkdir()
    if models is not None:
        (home / "models").symlink_to(models.absolute())
    _draw(pictures)
    environment = {**os.environ, "ANYSEEK_HOME": str(home), "ANYSEEK_MODEL": model}
    index = ("index", str(pictures), "--collection", "pictures", "--json")
    commands = {
        "--help": ("--help",),
        "jobs list": ("jobs", "list"),
        "index, nothing changed": index,
        "query, no service": ("query", "--collection", "pictures", "a red square"),
    }
    _run(index, environment)
    taken: Taken = {name: [] for name in commands}
    for _ in range(repetitions):
        for name, command in commands.items():
            taken[name].append(_run(command, environment))
    return {name: _told(runs) for name, runs in taken.items()}


def _run(command: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Seconds of the processor and of the clock."""
    before, began = _processor(), time.perf_counter()
    subprocess.run([sys.executable, "-c", _PROGRAM, *command], env=environment, check=True, capture_output=True)
    return _processor() - before, time.perf_counter() - began


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _told(runs: Sequence[tuple[float, float]]) -> dict[str, float]:
    processor, clock = zip(*runs, strict=True)
    least, most = round(min(processor), 2), round(max(processor), 2)
    middle = {"cpu": round(statistics.median(processor), 2), "seconds": round(statistics.median(clock), 2)}
    return {**middle, "cpu_least": least, "cpu_most": most}


def _draw(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(PICTURES):
        squares = np.kron(rng.integers(0, 255, (8, 8, 3)), np.ones((16, 16, 1)))
        Image.fromarray(squares.astype(np.uint8)).save(folder / f"{number}.png")


def _arguments() -> Any:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.starting", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on one line")
    parser.add_argument("--repetitions", type=int, default=5, help="runs of each command (default 5)")
    parser.add_argument("--model", default="hashing", help="indexes and queries (default hashing, which needs no file)")
    parser.add_argument("--models", type=Path, help="the folder `models` of a data directory, for a model with files")
    return parser.parse_args()


if __name__ == "__main__":
    main()
