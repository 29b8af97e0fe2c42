"""The benchmark runs; what it measures is not a test's matter."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_quick_benchmark_runs_and_counts_what_it_keeps() -> None:
    command = [sys.executable, "-m", "benchmarks.training", "--quick", "--threads", "2", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=True)
    report = json.loads(done.stdout)
    plain, again, two = report["rows"]
    assert [row["processes"] for row in report["rows"]] == [1, 1, 2]
    assert plain["bytes"] == again["bytes"] == two["bytes"]
    assert plain["bytes"] == pytest.approx({"weights": 4, "gradients": 4, "moments": 8, "averages": 4}, rel=1e-3)
    assert again["kept"] < plain["kept"]
    assert plain["gflop"] == pytest.approx(two["gflop"], rel=1e-6)
    assert all(row["seconds"] > 0 and row["share_of_gemm"] > 0 for row in report["rows"])
