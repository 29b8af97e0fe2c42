"""The benchmark of cards runs on a CPU in small; what it measures is not a test's matter."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "benchmarks.gpu"]


@pytest.mark.slow
def test_the_quick_benchmark_measures_everything_on_a_cpu() -> None:
    command = [*COMMAND, "--device", "cpu", "--quick", "--peak", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=True)
    report = json.loads(done.stdout)
    assert (report["device"], report["ran_on_a_card"]) == ("cpu", False)
    assert list(report["embedding"]) == ["B", "L", "XL"]
    for row in report["embedding"].values():
        assert row["batch"] == 16
        assert min(row["network_per_second"], row["embed_per_second"], row["embed_from_jpeg_per_second"]) > 0
        assert row["network_share_of_peak"] == pytest.approx(row["network_tflops"])
    assert [row["clients"] for row in report["queries"]] == [1, 4]
    assert all(0 < row["p50_ms"] <= row["p99_ms"] for row in report["queries"])
    small = report["small_batches"]
    assert list(small) == ["kernel_by_kernel", "graphs", "compiled", "compiled_graphs"]
    assert small["graphs"] == small["compiled_graphs"] == "CUDA graphs need a card"
    assert small["kernel_by_kernel"].keys() == small["compiled"].keys() >= {"captions_1", "pictures_16"}
    assert small["compiled"].pop("lowest_cosine") > 0.999  # in bfloat16
    assert min(small["compiled"].values()) > 0
    assert report["index"]["flat"]["32_at_once"] > 0
    assert report["agreement"]["float32"]["alone"] > 0.9999
    assert report["agreement"].keys() == {"float32", "bfloat16"}
    assert report["training"]["utilisation"] > 0


def test_without_a_card_it_says_so() -> None:
    if "cuda" in _devices():
        pytest.skip("there is a card")
    done = subprocess.run(COMMAND, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("set ANYSEEK_DEVICE to cpu, or to auto for a card if any")


def _devices() -> list[str]:
    import torch

    return ["cuda"] if torch.cuda.is_available() else []
