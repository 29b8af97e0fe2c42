"""The benchmark of large batches runs, with the smallest numbers."""

import json

import pytest

from benchmarks import batches


@pytest.mark.slow
def test_it_measures_both_batches(capsys: pytest.CaptureFixture[str]) -> None:
    batches.main(["--items", "20", "--hits", "40", "--mib", "0.5", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found.keys() == {"many bytes", "many hits"}
    assert found["many bytes"]["MiB sent"] > 0.2
    assert found["many hits"]["MiB received"] > 0
