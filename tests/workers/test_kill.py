"""kill -9 of real `anyseek index` processes at any moment: nothing is lost, nothing is doubled."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import func, select

from anyseek.search.catalogue import collections, jobs
from anyseek.search.catalogue.tables import LogRow
from anyseek.search.settings import Settings
from anyseek.search.upkeep.verify import verify
from anyseek.workers.runtime import Runtime
from tests.forked import begun, exit_code
from tests.indexer.harness import index
from tests.indexer.pictures import png, write
from tests.search.gallery import all_items

COMMAND = [sys.executable, "-c", "import sys; from anyseek.api.cli import main; main()"]


def start(home: Path, folder: Path, *options: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "ANYSEEK_HOME": str(home), "OMP_NUM_THREADS": "1"}
    command = [*COMMAND, "index", str(folder), "--collection", "c", "--model", "hashing", *options]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def fill(folder: Path, good: int, bad: int) -> tuple[set[str], set[str]]:
    pictures = {f"{number:04}.png": png(number) for number in range(good + bad)}
    broken = random.Random(7).sample(list(pictures), bad)
    write(folder, pictures | {name: pictures[name][:200] for name in broken})
    return pictures.keys() - set(broken), set(broken)


def check_exactly_once(home: Path, good: set[str]) -> None:
    """Catalogue, log and index hold every good item once, and agree."""
    settings = Settings(home)
    with Runtime.open(settings, "hashing") as runtime:
        with runtime.database.read() as session:
            collection = collections.get(session, "c")
            listed = all_items(session, collection)
            entries = session.execute(
                select(LogRow.item_id, func.count()).where(LogRow.kind == "upsert").group_by(LogRow.item_id)
            )
            assert sorted(item.key for item in listed) == sorted(good)
            assert all(item.revision == 1 for item in listed)
            assert {row[0]: row[1] for row in entries} == {item.id: 1 for item in listed}
        assert runtime.engine.counts("c") == {"hashing": len(good)}
        assert verify(runtime.database, settings) == []


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path) -> None:
    good, bad = fill(tmp_path / "photos", good=291, bad=9)
    chance = random.Random(3)
    killed = 0
    for _ in range(5):
        process = start(tmp_path / "home", tmp_path / "photos")
        time.sleep(0.5 + chance.random() * 0.6)
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
    last = start(tmp_path / "home", tmp_path / "photos", "--json")
    output, failures = last.communicate(timeout=120)
    assert last.returncode == 3, failures
    summary = json.loads(output)
    assert summary["indexed"] + summary["unchanged"] == len(good)
    assert summary["quarantined"] == len(bad)
    assert {line.split()[1].rstrip(":") for line in failures.splitlines()} == bad
    assert failures.count("[broken-picture]") == len(bad)
    assert killed >= 3
    check_exactly_once(tmp_path / "home", good)


def index_into(home: Path, folder: Path) -> None:
    with Runtime.open(Settings(home), "hashing") as runtime:
        index(runtime.context(), folder)


def test_two_processes_on_one_folder(tmp_path: Path) -> None:
    good, bad = fill(tmp_path / "photos", good=60, bad=4)
    both = [begun(index_into, tmp_path / "home", tmp_path / "photos") for _ in range(2)]
    assert [exit_code(process) for process in both] == [0, 0]
    with Runtime.open(Settings(tmp_path / "home"), "hashing") as runtime, runtime.database.read() as session:
        listed = jobs.list_page(session, None, 10)
    assert {job.counts.quarantined for job in listed} == {len(bad)}
    check_exactly_once(tmp_path / "home", good)
