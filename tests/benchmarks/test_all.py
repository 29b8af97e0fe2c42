"""`benchmarks.all` knows every benchmark, and a failing one fails it."""

import json
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
def test_a_benchmark_that_runs_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["all", "--quick", "--only", "structure", "--json"])
    assert every.main() == 0
    assert [(one["benchmark"], one["outcome"]) for one in json.loads(capsys.readouterr().out)] == [("structure", "ok")]


def test_one_that_fails_is_told_with_what_it_said() -> None:
    failed = every.run("structure", ["--no-such-option"], 60)
    assert failed.outcome == "exit 2"
    assert "no-such-option" in failed.said
    assert "| structure | " in every.table([failed])


def test_one_that_hangs_is_ended() -> None:
    assert every.run("structure", [], 0.001).outcome == "took too long"
