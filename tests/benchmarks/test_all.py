"""`benchmarks.all` knows every benchmark, and a failing one fails it."""

import re

import pytest

from benchmarks.all import QUICK, REQUIREMENTS, run_benchmark, table
from benchmarks.structure import ROOT

MODULES = ROOT / "benchmarks"


def test_every_benchmark_is_run_or_listed_with_its_requirements() -> None:
    commands = {path for path in MODULES.rglob("*.py") if '__name__ == "__main__"' in path.read_text()}
    names = {".".join(path.relative_to(MODULES).with_suffix("").parts).removesuffix(".__main__") for path in commands}
    assert names - {"all"} == set(QUICK) | set(REQUIREMENTS)
    readme = (MODULES / "README.md").read_text()
    assert names == set(re.findall(r"^\| `python -m benchmarks\.([\w.]+)", readme, re.MULTILINE))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(QUICK.keys() - {"search", "walks"}))  # which have tests of their own
def test_it_runs_with_the_smallest_numbers(name: str) -> None:
    run = run_benchmark(name, QUICK[name], 600)
    assert run.outcome == "ok", run.said


def test_a_failing_or_hanging_benchmark_is_reported_with_its_output() -> None:
    failed = run_benchmark("scale", ["--no-such-option"], 60)
    assert failed.outcome == "exit 2"
    assert "no-such-option" in failed.said
    assert "| scale | " in table([failed])
    assert run_benchmark("scale", [], 0.001).outcome == "took too long"
