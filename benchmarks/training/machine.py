"""Facts about the machine, and the operations that torch's counter of FLOP lacks."""

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks import reporting


def machine() -> dict[str, Any]:
    """Facts of `reporting.machine`, with the processor and torch."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else ""
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return {
        **reporting.machine(),
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _attention(query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: object, **__: object) -> int:
    batch, heads, queries, width = query
    return 4 * batch * heads * queries * key[2] * width


def _packed_linear(x: Sequence[int], weight: Sequence[int], *_: object, **__: object) -> int:
    rows = torch.Size(x[:-1]).numel()
    return 2 * rows * weight[0] * weight[1]


def _product(x: Sequence[int], weight: Sequence[int], *_: object, **__: object) -> int:
    return 2 * x[0] * x[1] * weight[1]


# FLOP of CPU operations that torch's counter lacks.
UNCOUNTED: dict[Any, Any] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.mkldnn._linear_pointwise: _packed_linear,
    torch.ops.aten._int_mm: _product,
}
