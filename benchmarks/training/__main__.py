"""How fast training runs here, what it keeps in memory, and how soon it goes on: see docs/training.md.

    python -m benchmarks.training [--json] [--network tiny] [--batch 8] [--threads 2] [--repetitions 5] [--quick]
    python -m benchmarks.training --device cuda --network B --batch 256   # also model FLOP utilisation, largest batch

Samples are random numbers in memory, with the published 256 input and 256 target tokens, in two modalities each way;
so no data is read. A step is that of the training loop: forward, backward, mean over processes, AdamW, averages.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from anyseek.model.training.pretraining.config import SIZES
from anyseek.model.training.run.launching import leave, run_processes
from benchmarks.training.machine import machine
from benchmarks.training.measures import Way, largest_batch, matrix_rate, measure, published_peak

_MATRIX = 1024


def main() -> None:
    """Measure and print; with `--way`, be one of the processes that are measured."""
    arguments = _parsed()
    if arguments.way:
        _measure_here(Way(**json.loads(arguments.way)), Path(arguments.report))
        return
    torch.set_num_threads(arguments.threads)
    report: dict[str, Any] = {"machine": machine(), "network": arguments.network, "batch": arguments.batch}
    report["device"] = torch.cuda.get_device_name() if arguments.device == "cuda" else "cpu"
    report["rows"] = [_measured(way, arguments.threads) for way in _ways(arguments)]
    if arguments.device == "cuda":
        report |= _of_a_gpu(arguments, report)
    print(json.dumps(report, indent=1) if arguments.json else "\n".join(_table(report)))


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        f"python -m {__package__}", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--network", default="tiny", choices=list(SIZES))
    parser.add_argument("--batch", type=int, default=8, help="samples a step, of all processes together")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of all processes together")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--peak", type=float, help="TFLOP/s of the GPU in bfloat16, where its name is not known")
    parser.add_argument("--quick", action="store_true", help="does it run: a network too small to tell anything")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--report", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.repetitions, arguments.batch = 1, 4
    return arguments


def _ways(arguments: argparse.Namespace) -> list[Way]:
    """One process, keeping activations and computing them twice, and two processes. A single GPU has one process."""
    plain = Way(arguments.network, arguments.batch, arguments.repetitions, arguments.device, quick=arguments.quick)
    alike = asdict(plain)
    ways = [plain, Way(**{**alike, "recomputes": True})]
    if arguments.device == "cpu" or torch.cuda.device_count() > 1:
        ways.append(Way(**{**alike, "processes": 2}))
    return ways


def _measured(way: Way, threads: int) -> dict[str, Any]:
    """A row: what the processes of a way tell, beside the rate of matrix products of the whole machine around them."""
    before = matrix_rate(_MATRIX, way.device)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        os.environ["OMP_NUM_THREADS"] = str(max(threads // way.processes, 1))
        command = [
            sys.executable,
            "-m",
            "benchmarks.training",
            "--way",
            json.dumps(asdict(way)),
            "--report",
            str(report),
        ]
        if run_processes(command, way.processes, lambda line: print(line, file=sys.stderr)):
            raise SystemExit(f"the measurement of {way} failed")
        row: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    rate = (before + matrix_rate(_MATRIX, way.device)) / 2
    row["gemm_gflops"] = rate
    row["share_of_gemm"] = row["gflops"] / rate
    return {**asdict(way), **row}


def _measure_here(way: Way, report: Path) -> None:
    row = measure(way, report.parent)
    if row is not None:
        report.write_text(json.dumps(row), encoding="utf-8")
    leave(0)


def _of_a_gpu(arguments: argparse.Namespace, report: Mapping[str, Any]) -> dict[str, Any]:
    """Model FLOP utilisation of the first row, and the most samples that a step can take at once."""
    peak = arguments.peak or published_peak(report["device"])
    done = report["rows"][0]["gflops"] / 1000
    way = _ways(arguments)
    return {
        "peak_tflops": peak,
        "utilisation": None if peak is None else done / peak,
        "largest_batch": largest_batch(way[0]),
        "largest_batch_recomputing": largest_batch(way[1]),
    }


def _table(report: Mapping[str, Any]) -> Sequence[str]:
    told = report["machine"]
    lines = [
        f"{told['processor']}, {told['threads']} of {told['cores']} cores, torch {told['torch']}, {told['date']}, "
        f"load {told['load']:.1f}; {report['network']}, {report['batch']} samples a step, on {report['device']}",
        "",
        "| processes | blocks | seconds (min-max) | tokens/s | GFLOP/s | GEMM | share | averaging |",
        "|---|---|---|---|---|---|---|---|",
        *(_speed(row) for row in report["rows"]),
        "",
        "| processes | blocks | weights | gradients | moments | averaged | activations | saves | resume |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_memory(row) for row in report["rows"]),
    ]
    if "utilisation" in report:
        share = "unknown (give --peak)" if report["utilisation"] is None else f"{report['utilisation']:.1%}"
        lines += [
            "",
            f"model FLOP utilisation {share}; largest batch {report['largest_batch']}, "
            f"computing blocks twice {report['largest_batch_recomputing']}",
        ]
    return lines


def _named(row: Mapping[str, Any]) -> str:
    return f"| {row['processes']} | {'computed twice' if row['recomputes'] else 'kept'} "


def _speed(row: Mapping[str, Any]) -> str:
    return _named(row) + (
        f"| {row['seconds']:.2f} ({row['seconds_min']:.2f}-{row['seconds_max']:.2f}) | {row['tokens_per_second']:.0f} "
        f"| {row['gflops']:.1f} | {row['gemm_gflops']:.1f} | {row['share_of_gemm']:.2f} | {row['averaging']:.0%} |"
    )


def _memory(row: Mapping[str, Any]) -> str:
    kinds = " | ".join(f"{row['bytes'][kind]:.1f}" for kind in ("weights", "gradients", "moments", "averages"))
    return _named(row) + (
        f"| {kinds} | {row['kept'] / 2**20:.0f} MiB | {row['save_seconds']:.2f} s | {row['resume_seconds']:.2f} s |"
    )


if __name__ == "__main__":
    main()
