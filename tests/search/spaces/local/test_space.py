"""A live index says what the log says, however it was opened and whatever happens meanwhile."""

import logging
import threading
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import update

from anyseek.search.catalogue import collections, items, log
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import LogRow
from anyseek.search.errors import CollectionNotFound
from anyseek.search.spaces.base import centre
from anyseek.search.spaces.local import snapshots
from anyseek.search.spaces.local.faiss import FaissIndex
from anyseek.search.spaces.local.space import LocalSpace, MakeIndex
from anyseek.search.types import Collection
from tests.search.gallery import DIMENSION, WordsEmbedder, put, remove
from tests.search.memory_index import MemoryIndex

SPACE = "looks"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "indexes"


def head_of(database: Database) -> collections.Head:
    with database.read() as session:
        return collections.head(session, "things")


def opened(database: Database, folder: Path, make_index: MakeIndex = FaissIndex) -> LocalSpace:
    head = head_of(database)
    space = next(space for space in head.spaces if space.name == SPACE)
    index = LocalSpace(database, folder, head.id, space, make_index)
    index.refresh(head)
    return index


def contents(index: LocalSpace) -> dict[int, np.ndarray]:
    with index.reading() as view:
        ids, vectors = view.vectors(np.arange(1, 500))
        assert len(ids) == view.count()
    return dict(zip(ids.tolist(), vectors, strict=True))


def assert_agrees(database: Database, collection: Collection, index: LocalSpace) -> None:
    """The index holds the newest vector of every item, centred on the space's present mean, and nothing else."""
    with database.read() as session:
        space = collections.get(session, "things").spaces[SPACE]
        expected: dict[int, np.ndarray] = {}
        for page in log.latest_vectors(session, collection.id, space.id):
            ids, vectors = page.of(space.fingerprint, DIMENSION)
            expected.update(zip(ids.tolist(), centre(vectors, space.centre), strict=True))
    found = contents(index)
    assert found.keys() == expected.keys()
    for item_id, vector in expected.items():
        np.testing.assert_allclose(found[item_id], vector, atol=1e-6)


def freeze(database: Database, collection: Collection, value: float) -> None:
    with database.write() as session:
        mean = np.full(DIMENSION, value, np.float32)
        collections.freeze_centre(session, collection.spaces[SPACE].id, mean, 64)


@pytest.mark.parametrize("make_index", [MemoryIndex, FaissIndex])
def test_the_tail_brings_every_kind_of_change(
    database: Database, embedder: WordsEmbedder, collection: Collection, folder: Path, make_index: MakeIndex
) -> None:
    index = opened(database, folder, make_index)
    assert contents(index) == {}
    put(database, collection, embedder, ["x", "y", "z"])
    put(database, collection, embedder, ["x"], "changed")
    remove(database, collection, ["y"])
    put(database, collection, embedder, ["y"], "again")
    index.refresh(head_of(database))
    assert_agrees(database, collection, index)
    assert len(contents(index)) == 3


def test_a_snapshot_and_the_tail_equal_the_log(
    database: Database, embedder: WordsEmbedder, collection: Collection, folder: Path
) -> None:
    put(database, collection, embedder, [f"k{number}" for number in range(20)])
    assert opened(database, folder).save() == 40
    put(database, collection, embedder, ["k3", "new"], "changed")
    remove(database, collection, ["k4"])
    assert_agrees(database, collection, opened(database, folder))


def test_long_tails_are_read_in_pages(
    database: Database, embedder: WordsEmbedder, collection: Collection, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = opened(database, folder)
    put(database, collection, embedder, [f"k{number}" for number in range(30)])
    remove(database, collection, ["k0", "k29"])
    monkeypatch.setattr(log, "PAGE", 7)
    index.refresh(head_of(database))
    assert_agrees(database, collection, index)


def test_a_snapshot_is_really_used(
    database: Database, embedder: WordsEmbedder, collection: Collection, folder: Path
) -> None:
    put(database, collection, embedder, ["x", "y"])
    opened(database, folder).save()
    with database.write() as session:
        session.execute(update(LogRow).values(fingerprint="unreadable by now"))
    assert len(contents(opened(database, folder))) == 2


@pytest.mark.parametrize("cut", [0.0, 0.5, 0.99])
def test_a_truncated_snapshot_costs_a_warning_and_nothing_else(
    database: Database,
    embedder: WordsEmbedder,
    collection: Collection,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    cut: float,
) -> None:
    put(database, collection, embedder, ["x", "y"])
    opened(database, folder).save()
    (path,) = snapshots.listed(folder)
    data = (path / "index").read_bytes()
    (path / "index").write_bytes(data[: int(cut * len(data))])
    assert_agrees(database, collection, opened(database, folder))
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_new_centre_is_taken_over_by_a_live_index(
    database: Database, embedder: WordsEmbedder, collection: Collection, folder: Path
) -> None:
    put(database, collection, embedder, ["x", "y"])
    index = opened(database, folder)
    index.save()
    before = contents(index)
    freeze(database, collection, 0.1)
    index.refresh(head_of(database))
    assert_agrees(database, collection, index)
    assert not np.allclose(contents(index)[1], before[1], atol=1e-3)


def test_a_reader_behind_a_compaction_opens_anew_and_forgets_what_was_deleted(
    database: Database, embedder: WordsEmbedder, collection: Collection, folder: Path
) -> None:
    put(database, collection, embedder, ["x", "y", "z"])
    index = opened(database, folder)
    index.save()
    remove(database, collection, ["y"])
    put(database, collection, embedder, ["w"])
    with database.write() as session:
        log.compact(session, collection.id, head_of(database).last_seq)
    index.refresh(head_of(database))
    assert_agrees(database, collection, index)
    assert_agrees(database, collection, opened(database, folder))  # its snapshot is older than the compaction


def test_vectors_of_other_weights_are_left_out_and_named(
    database: Database, embedder: WordsEmbedder, collection: Collection, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index = opened(database, folder)
    x, y = put(database, collection, embedder, ["x", "y"])
    with database.write() as session:
        session.execute(update(LogRow).where(LogRow.item_id == x.id).values(fingerprint="other"))
    index.refresh(head_of(database))
    assert contents(index).keys() == contents(opened(database, folder)).keys() == {y.id}
    assert "anyseek verify" in caplog.text


def test_a_damaged_vector_is_left_out(
    database: Database, embedder: WordsEmbedder, collection: Collection, folder: Path
) -> None:
    index = opened(database, folder)
    x, y = put(database, collection, embedder, ["x", "y"])
    with database.write() as session:
        session.execute(update(LogRow).where(LogRow.item_id == x.id).values(vector=b"short"))
    index.refresh(head_of(database))
    assert contents(index).keys() == contents(opened(database, folder)).keys() == {y.id}


def test_a_deleted_collection_is_said_to_be_deleted(
    database: Database, embedder: WordsEmbedder, collection: Collection, folder: Path
) -> None:
    index = opened(database, folder)
    put(database, collection, embedder, ["x"])
    head = head_of(database)
    with database.write() as session:
        collections.delete(session, "things")
    with pytest.raises(CollectionNotFound):
        index.refresh(head)


def test_reading_before_opening_is_a_mistake(database: Database, collection: Collection, folder: Path) -> None:
    head = head_of(database)
    index = LocalSpace(database, folder, head.id, head.spaces[0], FaissIndex)
    with pytest.raises(RuntimeError, match="refresh"), index.reading():
        pass


def test_threads_search_while_others_write(
    database: Database, embedder: WordsEmbedder, collection: Collection, folder: Path
) -> None:
    """Every thread finds what was committed before it asked; none sees the index half changed."""
    index, failures, stop = opened(database, folder), [], threading.Event()

    def search() -> None:
        while not stop.is_set():
            with database.read() as session:
                head = collections.head(session, "things")
                committed = collections.count(session, collection.id)
            index.refresh(head)
            with index.reading() as view:
                found = view.search(np.ones((1, DIMENSION), np.float32), 1_000).ids[0]
            if len(set(found.tolist())) != len(found) or len(found) < committed:
                failures.append((committed, found))

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(40):
        put(database, collection, embedder, [f"{number}-{part}" for part in range(4)])
        put(database, collection, embedder, ["0-0"], f"changed {number}")
        if number == 20:
            freeze(database, collection, 0.1)
    stop.set()
    for thread in threads:
        thread.join(30)
    assert failures == []
    index.refresh(head_of(database))
    assert_agrees(database, collection, index)
    with database.read() as session:
        assert len(items.list_page(session, collection, None, 1_000)) == 160


def test_a_snapshot_is_written_beside_searches_and_changes(
    database: Database, embedder: WordsEmbedder, collection: Collection, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(database, collection, embedder, ["x", "y"])
    index, write, counted = opened(database, folder), snapshots.checksum, []

    def change_first(path: Path) -> str:
        put(database, collection, embedder, ["z"])
        remove(database, collection, ["x"])
        put(database, collection, embedder, ["y"], "changed")
        index.refresh(head_of(database))
        with index.reading() as view:
            counted.append(view.count())
        return write(path)

    monkeypatch.setattr(snapshots, "checksum", change_first)
    index.save()
    monkeypatch.undo()
    assert counted == [2]
    assert_agrees(database, collection, index)
    with database.write() as session:
        session.execute(update(LogRow).where(LogRow.seq <= 4).values(vector=b"gone"))  # so the snapshot must be used
    assert contents(opened(database, folder)).keys() == contents(index).keys()


@pytest.mark.parametrize("make_index", [MemoryIndex, FaissIndex])
def test_what_is_frozen_stays_as_it_was(make_index: MakeIndex, tmp_path: Path) -> None:
    index, vectors = make_index(4), np.eye(4, dtype=np.float32)
    index.upsert(np.array([1, 2, 3]), vectors[:3])
    held = index.frozen()
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
    database: Database, embedder: WordsEmbedder, collection: Collection, folder: Path
) -> None:
    def kept_after(*keys: str) -> int:
        put(database, collection, embedder, keys)
        index.keep(head_of(database), 1)
        return snapshots.stands_at(snapshots.listed(folder)[-1])[0]

    index = opened(database, folder)
    assert kept_after("a") == 2  # an entry for each of two spaces
    assert kept_after("b") == 4
    assert kept_after(*(f"k{number}" for number in range(498))) == 1_000
    assert kept_after("x", "y") == 1_000  # 4 entries of 502 vectors
    assert kept_after("z") == 1_006
