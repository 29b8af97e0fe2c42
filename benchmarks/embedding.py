"""The benchmark `benchmarks/model.py`: what it measures and prints."""

import argparse
import json

import torch

from benchmarks.cases import CASES, Variant
from benchmarks.networks import PUBLISHED, SMALL, Networks
from benchmarks.rounding import rounding
from benchmarks.tables import as_table
from benchmarks.timing import gemm_rate, machine, measure


def main(description: str) -> None:
    """Read the arguments, measure and print."""
    arguments = _arguments(description)
    torch.set_num_threads(arguments.threads)
    repetitions = 1 if arguments.quick else arguments.repetitions
    networks = Networks(SMALL if arguments.quick else PUBLISHED)
    with torch.inference_mode():
        report = {
            "machine": machine(),
            "network": "small, for --quick" if arguments.quick else "4M-21_B, random weights",
            "repetitions": repetitions,
            "gemm": _gemm_rates(repetitions, 256 if arguments.quick else 1024),
            "cases": measure(networks, CASES, repetitions, 256 if arguments.quick else 1024),
            "rounding": rounding(networks, Variant("bfloat16")),
        }
    print(json.dumps(report) if arguments.json else as_table(report))


def _arguments(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on one line")
    parser.add_argument("--quick", action="store_true", help="once, on a small network: does it run")
    parser.add_argument("--threads", type=int, default=2, help="of torch (default 2)")
    parser.add_argument("--repetitions", type=int, default=5, help="timed runs of each case (default 5)")
    return parser.parse_args()


def _gemm_rates(repetitions: int, side: int) -> dict[str, float]:
    """GFLOP/s of square products, the best of several."""
    return {
        f"{dtype} {size}": max(gemm_rate(size, getattr(torch, dtype)) for _ in range(repetitions + 2))
        for dtype in ("float32", "bfloat16")
        for size in (side, 4 * side)
    }
