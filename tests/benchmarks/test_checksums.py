"""The benchmark of checksums runs, with the smallest numbers, and leaves checksums as they were."""

import json

import pytest

from anyseek.search.catalogue import checksums as kept
from benchmarks import checksums


def test_it_measures_each_step(capsys: pytest.CaptureFixture[str]) -> None:
    checksums.main(["--items", "40", "--repeats", "1", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert {"write the items", "query for 10 hits", "verify"} <= found.keys()
    assert kept.of_values("a") != kept.of_values("b")
    with checksums.without():
        assert kept.of_values("a") == kept.of_values("b")
