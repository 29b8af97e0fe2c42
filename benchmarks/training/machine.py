"""The machine that numbers were measured on, and the work that torch does not count on it."""

import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def machine() -> dict[str, Any]:
    """Its processor, cores, torch, date and load."""
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
