"""Several real processes on one catalogue, some of them killed at random moments: nothing is lost or doubled."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from anyseek.model.files import is_locked
from anyseek.search.catalogue import collections, log
from anyseek.search.settings import Settings
from anyseek.search.types import Collection, Part, Query
from tests.search.gallery import Home, all_items

START = """
import sys, random, time
from pathlib import Path
from anyseek.search.catalogue import collections, items, log
from anyseek.search.engine import SearchEngine
from tests.search.gallery import WordsEmbedder, new_item, open_catalogue, put, remove
settings, database = open_catalogue(Path(sys.argv[1]))
embedder, who = WordsEmbedder(), sys.argv[2]
with database.read() as session: things = collections.get(session, "things")
print("ready", flush=True)
"""

# Says of each batch that it is in only after the commit.
WRITE = (
    START
    + """
for batch in range(int(sys.argv[3])):
    put(database, things, embedder, [f"{who}/{batch}/{n}" for n in range(5)], f"{who} {batch}")
    print(batch, flush=True)
"""
)

# Items that come, change and go, with snapshots in between; small pages keep every step short.
CHURN = (
    START
    + """
engine = SearchEngine(database, settings, embedder)
for turn in range(100_000):
    keys = [f"{who}/{random.randrange(40)}" for _ in range(6)]
    put(database, things, embedder, sorted(set(keys)), f"turn {turn}")
    remove(database, things, keys[:2])
    engine.write_snapshots("things")
"""
)

TAIL = (
    START
    + """
from anyseek.search.types import Part, Query
engine, seen, missed = SearchEngine(database, settings, embedder), 0, 0
while seen < int(sys.argv[3]):
    with database.read() as session: there = collections.count(session, things.id)
    hits = engine.query("things", Query((Part("caption", "anything"),), k=10_000)).hits
    missed += len(hits) < there or len({hit.key for hit in hits}) != len(hits)
    seen = len(hits)
print(missed, flush=True)
"""
)


@pytest.fixture
def gallery(collection: Collection) -> Collection:
    """Empty: what is in it, processes put."""
    return collection


def start(script: str, settings: Settings, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, str(settings.home), *arguments]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    return child


def finish(child: subprocess.Popen[str]) -> str:
    output, errors = child.communicate(timeout=60)
    assert (child.returncode, errors) == (0, "")
    return output


def kill(child: subprocess.Popen[str]) -> str:
    child.send_signal(signal.SIGKILL)
    return child.communicate(timeout=60)[0]


def assert_whole(home: Home) -> None:
    """The log is gapless, everything agrees, and a fresh engine finds exactly the items of the catalogue."""
    assert home.problems() == []
    hits = home.engine().query("things", Query((Part("caption", "anything"),), k=10_000))
    with home.database.read() as session:
        things = collections.get(session, "things")
        listed = [item.key for item in all_items(session, things)]
    assert sorted(hit.key for hit in hits.hits) == sorted(listed)


def test_two_writers_number_their_entries_without_gaps_and_in_order(home: Home) -> None:
    writers = [start(WRITE, home.settings, who, "20") for who in ("a", "b")]
    order: list[int] = []
    while any(writer.poll() is None for writer in writers):  # a reader must never see a number before a smaller one
        with home.database.read() as session:
            page = log.entries_after(session, home.collection.id, order[-1] if order else 0, 10_000)
        order += [entry.seq for entry in page]
    for writer in writers:
        finish(writer)
    with home.database.read() as session:
        every = log.entries_after(session, home.collection.id, 0, 10_000)
        assert collections.count(session, home.collection.id) == 200
    assert [entry.seq for entry in every] == list(range(1, 401))
    assert order == list(range(1, len(order) + 1))
    assert_whole(home)


def test_a_reader_that_tails_finds_everything_that_was_committed_when_it_asked(home: Home) -> None:
    reader = start(TAIL, home.settings, "reader", "100")
    finish(start(WRITE, home.settings, "a", "20"))
    assert finish(reader) == "0\n"


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
def test_a_killed_writer_loses_no_batch_that_it_called_written(home: Home, seed: int) -> None:
    writer = start(WRITE, home.settings, "a", "100000")
    time.sleep(random.Random(seed).uniform(0.05, 0.6))
    said = kill(writer).split()
    with home.database.read() as session:
        things = collections.get(session, "things")
        keys = {item.key for item in all_items(session, things)}
    batches = {key.split("/")[1] for key in keys}
    assert set(said) <= batches
    assert len(batches) <= len(said) + 1
    assert len(keys) == 5 * len(batches)
    assert_whole(home)
    home.put(["after"])
    assert_whole(home)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 8))])
def test_kills_between_writing_and_snapshots_leave_everything_in_agreement(home: Home, seed: int) -> None:
    """One process is killed again and again while another goes on, on the same collection."""
    chance = random.Random(seed)
    steady = start(CHURN, home.settings, "steady")
    for _ in range(2):
        victim = start(CHURN, home.settings, "victim")
        time.sleep(chance.uniform(0.02, 0.7))
        kill(victim)
        assert home.whats() == []
    assert steady.poll() is None
    kill(steady)
    assert not is_locked(home.settings.locks / f"snapshots-{home.collection.id}")
    assert_whole(home)
    engine = home.engine()
    assert engine.write_snapshots("things")
    assert not list(Path(home.settings.indexes).rglob(".tmp-*"))
    assert_whole(home)
