"""How long commands take that do little, most of which is starting: docs/speed.md.

    python -m benchmarks.starting [--repetitions 5] [--model hashing] [--json]

Each command runs in a process of its own, in a data directory with a few small pictures, without a service. The
commands take turns. Beside the seconds of the clock there are those of the processor, which other work hardly moves.
Then the query runs stage by stage, and what each stage takes of the processor is printed.
"""

import argparse
import gc
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

PICTURES = 12
WORDS = "a red square"
COLLECTION = "pictures"
_PROGRAM = "import sys; from anyseek.api.cli import main; sys.argv[0] = 'anyseek'; main()"
_STAGES = "from benchmarks.starting import print_stages; print_stages()"
Taken = dict[str, list[tuple[float, float]]]


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        environment = prepared(Path(folder), arguments.model, arguments.models)
        told = measured(Path(folder), environment, arguments.repetitions)
        stages = stages_of_query(environment, arguments.repetitions)
    if arguments.json:
        print(json.dumps({"commands": told, "stages": stages}))
        return
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d')}, {arguments.model}\n")
    print("| command | processor s, median (least-most) | seconds |\n| --- | --- | --- |")
    for name, row in told.items():
        print(f"| {name} | {row['cpu']} ({row['cpu_least']}-{row['cpu_most']}) | {row['seconds']} |")
    print("\n| stage of the query | processor s |\n| --- | --- |")
    for name, seconds in stages.items():
        print(f"| {name} | {seconds} |")


def prepared(folder: Path, model: str, models: Path | None) -> dict[str, str]:
    """Index a few pictures, and give the environment of commands that work on them.

    `models` is a folder with downloaded files that the model needs.
    """
    home, pictures = folder / "home", folder / "pictures"
    home.mkdir()
    if models is not None:
        (home / "models").symlink_to(models.absolute())
    _draw(pictures)
    environment = {**os.environ, "ANYSEEK_HOME": str(home), "ANYSEEK_MODEL": model}
    _run(_index(folder), environment)
    return environment


def measured(folder: Path, environment: Mapping[str, str], repetitions: int) -> dict[str, dict[str, float]]:
    """Seconds of each command in the folder and with the environment of `prepared`."""
    light = ("--help", "jobs list", "keys list", "audit", "sources list", "collections list", "items list")
    commands: dict[str, Sequence[str]] = {name: name.split() for name in light}
    commands["index, nothing changed"] = _index(folder)
    commands["query, no service"] = ("query", "--collection", COLLECTION, WORDS)
    taken: Taken = {name: [] for name in commands}
    for _ in range(repetitions):
        for name, command in commands.items():
            taken[name].append(_run(command, environment))
    return {name: _told(runs) for name, runs in taken.items()}


def stages_of_query(environment: Mapping[str, str], repetitions: int) -> dict[str, float]:
    """Median seconds of the processor that each stage of the query takes; the stages are those of the command."""
    runs: list[dict[str, float]] = []
    for _ in range(repetitions):
        before = _processor()
        program = [sys.executable, "-c", _STAGES]
        done = subprocess.run(program, env=environment, check=True, capture_output=True, text=True)
        stages = json.loads(done.stdout)
        runs.append({**stages, "leaving": _processor() - before - sum(stages.values())})
    return {name: round(statistics.median(run[name] for run in runs), 2) for name in runs[0]}


def print_stages() -> None:
    """Answer the query in this process and print the seconds of each stage but the last as JSON, as a child does."""
    stages, marks = {}, [0.0]

    def ended(stage: str) -> None:
        marks.append(time.process_time())
        stages[stage] = marks[-1] - marks[-2]

    ended("Python itself")
    import anyseek.api.commands.query
    import anyseek.api.queries.answering
    import anyseek.workers.runtime  # noqa: F401
    from anyseek import Client

    ended("imports without torch")
    with Client() as client:
        client.collections()
        ended("opening the catalogue")
        if os.environ["ANYSEEK_MODEL"] != "hashing":
            import torch  # noqa: F401
        ended("importing torch")
        client.models()
        ended("importing and loading the model")
        client.query(COLLECTION, WORDS)
        ended("opening the index, embedding and searching")
    print(json.dumps(stages))
    gc.freeze()


def _index(folder: Path) -> Sequence[str]:
    return ("index", str(folder / "pictures"), "--collection", COLLECTION, "--json")


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
    import numpy as np  # here, so that the stages of a query are not timed without their imports
    from PIL import Image

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
