"""`benchmarks.all` knows every benchmark, and a failing one fails it."""

import re

import pytest

from benchmarks import all as every

MODULES = every.HERE / "benchmarks"


def test_every_benchmark_is_run_or_named_with_what_it_needs() -> None:
    commands = {path for path in MODULES.rglob("*.py") if '__name__ == "__main__"' in path.read_text()}
    names = {".".join(path.relative_to(MODULES).with_suffix("").parts).removesuffix(".__main__") for path in commands}
    assert names - {"all"} == set(every.QUICK) | set(every.NEED)
    told = (MODULES / "README.md").read_text()
    assert names == set(re.findall(r"^\| `python -m benchmarks\.([\w.]+)", told, re.MULTILINE))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(every.QUICK.keys() - {"search", "walks"}))  # which have tests of their own
def test_it_runs_with_the_smallest_numbers(name: str) -> None:
    ran = every.run(name, every.QUICK[name], 600)
    assert ran.outcome == "ok", ran.said


def test_one_that_fails_or_hangs_is_told_with_what_it_said() -> None:
    failed = every.run("scale", ["--no-such-option"], 60)
    assert failed.outcome == "exit 2"
    assert "no-such-option" in failed.said
    assert "| scale | " in every.table([failed])
    assert every.run("scale", [], 0.001).outcome == "took too long"
