"""The report as text."""

from collections.abc import Mapping
from typing import Any


def as_table(report: Mapping[str, Any]) -> str:
    """What a person reads; `--json` has more."""
    machine = report["machine"]
    lines = [
        f"{machine['processor']}, {machine['threads']} of {machine['cores']} cores, torch {machine['torch']}, "
        f"{machine['date']}, load {machine['load']:.1f}; {report['network']}; median of {report['repetitions']}",
        "matrix products, GFLOP/s: " + ", ".join(f"{name} {rate:.0f}" for name, rate in report["gemm"].items()),
        "",
        "| input | variant | seconds (min-max) | ms each | GFLOP | GFLOP/s | GEMM | ratio | of plain |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_case(row) for row in report["cases"]),
        "",
        *_rounding(report["rounding"]),
    ]
    return "\n".join(lines)


def _case(row: Mapping[str, Any]) -> str:
    return (
        f"| {row['input']} x {row['batch']} | {row['variant']} "
        f"| {row['seconds']:.3f} ({row['seconds_min']:.3f}-{row['seconds_max']:.3f}) "
        f"| {1000 * row['seconds_per_item']:.1f} | {row['gflop']:.1f} | {row['gflops']:.0f} "
        f"| {row['gemm_gflops']:.0f} | {row['ratio']:.2f} | {row['ratio_of_plain']:.2f} |"
    )


def _rounding(told: Mapping[str, Any]) -> list[str]:
    bundled = told["bundled weights"]
    if isinstance(bundled, str):
        bundled = {bundled: {}}
    rows = {f"random weights, {name}": row for name, row in told["random weights"].items()}
    rows |= {f"bundled weights, {name}": row for name, row in bundled.items()}
    return [
        f"bfloat16, {name}: " + ", ".join(f"{key} {value:.7g}" for key, value in row.items())
        for name, row in rows.items()
    ]
