"""One process at a time may write a collection's snapshots, whatever machine it is on; its death or silence frees that.

Another machine is an installation with another data directory, on the same catalogue.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from anyseek.model.files import FileLock
from anyseek.search.catalogue import collections, log
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import SnapshotLeaseRow
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import CollectionNotFound, LeaseLost
from anyseek.search.settings import Settings, Work
from anyseek.search.upkeep.snapshots import SnapshotLease
from tests.search.gallery import Things, WordsEmbedder

LONG, SHORT = 60, 0.4


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    return Settings(tmp_path / "here")


@pytest.fixture
def there(tmp_path: Path) -> Settings:
    return Settings(tmp_path / "there")


@pytest.fixture
def engine(database: Database, there: Settings, embedder: WordsEmbedder) -> Iterator[SearchEngine]:
    engine = SearchEngine(database, there, embedder)
    yield engine
    engine.close()


def leases(things: Things) -> list[str]:
    with things.database.read() as session:
        return list(session.scalars(select(SnapshotLeaseRow.place)))


def lease_of(things: Things, machine: Settings, seconds: float = LONG) -> SnapshotLease:
    return SnapshotLease(things.database, replace(machine, work=Work(lease_seconds=seconds)), things.collection.id)


def compact(things: Things, lease: SnapshotLease) -> None:
    with things.database.write() as session:
        log.compact(session, things.collection.id, 2)
        lease.check(session)


def die(lease: SnapshotLease) -> None:
    """What is left of a holder that was killed: the kernel has dropped its lock, the catalogue knows nothing."""
    lease._released.set()
    lease._lock.release()


def test_machines_exclude_each_other(things: Things, here: Settings, there: Settings, engine: SearchEngine) -> None:
    things.put(["x"])
    with lease_of(things, here):
        assert not lease_of(things, there).try_acquire()
        assert not engine.write_snapshots("things")
        assert not there.indexes.exists()
    assert leases(things) == []
    assert engine.write_snapshots("things")
    assert leases(things) == []


def test_a_dead_holder_is_replaced_at_once_where_it_was(things: Things, here: Settings, there: Settings) -> None:
    dead = lease_of(things, here)
    assert dead.try_acquire()
    die(dead)
    assert not lease_of(things, there).try_acquire(), "it might live, for all they know there"
    with lease_of(things, here):
        assert len(leases(things)) == 1


def test_a_dead_holder_is_replaced_elsewhere_once_it_was_silent_for_long(
    things: Things, here: Settings, there: Settings
) -> None:
    dead = lease_of(things, here, SHORT)
    assert dead.try_acquire()
    die(dead)
    started = time.monotonic()
    with lease_of(things, there):
        assert time.monotonic() - started > SHORT / 2


@pytest.mark.slow
def test_a_holder_that_lives_is_not_replaced(things: Things, here: Settings, there: Settings) -> None:
    with lease_of(things, here, SHORT * 5):
        time.sleep(SHORT * 8)
        assert not lease_of(things, there).try_acquire()


def test_a_holder_that_was_silent_for_too_long_changes_nothing(things: Things, here: Settings, there: Settings) -> None:
    for caption in ("first", "second"):
        things.put(["x"], caption)
    slow = lease_of(things, here, SHORT)
    assert slow.try_acquire()
    slow._released.set()  # it hangs
    with lease_of(things, there):
        with pytest.raises(LeaseLost):
            compact(things, slow)
        slow.release()
        assert len(leases(things)) == 1, "that of the other"
    assert things.head.compacted_seq == 0


def test_a_snapshot_that_is_overtaken_is_left_to_the_other(
    things: Things, there: Settings, engine: SearchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for caption in ("first", "second"):
        things.put(["x"], caption)

    def overtaken(self: SnapshotLease, session: object) -> None:
        raise LeaseLost("another process has it")

    monkeypatch.setattr(SnapshotLease, "check", overtaken)
    assert not engine.write_snapshots("things")
    assert things.head.compacted_seq == 0
    assert FileLock(there.locks / f"snapshots-{things.collection.id}").try_acquire()


def test_a_collection_that_is_gone_has_no_lease(things: Things, here: Settings) -> None:
    with lease_of(things, here), things.database.write() as session:
        collections.delete(session, "things")
    assert leases(things) == []
    lease = lease_of(things, here)
    with pytest.raises(CollectionNotFound):
        lease.acquire()
    assert FileLock(here.locks / f"snapshots-{things.collection.id}").try_acquire(), "it was let go of"
