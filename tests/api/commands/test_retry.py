"""`anyseek jobs retry`, interrupted: it says how to go on, and nothing is lost or left leased."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import select

from anyseek.search.catalogue import jobs, ledger
from anyseek.search.catalogue.jobs import Job, JobState
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import LedgerRow
from anyseek.search.settings import Settings
from tests.indexer.pictures import png
from tests.workers.test_kill import check_exactly_once

COMMAND = [
    sys.executable,
    "-c",
    "from tests.faults import traps; traps.slow_down(0.02); from anyseek.api.cli import main; main()",
]
INPUTS = 200
PATIENCE_SECONDS = 300


def anyseek(home: Path, *arguments: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "ANYSEEK_HOME": str(home), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*COMMAND, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def write_all(folder: Path, whole: bool) -> None:
    folder.mkdir(exist_ok=True)
    for number in range(INPUTS):
        data = png(number, 8, 8)
        (folder / f"{number}.png").write_bytes(data if whole else data[: len(data) // 2])


def look(home: Path) -> tuple[Job, int]:
    """The job, and how many of its inputs are leased."""
    database = Database(Settings(home).database_url)
    with database.read() as session:
        job = jobs.get_with_counts(session, 1)
        leased = session.scalars(select(LedgerRow.id).where(LedgerRow.state == ledger.LEASED)).all()
    database.close()
    return job, len(leased)


def wait_for_indexed(home: Path) -> None:
    ends = time.monotonic() + PATIENCE_SECONDS
    while not look(home)[0].counts.indexed:
        assert time.monotonic() < ends
        time.sleep(0.02)


@pytest.mark.slow
def test_a_retry_resumes_after_ctrl_c(tmp_path: Path) -> None:
    home, photos = tmp_path / "home", tmp_path / "photos"
    write_all(photos, whole=False)
    first = anyseek(home, "index", str(photos), "--collection", "c", "--model", "hashing", "--json")
    first.communicate(timeout=PATIENCE_SECONDS)
    assert first.returncode == 3
    write_all(photos, whole=True)
    retried = anyseek(home, "jobs", "retry", "1")
    assert retried.stderr.readline() == f"{INPUTS} inputs will be retried\n"
    wait_for_indexed(home)
    retried.send_signal(signal.SIGINT)
    _, errors = retried.communicate(timeout=PATIENCE_SECONDS)
    assert (retried.returncode, errors) == (130, "interrupted; run the same command again to resume\n")
    left, leased = look(home)
    assert (left.state, leased) == (JobState.RUNNING, 0)
    assert 0 < left.counts.open < INPUTS
    assert left.counts.open + left.counts.indexed == INPUTS
    again = anyseek(home, "jobs", "retry", "1")
    output, errors = again.communicate(timeout=PATIENCE_SECONDS)
    assert again.returncode == 0, errors
    assert errors.splitlines()[0] == f"{left.counts.open} inputs will be retried"
    assert output.startswith(f"job 1: indexed {INPUTS}, unchanged 0, quarantined 0")
    check_exactly_once(home, {f"{number}.png" for number in range(INPUTS)})
