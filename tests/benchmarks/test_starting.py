"""`benchmarks.starting` runs."""

from pathlib import Path

import pytest

from benchmarks.starting import measured, prepared, stages_of_query


@pytest.mark.slow
def test_every_command_and_every_stage_is_timed(tmp_path: Path) -> None:
    environment = prepared(tmp_path, "hashing", None)
    told = measured(tmp_path, environment, 1)
    assert {"--help", "jobs list", "collections list", "index, nothing changed", "query, no service"} <= set(told)
    assert all(0 < row["cpu_least"] <= row["cpu"] <= row["cpu_most"] for row in told.values())
    stages = stages_of_query(environment, 1)
    assert [*stages][:: len(stages) - 1] == ["Python itself", "leaving"]
    assert stages["imports without torch"] > 0
