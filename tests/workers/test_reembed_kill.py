"""kill -9 of a process that re-embeds a collection, at any moment: it goes on, nothing is lost, nothing is doubled."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import func, select

from anyseek.indexer.put import put_item
from anyseek.indexer.samples import RawFile
from anyseek.search.catalogue import collections
from anyseek.search.catalogue.tables import LogRow
from anyseek.search.settings import Settings
from anyseek.search.upkeep.verify import verify
from anyseek.workers.runtime import Runtime
from tests.indexer.mirrored import NEW, OLD, load
from tests.indexer.pictures import png

ITEMS = 60
COMMAND = (
    "import sys, anyseek.workers.runtime; from tests.indexer.mirrored import load; "
    "anyseek.workers.runtime.load_embedder = load; "
    "from anyseek.api.cli import main; main()"
)


def start(home: Path) -> "subprocess.Popen[str]":
    slow = {"MIRRORED_SECONDS": "0.1", "ANYSEEK_WORK_INPUTS_PER_BATCH": "4"}
    environment = {**os.environ, "ANYSEEK_HOME": str(home), "ANYSEEK_MODEL": OLD, "OMP_NUM_THREADS": "1", **slow}
    command = [sys.executable, "-c", COMMAND, "collections", "reembed", "c", "--model", NEW]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path) -> None:
    settings, chance = Settings(tmp_path / "home"), random.Random(4)
    with Runtime.open(settings, OLD) as runtime:
        with runtime.database.write() as session:
            collections.create(session, "c", OLD, runtime.embedder.spaces.values())
        for number in range(ITEMS):
            put_item(runtime.context(), "c", f"{number}", [RawFile("rgb", png(number), "upload.png")])
    killed = 0
    for _ in range(4):
        process = start(settings.home)
        time.sleep(1.0 + chance.random())
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
    output, errors = start(settings.home).communicate(timeout=300)
    assert f"{ITEMS} items  model {NEW}  (kept: {OLD})" in output, errors
    assert killed >= 2
    check_once(settings)


def check_once(settings: Settings) -> None:
    with Runtime.open(settings, None) as runtime:
        with runtime.database.read() as session:
            (space,) = collections.get(session, "c").spaces.values()
            per_item = select(func.count()).where(LogRow.space_id == space.id).group_by(LogRow.item_id)
            assert session.scalars(per_item).all() == [1] * ITEMS
        assert verify(runtime.database, settings) == []
        assert load(NEW, settings.home).spaces["hashing"].fingerprint == space.fingerprint
