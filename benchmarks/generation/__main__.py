"""What predicting takes with a network of the shape of 4M-21_B, target by target: docs/predicting.md.

    python -m benchmarks.generation                # passes and GFLOP of every default schedule
    python -m benchmarks.generation --time         # also ways of doing the same, timed in turns; minutes, 8 GB
    python -m benchmarks.generation --time --photos 2 --repetitions 2 --json
    python -m benchmarks.generation --time --quick # does it run: on a network too small to tell anything

Weights are random. GFLOP are those of all matrix products, as torch counts them. Times are of the processor, so that
what else a machine does counts for less.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from benchmarks.generation.counting import schedules
from benchmarks.generation.ways import KEYS, rounding, timed
from benchmarks.model.networks import PUBLISHED, SMALL, Networks
from benchmarks.model.timing import machine

_WAYS = ("plain", "later", "ideal")


def main() -> None:
    """Read the arguments, count, time and print."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    config = SMALL if arguments.quick else PUBLISHED
    report: dict[str, Any] = {"machine": machine(), "schedules": schedules(config)}
    if arguments.time:
        networks = Networks(config, KEYS)
        with torch.inference_mode():
            report["rounding"] = rounding(networks, 1 if arguments.quick else 8)
            photos, captions = (sorted({1, count}) for count in (arguments.photos, arguments.captions))
            report["ways"] = timed(networks, photos, captions, arguments.repetitions)
    print(json.dumps(report) if arguments.json else "\n".join(_lines(report)))


def _arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        f"python -m {__package__}", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--time", action="store_true", help="also time ways of predicting")
    parser.add_argument("--quick", action="store_true", help="with a small network: does it run")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default 1); seconds are of all together")
    parser.add_argument("--photos", type=int, default=4, help="predicted from together (default 4)")
    parser.add_argument("--captions", type=int, default=16, help="written together (default 16)")
    parser.add_argument("--repetitions", type=int, default=5, help="timed runs of each way (default 5)")
    parser.add_argument("--json", action="store_true", help="one JSON object on one line")
    return parser.parse_args(given)


def _lines(report: Mapping[str, Any]) -> list[str]:
    about = report["machine"]
    lines = [
        f"{about['processor']}, {about['threads']} of {about['cores']} cores, torch {about['torch']}, "
        f"{about['date']}, load {about['load']:.1f}",
        "",
        f"| from | target | steps, guidance | {' | '.join(f'{way}: passes, GFLOP' for way in _WAYS)} |",
        f"|---|---|---|{'---|' * len(_WAYS)}",
        *(_schedule(row) for row in report["schedules"]),
    ]
    for how, told in report.get("rounding", {}).items():
        lines += ["", f"{how}: " + ", ".join(f"{name} {value:.6g}" for name, value in told.items())]
    if "ways" in report:
        lines += ["", "| what | how | samples | processor ms each, median (least-most) |", "|---|---|---|---|"]
        lines += [_way(row) for row in report["ways"]]
    return lines


def _schedule(row: Mapping[str, Any]) -> str:
    counts = " | ".join(f"{row[way][0]} + {row[way][1]}, {row[way][2]:.0f}" for way in _WAYS)
    return f"| {row['from']} | {row['target']} | {row['steps']} {row['scheme']}, {row['guidance']:g} | {counts} |"


def _way(row: Mapping[str, Any]) -> str:
    median, least, most = (1000 * row[name] for name in ("seconds", "least", "most"))
    return f"| {row['what']} | {row['how']} | {row['samples']} | {median:.0f} ({least:.0f}-{most:.0f}) |"


if __name__ == "__main__":
    main()
