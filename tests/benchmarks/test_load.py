"""The script of load: every phase has answers and no errors, and the table has a row for each."""

from pathlib import Path

import pytest

from benchmarks.load.__main__ import measured, table
from benchmarks.load.clients import MISBEHAVING


@pytest.mark.slow
def test_honest_clients_are_answered_beside_each_that_misbehaves(tmp_path: Path) -> None:
    rows = list(measured(tmp_path, items=50, clients=2, seconds=1.0, rounds=1))
    assert [row.phase for row in rows] == ["nobody", "one more honest", *MISBEHAVING]
    assert all(row.requests > 0 and row.errors == 0 for row in rows)
    assert table(rows).count("\n") == 2 + len(rows)
