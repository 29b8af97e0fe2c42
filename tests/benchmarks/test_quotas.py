"""The benchmark of quotas runs, with the smallest numbers."""

import json

import pytest

from benchmarks import quotas


def test_it_counts_each_number_of_items(capsys: pytest.CaptureFixture[str]) -> None:
    quotas.main(["--items", "3", "5", "--json"])
    assert json.loads(capsys.readouterr().out).keys() == {"3", "5"}
