"""Inputs per second of indexing, compared with the model alone: docs/indexing.md.

    python -m benchmarks.ingest [--json] [--large 64] [--small 256] [--rounds 3] [--workers]
    python -m benchmarks.ingest --large 0 --beside /MODELS/another

Files are generated in a temporary folder, 200 MB for 64 large ones. The model 4m-tiny is measured if its encoders have
been pulled; `--workers` needs PostgreSQL and Redis. `--beside` also indexes with another model, in the rounds of
4m-tiny.
"""

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anyseek.model.errors import WeightsMissing
from anyseek.model.home import default_home
from anyseek.model.registry.loading import load_embedder
from anyseek.search.settings import Settings, Work
from benchmarks.ingest.rates import LARGE, SMALL, Rate, Run, bare_loop, decoding_ms, indexer, make_photos
from benchmarks.ingest.workers import ServersMissing, worker_runs
from benchmarks.reporting import machine, markdown_table, option_parser

BARE = "bare loop"
BUNDLED = "4m-tiny"


@dataclass(frozen=True)
class Case:
    """A comparison: size of files, model, and number of decoding threads."""

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
    arguments = _parse_options()
    report: dict[str, Any] = {"machine": machine(), "rounds": arguments.rounds, "cases": []}
    with tempfile.TemporaryDirectory() as scratch:
        files = {
            "large": make_photos(Path(scratch, "large"), arguments.large, LARGE),
            "small": make_photos(Path(scratch, "small"), arguments.small, SMALL),
        }
        report["decoding_ms"] = {name: round(decoding_ms(paths), 2) for name, paths in files.items() if paths}
        for case in CASES:
            if files[case.files]:
                report["cases"].append(vars(case) | _compare(case, files[case.files], arguments))
        if arguments.workers:
            report["cases"].append(_compare_workers(Path(scratch), files["large"], arguments.rounds))
    report["machine"]["load_at_the_end"] = round(os.getloadavg()[0], 1)
    print(json.dumps(report) if arguments.json else _as_text(report))


def _compare(case: Case, files: Sequence[Path], arguments: argparse.Namespace) -> dict[str, Any]:
    """Rates of the bare loop and of the indexer, or why they could not be measured."""
    home = default_home()
    settings = Settings(Path(), work=replace(Work(), decoding_threads=case.threads))
    try:
        embedder = load_embedder(case.model, home)
    except WeightsMissing as error:
        return {"left_out": str(error)}
    ways = {BARE: bare_loop(files, embedder, settings.work), "indexer": indexer(files, embedder, settings)}
    if arguments.beside and case.model == BUNDLED:
        ways[f"indexer, {arguments.beside}"] = indexer(files, load_embedder(arguments.beside, home), settings)
    return _run_in_turns(ways, arguments.rounds)


def _compare_workers(scratch: Path, files: Sequence[Path], rounds: int) -> dict[str, Any]:
    """Rates of the bare loop, one worker and two workers with a thread each, or why they could not be measured.

    Tasks and batches are small, because files are few: one task of the default size would take all of them.
    """
    work = replace(Work(), decoding_threads=1, inputs_per_task=max(16, len(files) // 8), inputs_per_batch=8)
    hashing = load_embedder("hashing", default_home())
    case = vars(Case("large", hashing.name, work.decoding_threads))
    try:
        with worker_runs(scratch, files, hashing, work) as workers:
            ways = {BARE: bare_loop(files, hashing, work), "1 worker": workers(1), "2 workers": workers(2)}
            return case | _run_in_turns(ways, rounds)
    except ServersMissing as error:
        return case | {"left_out": str(error)}


def _run_in_turns(ways: Mapping[str, Run], rounds: int) -> dict[str, Any]:
    """Medians of the rates over the rounds, absolute and relative to the bare loop; each round runs every way."""
    for run in ways.values():
        run()  # warms up: the page cache has the files then
    results = [{name: run() for name, run in ways.items()} for _ in range(rounds)]
    return {"ways": {name: _summary([row[name] for row in results], [row[BARE] for row in results]) for name in ways}}


def _summary(rates: Sequence[Rate], bare: Sequence[Rate]) -> dict[str, Any]:
    speeds = [rate.inputs_per_second for rate in rates]
    ratios = (speed / plain.inputs_per_second for speed, plain in zip(speeds, bare, strict=True))
    summary: dict[str, Any] = {
        "inputs_a_second": round(statistics.median(speeds), 1),
        "least_most": [round(min(speeds), 1), round(max(speeds), 1)],
        "of_bare_loop": round(statistics.median(ratios), 2),
    }
    if processor := [rate.processor_ms for rate in rates if rate.processor_ms]:
        plain_ms = statistics.median(rate.processor_ms for rate in bare if rate.processor_ms)
        summary["processor_ms"] = round(statistics.median(processor), 2)
        summary["of_bare_loop_by_processor"] = round(plain_ms / statistics.median(processor), 2)
    return summary


def _as_text(report: Mapping[str, Any]) -> str:
    facts = ", ".join(f"{name} {value}" for name, value in report["machine"].items())
    decoding = (f"decoding a {name} file takes {ms} ms of a core" for name, ms in report["decoding_ms"].items())
    header = ("files", "model", "threads", "way", "inputs a second (least-most)", "ratio", "processor", "ratio by that")
    table = markdown_table(header, [row for case in report["cases"] for row in _rows(case)])
    return f"{facts}; medians of {report['rounds']} rounds\n{', '.join(decoding)}\n\n{table}"


def _rows(case: Mapping[str, Any]) -> Iterator[Sequence[object]]:
    start = (case["files"], case["model"], case["threads"])
    if "left_out" in case:
        yield (*start, f"left out: {case['left_out']}", "", "", "", "")
        return
    for name, summary in case["ways"].items():
        least, most = summary["least_most"]
        processor = f"{summary['processor_ms']} ms" if "processor_ms" in summary else ""
        speed = f"{summary['inputs_a_second']} ({least}-{most})"
        yield (*start, name, speed, summary["of_bare_loop"], processor, summary.get("of_bare_loop_by_processor", ""))


def _parse_options() -> argparse.Namespace:
    parser = option_parser("ingest", __doc__)
    parser.add_argument("--large", type=int, default=64, help="JPEGs of 12 megapixels (default 64)")
    parser.add_argument("--small", type=int, default=256, help="JPEGs of 320 x 240 (default 256)")
    parser.add_argument("--rounds", type=int, default=3, help="in each, everything compared runs once (default 3)")
    parser.add_argument("--beside", metavar="MODEL", help="another model to index small files with")
    parser.add_argument(
        "--workers", action="store_true", help="also measure workers, with PostgreSQL and Redis started for it"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
