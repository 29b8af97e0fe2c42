"""docs/scale.md has what the script prints, and the script measures and simulates what it says."""

import os
import re
from pathlib import Path

import pytest

from anyseek.search.spaces.local.candidates import Ivf
from benchmarks.scale import processes, vectors
from benchmarks.scale.__main__ import markdown
from benchmarks.scale.constants import CONSTANTS
from benchmarks.scale.measuring import measure
from benchmarks.scale.worker_failures import Case, average, simulate

DOCUMENT = Path(__file__).parents[2] / "docs" / "scale.md"
NEVER = 1e12


def test_the_document_has_the_tables_that_the_script_prints() -> None:
    text = DOCUMENT.read_text()
    for table in re.split(r"\n\n", markdown()):
        assert table in text, f"run python -m benchmarks.scale and put its tables into {DOCUMENT.name}"


def test_every_constant_says_where_it_comes_from() -> None:
    assert all(constant.value > 0 and len(constant.where) > 8 and constant.unit for constant in CONSTANTS.values())


def test_without_failures_nothing_is_lost_and_nothing_takes_longer() -> None:
    found = simulate(Case(60, 32, NEVER), seed=1)
    assert (found.wasted, found.deaths) == (0, 0)
    assert found.longer == pytest.approx(1, abs=0.01)


def test_larger_batches_lose_more_and_longer_leases_take_longer() -> None:
    small, large = (average(Case(60, batch, 600), runs=3, seed=1) for batch in (8, 256))
    assert small.wasted < large.wasted < 0.05
    short, long = (average(Case(lease, 32, 600), runs=3, seed=1) for lease in (10, 600))
    assert short.longer < long.longer


@pytest.mark.slow
def test_what_it_measures_is_of_the_recorded_order() -> None:
    measured = measure(150)
    for name in ("catalogue_bytes", "facet_bytes", "ledger_bytes", "sqlite_log_entry_bytes", "thumbnail_bytes"):
        assert 0.2 < measured[name] / CONSTANTS[name].value < 20, name


def test_timing_restores_the_functions() -> None:
    before = [getattr(holder, name) for holder, name in vectors.STAGES.values()]
    with vectors.time_stages() as seconds:
        assert Ivf.trained != before[1]
    assert [getattr(holder, name) for holder, name in vectors.STAGES.values()] == before
    assert set(seconds) == set(vectors.STAGES)


@pytest.mark.slow
def test_a_command_that_fails_raises_with_its_output() -> None:
    with pytest.raises(processes.CommandFailed, match="no-such-folder"):
        processes.run_commands(("index", "/no-such-folder", "--collection", "c"), os.environ, count=1)
