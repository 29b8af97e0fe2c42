"""Duration of small commands, which is mostly their start: docs/speed.md.

    python -m benchmarks.starting [--repetitions 5] [--model hashing] [--json]

Each command runs in a process of its own, in a data directory with a few small pictures, without a service. The
commands take turns. Besides wall time, processor time is reported, which other load hardly changes. Then the query runs
stage by stage, and the processor time of each stage is printed.
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

from benchmarks.reporting import markdown_table, option_parser

PICTURES = 12
WORDS = "a red square"
COLLECTION = "pictures"
_PROGRAM = "import sys; from anyseek.api.cli import main; sys.argv[0] = 'anyseek'; main()"
_STAGES = "from benchmarks.starting import print_stages; print_stages()"

Times = tuple[float, float]  # seconds of the processor and of the clock


def main() -> None:
    arguments = _parse_options()
    with tempfile.TemporaryDirectory() as folder:
        environment = prepare(Path(folder), arguments.model, arguments.models)
        summaries = measure(Path(folder), environment, arguments.repetitions)
        stages = stages_of_query(environment, arguments.repetitions)
    if arguments.json:
        print(json.dumps({"commands": summaries, "stages": stages}))
        return
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d')}, {arguments.model}\n")
    rows = [
        (name, f"{row['cpu']} ({row['cpu_least']}-{row['cpu_most']})", row["seconds"])
        for name, row in summaries.items()
    ]
    print(markdown_table(("command", "processor s, median (least-most)", "seconds"), rows))
    print("\n" + markdown_table(("stage of the query", "processor s"), list(stages.items())))


def prepare(folder: Path, model: str, models: Path | None) -> dict[str, str]:
    """Index a few pictures and return the environment of commands that use them.

    `models` is the folder of downloaded files that the model needs.
    """
    home, pictures = folder / "home", folder / "pictures"
    home.mkdir()
    if models is not None:
        (home / "models").symlink_to(models.absolute())
    _make_pictures(pictures)
    environment = {**os.environ, "ANYSEEK_HOME": str(home), "ANYSEEK_MODEL": model}
    _run(_index_command(folder), environment)
    return environment


def measure(folder: Path, environment: Mapping[str, str], repetitions: int) -> dict[str, dict[str, float]]:
    """Times of each command, in the folder and environment of `prepare`."""
    listings = ("--help", "jobs list", "keys list", "audit", "sources list", "collections list", "items list")
    commands: dict[str, Sequence[str]] = {name: name.split() for name in listings}
    commands["index, nothing changed"] = _index_command(folder)
    commands["query, no service"] = ("query", "--collection", COLLECTION, WORDS)
    times: dict[str, list[Times]] = {name: [] for name in commands}
    for _ in range(repetitions):
        for name, command in commands.items():
            times[name].append(_run(command, environment))
    return {name: _summarise(runs) for name, runs in times.items()}


def stages_of_query(environment: Mapping[str, str], repetitions: int) -> dict[str, float]:
    """Median processor seconds of each stage of `anyseek query`, run in a process of its own."""
    runs: list[dict[str, float]] = []
    for _ in range(repetitions):
        before = _processor_seconds()
        program = [sys.executable, "-c", _STAGES]
        process = subprocess.run(program, env=environment, check=True, capture_output=True, text=True)
        stages = json.loads(process.stdout)
        runs.append({**stages, "leaving": _processor_seconds() - before - sum(stages.values())})
    return {name: round(statistics.median(run[name] for run in runs), 2) for name in runs[0]}


def print_stages() -> None:
    """Answer the query and print the processor seconds of each stage but the exit as JSON; runs in a child process."""
    stages, marks = {}, [0.0]

    def end_stage(stage: str) -> None:
        marks.append(time.process_time())
        stages[stage] = marks[-1] - marks[-2]

    end_stage("Python itself")
    import anyseek.api.commands.query
    import anyseek.api.queries.answering
    import anyseek.workers.runtime  # noqa: F401
    from anyseek import Client

    end_stage("imports without torch")
    with Client() as client:
        client.collections()
        end_stage("opening the catalogue")
        if os.environ["ANYSEEK_MODEL"] != "hashing":
            import torch  # noqa: F401
        end_stage("importing torch")
        client.models()
        end_stage("importing and loading the model")
        client.query(COLLECTION, WORDS)
        end_stage("opening the index, embedding and searching")
    print(json.dumps(stages))
    gc.freeze()


def _index_command(folder: Path) -> Sequence[str]:
    return ("index", str(folder / "pictures"), "--collection", COLLECTION, "--json")


def _run(command: Sequence[str], environment: Mapping[str, str]) -> Times:
    before, start = _processor_seconds(), time.perf_counter()
    subprocess.run([sys.executable, "-c", _PROGRAM, *command], env=environment, check=True, capture_output=True)
    return _processor_seconds() - before, time.perf_counter() - start


def _processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _summarise(runs: Sequence[Times]) -> dict[str, float]:
    processor, clock = zip(*runs, strict=True)
    least, most = round(min(processor), 2), round(max(processor), 2)
    middle = {"cpu": round(statistics.median(processor), 2), "seconds": round(statistics.median(clock), 2)}
    return {**middle, "cpu_least": least, "cpu_most": most}


def _make_pictures(folder: Path) -> None:
    import numpy as np  # here, because the stages of a query time their own imports
    from PIL import Image

    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(PICTURES):
        squares = np.kron(rng.integers(0, 255, (8, 8, 3)), np.ones((16, 16, 1)))
        Image.fromarray(squares.astype(np.uint8)).save(folder / f"{number}.png")


def _parse_options() -> argparse.Namespace:
    parser = option_parser("starting", __doc__)
    parser.add_argument("--repetitions", type=int, default=5, help="runs of each command (default 5)")
    parser.add_argument(
        "--model", default="hashing", help="model that indexes and queries (default hashing, which needs no file)"
    )
    parser.add_argument("--models", type=Path, help="the folder `models` of a data directory, for a model with files")
    return parser.parse_args()


if __name__ == "__main__":
    main()
