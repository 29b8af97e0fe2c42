"""How fast a published 4M network embeds here, and how far bfloat16 and int8 are from float32: see docs/speed.md.

    python -m benchmarks.model [--json] [--threads 2] [--repetitions 5] [--one] [--quick]

Weights are random, of the shape of 4M-21_B. Needs about 6 GB of memory and, with `--repetitions 5`, five minutes on two
quiet cores. `--quick` runs everything once on a network small enough to say nothing about speed.
"""

import argparse
import json
from collections.abc import Mapping
from typing import Any

import torch

from benchmarks.model.networks import CASES, INT8, PUBLISHED, SMALL, Networks, Variant
from benchmarks.model.rounding import rounding
from benchmarks.model.timing import gemm_rate, machine, measure


def main() -> None:
    """Read the arguments, measure and print."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    repetitions = 1 if arguments.quick else arguments.repetitions
    networks = Networks(SMALL if arguments.quick else PUBLISHED)
    cases = [case for case in CASES if case.batch == 1 or not arguments.one]
    with torch.inference_mode():
        report = {
            "machine": machine(),
            "network": "small, for --quick" if arguments.quick else "4M-21_B, random weights",
            "repetitions": repetitions,
            "gemm": _gemm_rates(repetitions, 256 if arguments.quick else 1024),
            "cases": measure(networks, cases, repetitions, 256 if arguments.quick else 1024),
            "rounding": {dtype: rounding(networks, Variant(dtype)) for dtype in ("bfloat16", INT8)},
        }
    print(json.dumps(report) if arguments.json else as_table(report))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        f"python -m {__package__}", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on one line")
    parser.add_argument("--quick", action="store_true", help="once, on a small network: does it run")
    parser.add_argument("--threads", type=int, default=2, help="of torch (default 2)")
    parser.add_argument("--one", action="store_true", help="one picture or caption at a time, and not 16 of them")
    parser.add_argument("--repetitions", type=int, default=5, help="timed runs of each case (default 5)")
    return parser.parse_args()


def _gemm_rates(repetitions: int, side: int) -> dict[str, float]:
    """GFLOP/s of square products, the best of several."""
    return {
        f"{dtype} {size}": max(gemm_rate(size, getattr(torch, dtype)) for _ in range(repetitions + 2))
        for dtype in ("float32", "bfloat16")
        for size in (side, 4 * side)
    }


def as_table(report: Mapping[str, Any]) -> str:
    """What a person reads; `--json` has more."""
    machine = report["machine"]
    lines = [
        f"{machine['processor']}, {machine['threads']} of {machine['cores']} cores, torch {machine['torch']}, "
        f"{machine['date']}, load {machine['load']:.1f}; {report['network']}; median of {report['repetitions']}",
        "matrix products, GFLOP/s: " + ", ".join(f"{name} {rate:.0f}" for name, rate in report["gemm"].items()),
        "",
        "| input | variant | seconds (min-max) | ms each | s of a core | GFLOP | GFLOP/s | GEMM | ratio | of plain |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(_case(row) for row in report["cases"]),
        "",
        *(line for dtype, told in report["rounding"].items() for line in _rounding(dtype, told)),
    ]
    return "\n".join(lines)


def _case(row: Mapping[str, Any]) -> str:
    return (
        f"| {row['input']} x {row['batch']} | {row['variant']} "
        f"| {row['seconds']:.3f} ({row['seconds_min']:.3f}-{row['seconds_max']:.3f}) "
        f"| {1000 * row['seconds_per_item']:.1f} | {row['processor_seconds']:.3f} "
        f"| {row['gflop']:.1f} | {row['gflops']:.0f} | {row['gemm_gflops']:.0f} "
        f"| {row['ratio']:.2f} | {row['ratio_of_plain']:.2f} |"
    )


def _rounding(dtype: str, told: Mapping[str, Any]) -> list[str]:
    bundled = told["bundled weights"]
    if isinstance(bundled, str):
        bundled = {bundled: {}}
    rows = {f"random weights, {name}": row for name, row in told["random weights"].items()}
    rows |= {f"bundled weights, {name}": row for name, row in bundled.items()}
    return [
        f"{dtype}, {name}: " + ", ".join(f"{key} {value:.7g}" for key, value in row.items())
        for name, row in rows.items()
    ]


if __name__ == "__main__":
    main()
