"""Speed, memory and resumption of training on this machine: see docs/training.md.

    python -m benchmarks.training [--json] [--network tiny] [--batch 8] [--threads 2] [--repetitions 5] [--quick]
    python -m benchmarks.training --device cuda --network B --batch 256   # also model FLOP utilisation, largest batch

Samples are random numbers in memory, with the published 256 input and 256 target tokens, in two modalities each way;
no data is read. A step is that of the training loop: forward, backward, mean over processes, AdamW, weight averages.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from anyseek.model.training.pretraining.config import SIZES
from anyseek.model.training.run.launching import leave, run_processes
from benchmarks.reporting import markdown_table, option_parser
from benchmarks.training.machine import machine
from benchmarks.training.measures import Way, largest_batch, matrix_rate, measure, published_peak

_MATRIX = 1024


def main() -> None:
    """Measure and print; with `--way`, run as one of the measured processes."""
    arguments = _parse_options()
    if arguments.way:
        _measure_in_this_process(Way(**json.loads(arguments.way)), Path(arguments.report))
        return
    torch.set_num_threads(arguments.threads)
    report: dict[str, Any] = {"machine": machine(), "network": arguments.network, "batch": arguments.batch}
    report["device"] = torch.cuda.get_device_name() if arguments.device == "cuda" else "cpu"
    report["rows"] = [_measure_way(way, arguments.threads) for way in _ways(arguments)]
    if arguments.device == "cuda":
        report |= _gpu_report(arguments, report)
    print(json.dumps(report, indent=1) if arguments.json else _as_text(report))


def _parse_options() -> argparse.Namespace:
    parser = option_parser("training", __doc__)
    parser.add_argument("--network", default="tiny", choices=list(SIZES))
    parser.add_argument("--batch", type=int, default=8, help="samples of a step, of all processes together")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of all processes together")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--peak", type=float, help="TFLOP/s of the GPU in bfloat16, if its name is not known")
    parser.add_argument("--quick", action="store_true", help="a network too small to measure, only to see that it runs")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--report", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.repetitions, arguments.batch = 1, 4
    return arguments


def _ways(arguments: argparse.Namespace) -> list[Way]:
    """One process with and without recomputed activations, and two processes unless there is a single GPU."""
    plain = Way(arguments.network, arguments.batch, arguments.repetitions, arguments.device, quick=arguments.quick)
    ways = [plain, replace(plain, recomputes=True)]
    if arguments.device == "cpu" or torch.cuda.device_count() > 1:
        ways.append(replace(plain, processes=2))
    return ways


def _measure_way(way: Way, threads: int) -> dict[str, Any]:
    """Report of the processes of a way, with the rate of matrix products of the machine before and after them."""
    before = matrix_rate(_MATRIX, way.device)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        os.environ["OMP_NUM_THREADS"] = str(max(threads // way.processes, 1))
        options = ["--way", json.dumps(asdict(way)), "--report", str(report)]
        command = [sys.executable, "-m", "benchmarks.training", *options]
        if run_processes(command, way.processes, lambda line: print(line, file=sys.stderr)):
            raise SystemExit(f"the measurement of {way} failed")
        row: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    rate = (before + matrix_rate(_MATRIX, way.device)) / 2
    row["gemm_gflops"] = rate
    row["share_of_gemm"] = row["gflops"] / rate
    return {**asdict(way), **row}


def _measure_in_this_process(way: Way, report: Path) -> None:
    row = measure(way, report.parent)
    if row is not None:
        report.write_text(json.dumps(row), encoding="utf-8")
    leave(0)


def _gpu_report(arguments: argparse.Namespace, report: Mapping[str, Any]) -> dict[str, Any]:
    """Model FLOP utilisation of the first row, and the largest batches that fit into memory."""
    peak = arguments.peak or published_peak(report["device"])
    achieved = report["rows"][0]["gflops"] / 1000
    keeping, recomputing, *_ = _ways(arguments)
    return {
        "peak_tflops": peak,
        "utilisation": None if peak is None else achieved / peak,
        "largest_batch": largest_batch(keeping),
        "largest_batch_recomputing": largest_batch(recomputing),
    }


def _as_text(report: Mapping[str, Any]) -> str:
    facts = report["machine"]
    speed = ("processes", "blocks", "seconds (min-max)", "tokens/s", "GFLOP/s", "GEMM", "share", "averaging")
    memory = (*speed[:2], "weights", "gradients", "moments", "averaged", "activations", "saves", "resume")
    blocks = [
        f"{facts['processor']}, {facts['threads']} of {facts['cores']} cores, torch {facts['torch']}, {facts['date']}, "
        f"load {facts['load']:.1f}; {report['network']}, {report['batch']} samples a step, on {report['device']}",
        markdown_table(speed, [(*_way_cells(row), *_speed_cells(row)) for row in report["rows"]]),
        markdown_table(memory, [(*_way_cells(row), *_memory_cells(row)) for row in report["rows"]]),
    ]
    if "utilisation" in report:
        share = "unknown (give --peak)" if report["utilisation"] is None else f"{report['utilisation']:.1%}"
        blocks.append(
            f"model FLOP utilisation {share}; largest batch {report['largest_batch']}, "
            f"computing blocks twice {report['largest_batch_recomputing']}"
        )
    return "\n\n".join(blocks)


def _way_cells(row: Mapping[str, Any]) -> tuple[object, ...]:
    return row["processes"], "computed twice" if row["recomputes"] else "kept"


def _speed_cells(row: Mapping[str, Any]) -> tuple[object, ...]:
    seconds = f"{row['seconds']:.2f} ({row['seconds_min']:.2f}-{row['seconds_max']:.2f})"
    rates = (f"{row['tokens_per_second']:.0f}", f"{row['gflops']:.1f}", f"{row['gemm_gflops']:.1f}")
    return seconds, *rates, f"{row['share_of_gemm']:.2f}", f"{row['averaging']:.0%}"


def _memory_cells(row: Mapping[str, Any]) -> tuple[object, ...]:
    kinds = (f"{row['bytes'][kind]:.1f}" for kind in ("weights", "gradients", "moments", "averages"))
    return *kinds, f"{row['kept'] / 2**20:.0f} MiB", f"{row['save_seconds']:.2f} s", f"{row['resume_seconds']:.2f} s"


if __name__ == "__main__":
    main()
