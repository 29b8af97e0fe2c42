"""The benchmark of what watching costs runs, with the smallest numbers."""

import json
import sys

import pytest

from benchmarks import watching


def test_it_measures_each_cost(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["watching", "--requests", "10", "--inputs", "10", "--json"])
    watching.main()
    found = json.loads(capsys.readouterr().out)
    assert len(found) >= 4
    assert all(isinstance(value, float) for value in found.values())
