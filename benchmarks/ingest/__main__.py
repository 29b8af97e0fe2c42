"""Rate of inputs into a collection, beside that of the model alone: docs/indexing.md.

    python -m benchmarks.ingest [--json] [--large 64] [--small 256] [--rounds 3] [--workers]
    python -m benchmarks.ingest --large 0 --beside /MODELS/another

Files are generated in a temporary folder, 200 MB for 64 large ones. The model 4m-tiny is measured where its encoders
have been pulled, `--workers` where PostgreSQL and Redis are installed. `--beside` indexes with another model in the
turns of 4m-tiny.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anyseek.model.errors import WeightsMissing
from anyseek.model.home import default_home
from anyseek.model.registry.loading import load_embedder
from anyseek.search.settings import Settings, Work
from benchmarks.ingest.rates import LARGE, SMALL, Pace, Run, bare_loop, decoding_ms, indexer, make_photos
from benchmarks.ingest.workers import ServersMissing, team

BARE = "bare loop"
BUNDLED = "4m-tiny"


@dataclass(frozen=True)
class Case:
    """What is measured side by side: files, a model, and how many threads decode."""

    files: str
    model: str
    threads: int


CASES = (
    Case("large", "hashing", 1),
    Case("large", "hashing", 2),
    Case("small", "hashing", 2),
    Case("small", BUNDLED, 2),
)


def main() -> None:
    """Read the arguments, measure and print."""
    arguments = _arguments()
    report: dict[str, Any] = {"machine": _machine(), "rounds": arguments.rounds, "cases": []}
    with tempfile.TemporaryDirectory() as scratch:
        files = {
            "large": make_photos(Path(scratch, "large"), arguments.large, LARGE),
            "small": make_photos(Path(scratch, "small"), arguments.small, SMALL),
        }
        report["decoding_ms"] = {name: round(decoding_ms(some), 2) for name, some in files.items() if some}
        for case in CASES:
            if files[case.files]:
                report["cases"].append(vars(case) | _rates(case, files[case.files], arguments))
        if arguments.workers:
            report["cases"].append(_workers(Path(scratch), files["large"], arguments.rounds))
    report["machine"]["load_at_the_end"] = round(os.getloadavg()[0], 1)
    print(json.dumps(report) if arguments.json else "\n".join(_as_text(report)))


def _rates(case: Case, files: Sequence[Path], arguments: argparse.Namespace) -> dict[str, Any]:
    """The bare loop and the indexer, or why they could not be measured."""
    home = default_home()
    settings = Settings(Path(), work=replace(Work(), decoding_threads=case.threads))
    try:
        embedder = load_embedder(case.model, home)
    except WeightsMissing as error:
        return {"left_out": str(error)}
    ways = {BARE: bare_loop(files, embedder, settings.work), "indexer": indexer(files, embedder, settings)}
    if arguments.beside and case.model == BUNDLED:
        ways[f"indexer, {arguments.beside}"] = indexer(files, load_embedder(arguments.beside, home), settings)
    return _in_turns(ways, arguments.rounds)


def _workers(scratch: Path, files: Sequence[Path], rounds: int) -> dict[str, Any]:
    """The bare loop, one worker and two of them with a thread each, or why they could not be measured.

    Tasks and batches are small, because files are few: one task of the default size would have all of them.
    """
    work = replace(Work(), decoding_threads=1, inputs_per_task=max(16, len(files) // 8), inputs_per_batch=8)
    hashing = load_embedder("hashing", default_home())
    told = vars(Case("large", hashing.name, work.decoding_threads))
    try:
        with team(scratch, files, hashing, work) as of:
            ways = {BARE: bare_loop(files, hashing, work), "1 worker": of(1), "2 workers": of(2)}
            return told | _in_turns(ways, rounds)
    except ServersMissing as error:
        return told | {"left_out": str(error)}


def _in_turns(ways: Mapping[str, Run], rounds: int) -> dict[str, Any]:
    """Inputs a second of each, and by the bare loop: medians of the rounds, each of which has all of them."""
    for run in ways.values():
        run()  # reads the files into the system's memory, and wakes what sleeps
    found = [{name: run() for name, run in ways.items()} for _ in range(rounds)]
    return {"ways": {name: _summary([turn[name] for turn in found], [turn[BARE] for turn in found]) for name in ways}}


def _summary(paces: Sequence[Pace], bare: Sequence[Pace]) -> dict[str, Any]:
    rates = [pace.rate for pace in paces]
    told: dict[str, Any] = {
        "inputs_a_second": round(statistics.median(rates), 1),
        "least_most": [round(min(rates), 1), round(max(rates), 1)],
        "of_bare_loop": round(
            statistics.median(pace.rate / plain.rate for pace, plain in zip(paces, bare, strict=True)), 2
        ),
    }
    if processor := [pace.processor_ms for pace in paces if pace.processor_ms]:
        plain = statistics.median(pace.processor_ms for pace in bare if pace.processor_ms)
        told["processor_ms"] = round(statistics.median(processor), 2)
        told["of_bare_loop_by_processor"] = round(plain / statistics.median(processor), 2)
    return told


def _machine() -> dict[str, Any]:
    return {
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
        "load": round(os.getloadavg()[0], 1),
    }


def _as_text(report: Mapping[str, Any]) -> Iterator[str]:
    machine = report["machine"]
    yield ", ".join(f"{name} {value}" for name, value in machine.items()) + f"; medians of {report['rounds']} rounds"
    yield ", ".join(f"to decode a {name} file takes {ms} ms of a core" for name, ms in report["decoding_ms"].items())
    yield ""
    yield "| files | model | threads | way | inputs a second (least-most) | ratio | processor | ratio by that |"
    yield "|---" * 8 + "|"
    for case in report["cases"]:
        yield from _rows(case)


def _rows(case: Mapping[str, Any]) -> Iterator[str]:
    start = f"| {case['files']} | {case['model']} | {case['threads']} |"
    if "left_out" in case:
        yield f"{start} left out: {case['left_out']} | | | | |"
        return
    for name, told in case["ways"].items():
        least, most = told["least_most"]
        row = f"{start} {name} | {told['inputs_a_second']} ({least}-{most}) | {told['of_bare_loop']} |"
        processor = f"{told['processor_ms']} ms" if "processor_ms" in told else ""
        yield f"{row} {processor} | {told.get('of_bare_loop_by_processor', '')} |"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        f"python -m {__package__}", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on one line")
    parser.add_argument("--large", type=int, default=64, help="JPEGs of 12 megapixels (default 64)")
    parser.add_argument("--small", type=int, default=256, help="JPEGs of 320 x 240 (default 256)")
    parser.add_argument("--rounds", type=int, default=3, help="in which every way takes its turn (default 3)")
    parser.add_argument("--beside", metavar="MODEL", help="another model to index small files with, beside 4m-tiny")
    parser.add_argument("--workers", action="store_true", help="with PostgreSQL and Redis, started for it")
    return parser.parse_args()


if __name__ == "__main__":
    main()
