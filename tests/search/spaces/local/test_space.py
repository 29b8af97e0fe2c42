"""A live index says what the log says, however it was opened and whatever happens meanwhile."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import update

from anyseek.search.catalogue import collections, log
from anyseek.search.catalogue.tables import LogRow
from anyseek.search.spaces.local import snapshots
from anyseek.search.spaces.local.faiss import FaissIndex
from anyseek.search.spaces.local.space import IndexFactory, LocalSpace, ReadWriteLock
from tests.search.gallery import DIMENSION, Things
from tests.search.live_spaces import assert_agrees, contents, freeze, no_filters
from tests.search.memory_index import MemoryIndex

SPACE = "looks"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "indexes"


def opened(things: Things, folder: Path) -> LocalSpace:
    head = things.head
    space = next(space for space in head.spaces if space.name == SPACE)
    index = LocalSpace(things.database, folder, head.id, space, FaissIndex, no_filters)
    index.refresh(head)
    return index


def test_long_tails_are_read_in_pages(things: Things, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = opened(things, folder)
    things.put([f"k{number}" for number in range(30)])
    things.remove(["k0", "k29"])
    monkeypatch.setattr(log, "PAGE", 7)
    index.refresh(things.head)
    assert_agrees(things.database, index)


def test_a_snapshot_is_really_used(things: Things, folder: Path) -> None:
    things.put(["x", "y"])
    opened(things, folder).save()
    with things.database.write() as session:
        session.execute(update(LogRow).values(fingerprint="unreadable by now"))
    assert len(contents(things.database, opened(things, folder))) == 2


def test_threads_search_while_others_write(things: Things, folder: Path) -> None:
    """Every thread finds what was committed before it asked; none sees the index half changed."""
    index, failures, stop = opened(things, folder), [], threading.Event()

    def search() -> None:
        while not stop.is_set():
            with things.database.read() as session:
                head = collections.head(session, "things")
                committed = collections.count(session, things.collection.id)
            index.refresh(head)
            with index.open_view() as view:
                found = view.search(np.ones((1, DIMENSION), np.float32), 1_000).ids[0]
            if len(set(found.tolist())) != len(found) or len(found) < committed:
                failures.append((committed, found))
            time.sleep(0.001)  # readers without a pause would keep the interpreter from the writer

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(20):
        things.put([f"{number}-{part}" for part in range(4)])
        things.put(["0-0"], f"changed {number}")
        if number == 10:
            freeze(things.database, 0.1)
    stop.set()
    for thread in threads:
        thread.join(60)
    assert failures == []
    index.refresh(things.head)
    assert_agrees(things.database, index)
    assert len(contents(things.database, index)) == 80


def test_a_snapshot_is_written_beside_searches_and_changes(
    things: Things, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    things.put(["x", "y"])
    index, write, counted = opened(things, folder), snapshots.file_checksum, []

    def change_first(path: Path) -> str:
        things.put(["z"])
        things.remove(["x"])
        things.put(["y"], "changed")
        index.refresh(things.head)
        with index.open_view() as view:
            counted.append(view.count())
        return write(path)

    monkeypatch.setattr(snapshots, "file_checksum", change_first)
    index.save()
    monkeypatch.undo()
    assert counted == [2]
    assert_agrees(things.database, index)
    with things.database.write() as session:
        session.execute(update(LogRow).where(LogRow.seq <= 4).values(vector=b"gone"))  # so the snapshot must be used
    assert contents(things.database, opened(things, folder)).keys() == contents(things.database, index).keys()


@pytest.mark.parametrize("make_index", [MemoryIndex, FaissIndex])
def test_what_is_frozen_stays_as_it_was(make_index: IndexFactory, tmp_path: Path) -> None:
    index, vectors = make_index(4), np.eye(4, dtype=np.float32)
    index.upsert(np.array([1, 2, 3]), vectors[:3])
    held = index.freeze()
    index.delete(np.array([1]))
    index.upsert(np.array([2, 4]), vectors[[3, 3]])
    held.write(tmp_path / "index")
    restored = make_index(4)
    restored.restore(tmp_path / "index")
    ids, found = restored.vectors(np.arange(1, 5))
    assert (held.kind, held.count) == (make_index.__name__, 3)
    assert ids.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(found, vectors[:3])


def test_a_large_collection_gets_a_snapshot_for_every_hundredth_of_it_and_a_small_one_for_every_change(
    things: Things, folder: Path
) -> None:
    def kept_after(*keys: str) -> int:
        things.put(keys)
        index.maintain(things.head, 1)
        return snapshots.position_of(snapshots.list_snapshots(folder)[-1])[0]

    index = opened(things, folder)
    assert kept_after("a") == 2  # an entry for each of two spaces
    assert kept_after("b") == 4
    assert kept_after(*(f"k{number}" for number in range(498))) == 1_000
    assert kept_after("x", "y") == 1_000  # 4 entries of 502 vectors
    assert kept_after("z") == 1_006


def test_readers_go_side_by_side_and_a_writer_alone() -> None:
    lock, together = ReadWriteLock(), threading.Barrier(2, timeout=60)
    state = {"value": 0}

    def read() -> None:
        with lock.read_lock():
            together.wait()

    def write() -> None:
        with lock.write_lock():
            seen = state["value"]
            time.sleep(0.002)
            state["value"] = seen + 1

    threads = [threading.Thread(target=target) for target in [read, read] + [write] * 20]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert state["value"] == 20
    assert not any(thread.is_alive() for thread in threads)


def test_steady_readers_do_not_starve_a_writer() -> None:
    lock, stop, written = ReadWriteLock(), threading.Event(), threading.Event()

    def read() -> None:
        while not stop.is_set():
            with lock.read_lock():
                time.sleep(0.001)

    def write() -> None:
        with lock.write_lock():
            written.set()

    readers = [threading.Thread(target=read) for _ in range(4)]
    for thread in readers:
        thread.start()
    writer = threading.Thread(target=write)
    writer.start()
    assert written.wait(60)
    stop.set()
    for thread in [*readers, writer]:
        thread.join(60)


def test_readers_behind_a_writer_that_gives_up_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    lock, queued = ReadWriteLock(), threading.Event()
    condition = lock._changed
    wait = condition.wait

    def noted_wait(timeout: float | None = None) -> bool:
        queued.set()
        return wait(timeout)

    def interrupted_wait(_predicate: object) -> bool:
        while not queued.is_set():
            wait(0.01)
        raise KeyboardInterrupt

    def write() -> None:
        with pytest.raises(KeyboardInterrupt), lock.write_lock():
            pass

    def read() -> None:
        with lock.read_lock():
            pass

    monkeypatch.setattr(condition, "wait", noted_wait)
    monkeypatch.setattr(condition, "wait_for", interrupted_wait)
    with lock.read_lock():
        writer, reader = threading.Thread(target=write), threading.Thread(target=read, daemon=True)
        writer.start()
        while not lock._writers_waiting:
            time.sleep(0.001)
        reader.start()
        for thread in (writer, reader):
            thread.join(60)
            assert not thread.is_alive()
