"""`python -m tests.golden`."""

import json
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from tests.golden.__main__ import main

GOLDEN = Path(__file__).parent


def test_one_json_line_a_case() -> None:
    result = CliRunner().invoke(main, [str(GOLDEN), "--json", "--only", "vq_mlp_s*"])
    assert result.exit_code == 0, result.output
    (line,) = map(json.loads, result.stdout.splitlines())
    assert line.keys() == {"case", "max_abs_err", "integers_equal", "tolerance", "ok"}
    assert (line["case"], line["integers_equal"], line["ok"]) == ("vq_mlp_small", True, True)
    assert 0 < line["max_abs_err"] < line["tolerance"]


def test_a_case_it_cannot_run_fails_with_nulls(tmp_path: Path) -> None:
    np.savez(tmp_path / "stranger.npz", a=np.zeros(1))
    result = CliRunner().invoke(main, [str(tmp_path), "--json"])
    assert result.exit_code == 1
    line = json.loads(result.stdout)
    assert line == {
        "case": "stranger",
        "max_abs_err": None,
        "integers_equal": None,
        "tolerance": None,
        "ok": False,
        "reason": "there is no checker for this kind of case",
    }


def test_a_table_for_people() -> None:
    result = CliRunner().invoke(main, [str(GOLDEN), "--only", "human-poses*"])
    assert result.exit_code == 0
    assert result.stdout.startswith("ok    human-poses_1k_8")


def test_no_case_is_an_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, [str(tmp_path), "--json"])
    assert result.exit_code == 1
    assert "no case" in result.output
