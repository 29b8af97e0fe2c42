"""`benchmarks.starting` runs."""

from pathlib import Path

from benchmarks.starting import measured


def test_every_command_is_timed(tmp_path: Path) -> None:
    told = measured(tmp_path, "hashing", None, 1)
    assert list(told) == ["--help", "jobs list", "index, nothing changed", "query, no service"]
    assert all(0 < row["cpu_least"] <= row["cpu"] <= row["cpu_most"] for row in told.values())
