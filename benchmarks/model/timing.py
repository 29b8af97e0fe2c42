"""Measure times and rates, and count operations."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.model.networks import PLAIN, TARGET, Case, Networks

_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    cpuinfo = Path("/proc/cpuinfo")
    told = cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else ""
    names = [line.partition(":")[2].strip() for line in told.splitlines() if line.startswith("model name")]
    flags = next((line.split() for line in told.splitlines() if line.startswith("flags")), [])
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "features": [feature for feature in _FEATURES if feature in flags],
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
        "load": os.getloadavg()[0],
    }


def gemm_rate(side: int, dtype: torch.dtype) -> float:
    """GFLOP/s of one product of two square matrices."""
    first, second = (torch.randn(side, side).to(dtype) for _ in range(2))
    torch.mm(first, second[:, :16])  # wakes the threads
    return 2 * side**3 / _seconds(lambda: torch.mm(first, second)) / 1e9


def measure(networks: Networks, cases: Sequence[Case], repetitions: int, side: int) -> list[dict[str, Any]]:
    """Time every case once a round, for as many rounds, with a matrix product before each and after the last.

    So noise of the machine falls on all of them, and each time has the rate of its own moment beside it.
    """
    operations = [_operations(networks, case) for case in cases]
    rounds = [[_timed(networks, case, side) for case in cases] for _ in range(repetitions)]
    plain = {(c.modality, c.batch): done for c, done in zip(cases, operations, strict=True) if c.variant == PLAIN}
    return [
        _row(case, done, plain[case.modality, case.batch], [times[n] for times in rounds])
        for n, (case, done) in enumerate(zip(cases, operations, strict=True))
    ]


def _timed(networks: Networks, case: Case, side: int) -> tuple[float, float, float, float]:
    """Seconds, GFLOP/s of float32 products around them, of those in the case's own dtype, the processor's seconds."""
    network, inputs = networks.of(case.variant), networks.inputs(case)
    dtype = case.variant.numbers
    before = gemm_rate(side, torch.float32), gemm_rate(side, dtype)
    processor = time.process_time()
    seconds = _seconds(lambda: network.decode_global(network.encode(inputs), [TARGET]))
    processor = time.process_time() - processor
    after = gemm_rate(side, torch.float32), gemm_rate(side, dtype)
    return seconds, (before[0] + after[0]) / 2, (before[1] + after[1]) / 2, processor


def _row(
    case: Case, operations: float, plain: float, runs: Sequence[tuple[float, float, float, float]]
) -> dict[str, Any]:
    """What is told of a case: medians, and the rates that they mean.

    `ratio` counts the operations that were done, `ratio_of_plain` those of the plain way of computing the same; both
    are shares of the rate of float32 products (`ratio_in_dtype`: of products in the dtype of the case's activations).
    """
    seconds = [run[0] for run in runs]
    median = statistics.median(seconds)
    return {
        "input": case.modality,
        "batch": case.batch,
        "variant": case.variant.name,
        "seconds": median,
        "seconds_min": min(seconds),
        "seconds_max": max(seconds),
        "seconds_per_item": median / case.batch,
        "processor_seconds": statistics.median(run[3] for run in runs),
        "gflop": operations,
        "gflops": operations / median,
        "gemm_gflops": statistics.median(run[1] for run in runs),
        "ratio": statistics.median(operations / run[0] / run[1] for run in runs),
        "ratio_of_plain": statistics.median(plain / run[0] / run[1] for run in runs),
        "ratio_in_dtype": statistics.median(operations / run[0] / run[2] for run in runs),
    }


def _operations(networks: Networks, case: Case) -> float:
    """GFLOP of all matrix products in one run (which also warms up), counted by torch as they are carried out."""
    network, inputs = networks.of(case.variant), networks.inputs(case)
    with FlopCounterMode(display=False, custom_mapping=UNCOUNTED) as counter:
        network.decode_global(network.encode(inputs), [TARGET])
    return float(counter.get_total_flops()) / 1e9


def _attention(query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: object, **__: object) -> int:
    batch, heads, queries, width = query
    return 4 * batch * heads * queries * key[2] * width


def _packed_linear(x: Sequence[int], weight: Sequence[int], *_: object, **__: object) -> int:
    rows = torch.Size(x[:-1]).numel()
    return 2 * rows * weight[0] * weight[1]


def _product(x: Sequence[int], weight: Sequence[int], *_: object, **__: object) -> int:
    return 2 * x[0] * x[1] * weight[1]


# Processor operations that torch's counter does not know.
UNCOUNTED: dict[Any, Any] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.mkldnn._linear_pointwise: _packed_linear,
    torch.ops.aten._int_mm: _product,
}


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
