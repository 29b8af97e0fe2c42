"""The benchmark runs; what it measures is not a test's matter."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_quick_benchmark_runs_and_counts_what_it_computes() -> None:
    command = [sys.executable, "-m", "benchmarks.model", "--quick", "--threads", "1", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    report = json.loads(done.stdout)
    rows = {(row["input"], row["batch"], row["variant"]): row for row in report["cases"]}
    assert len(rows) == len(report["cases"]) == 30
    work = {
        variant: row["gflop"] for (modality, batch, variant), row in rows.items() if (modality, batch) == ("rgb", 1)
    }
    assert work["float32"] == work["float32, not packed"] == work["bfloat16"] == work["int8"]
    assert work["float32, not folded"] == work["float32, not packed, not folded"] == work["bfloat16, not folded"]
    assert work["float32, 98 patches"] < 0.7 * work["float32"]
    assert work["float32"] < work["float32, not folded"]
    assert all(row["seconds_min"] <= row["seconds"] <= row["seconds_max"] for row in rows.values())
    assert all(row["ratio"] > 0 for row in rows.values())
    assert report["rounding"].keys() == {"bfloat16", "int8"}
    rough = [told["random weights"] for told in report["rounding"].values()]
    for row in (row for told in rough for row in told.values()):
        assert 0.995 < row["cosine_min"] <= 1.00001
        assert row["sure_and_same"] <= row["sure"] <= row["tokens"] == 64
