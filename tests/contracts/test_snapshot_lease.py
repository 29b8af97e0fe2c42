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
from anyseek.search.types import Collection
from anyseek.search.upkeep.snapshots import SnapshotLease
from tests.search.gallery import WordsEmbedder, put

LONG, SHORT = 60, 0.4


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    return Settings(tmp_path / "here", work=Work(lease_seconds=LONG))


@pytest.fixture
def there(tmp_path: Path) -> Settings:
    return Settings(tmp_path / "there", work=Work(lease_seconds=LONG))


@pytest.fixture
def engine(database: Database, there: Settings, embedder: WordsEmbedder) -> Iterator[SearchEngine]:
    engine = SearchEngine(database, there, embedder)
    yield engine
    engine.close()


def leases(database: Database) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(SnapshotLeaseRow.place)))


def compact(database: Database, collection: Collection, lease: SnapshotLease) -> None:
    with database.write() as session:
        log.compact(session, collection.id, 2)
        lease.check(session)


def die(lease: SnapshotLease) -> None:
    """What is left of a holder that was killed: the kernel has dropped its lock, the catalogue knows nothing."""
    lease._left.set()
    lease._lock.release()


def test_machines_exclude_each_other(
    database: Database,
    here: Settings,
    there: Settings,
    embedder: WordsEmbedder,
    collection: Collection,
    engine: SearchEngine,
) -> None:
    put(database, collection, embedder, ["x"])
    with SnapshotLease(database, here, collection.id):
        assert not SnapshotLease(database, there, collection.id).try_acquire()
        assert not engine.write_snapshots("things")
        assert not there.indexes.exists()
    assert leases(database) == []
    assert engine.write_snapshots("things")
    assert leases(database) == []


def test_a_dead_holder_is_replaced_at_once_where_it_was(
    database: Database, here: Settings, there: Settings, collection: Collection
) -> None:
    dead = SnapshotLease(database, here, collection.id)
    assert dead.try_acquire()
    die(dead)
    assert not SnapshotLease(database, there, collection.id).try_acquire(), "it might live, for all they know there"
    with SnapshotLease(database, here, collection.id):
        assert len(leases(database)) == 1


def test_a_dead_holder_is_replaced_elsewhere_once_it_was_silent_for_long(
    database: Database, here: Settings, there: Settings, collection: Collection
) -> None:
    dead = SnapshotLease(database, replace(here, work=Work(lease_seconds=SHORT)), collection.id)
    assert dead.try_acquire()
    die(dead)
    started = time.monotonic()
    with SnapshotLease(database, there, collection.id):
        assert time.monotonic() - started > SHORT / 2


@pytest.mark.slow
def test_a_holder_that_lives_is_not_replaced(
    database: Database, here: Settings, there: Settings, collection: Collection
) -> None:
    with SnapshotLease(database, replace(here, work=Work(lease_seconds=SHORT * 5)), collection.id):
        time.sleep(SHORT * 8)
        assert not SnapshotLease(database, there, collection.id).try_acquire()


def test_a_holder_that_was_silent_for_too_long_changes_nothing(
    database: Database, here: Settings, there: Settings, embedder: WordsEmbedder, collection: Collection
) -> None:
    for caption in ("first", "second"):
        put(database, collection, embedder, ["x"], caption)
    slow = SnapshotLease(database, replace(here, work=Work(lease_seconds=SHORT)), collection.id)
    assert slow.try_acquire()
    slow._left.set()  # it hangs
    with SnapshotLease(database, there, collection.id):
        with pytest.raises(LeaseLost):
            compact(database, collection, slow)
        slow.release()
        assert len(leases(database)) == 1, "that of the other"
    with database.read() as session:
        assert collections.head(session, "things").compacted_seq == 0


def test_a_snapshot_that_is_overtaken_is_left_to_the_other(
    database: Database,
    there: Settings,
    embedder: WordsEmbedder,
    collection: Collection,
    engine: SearchEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for caption in ("first", "second"):
        put(database, collection, embedder, ["x"], caption)

    def overtaken(self: SnapshotLease, session: object) -> None:
        raise LeaseLost("another process has it")

    monkeypatch.setattr(SnapshotLease, "check", overtaken)
    assert not engine.write_snapshots("things")
    with database.read() as session:
        assert collections.head(session, "things").compacted_seq == 0
    assert FileLock(there.locks / f"snapshots-{collection.id}").try_acquire()


def test_a_collection_that_is_gone_has_no_lease(database: Database, here: Settings, collection: Collection) -> None:
    with SnapshotLease(database, here, collection.id), database.write() as session:
        collections.delete(session, "things")
    assert leases(database) == []
    lease = SnapshotLease(database, here, collection.id)
    with pytest.raises(CollectionNotFound):
        lease.acquire()
    assert FileLock(here.locks / f"snapshots-{collection.id}").try_acquire(), "it was let go of"
