from pathlib import Path

import numpy as np
import pytest

from anyseek.search.catalogue import collections, log
from anyseek.search.catalogue.session import Database
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import CollectionNotFound
from anyseek.search.settings import Settings
from anyseek.search.spaces.local import snapshots
from anyseek.search.spaces.local.backend import space_folder
from anyseek.search.types import Collection, Part, Query
from anyseek.search.upkeep.snapshots import SnapshotLease
from tests.search.gallery import SPACES, Things, WordsEmbedder, make_collection, put


@pytest.fixture
def engine(database: Database, settings: Settings, embedder: WordsEmbedder) -> SearchEngine:
    return SearchEngine(database, settings, embedder)


def held(settings: Settings, collection: Collection) -> list[list[str]]:
    folders = [space_folder(settings, collection.id, collection.spaces[name].id) for name in SPACES]
    return [[path.name for path in snapshots.listed(folder)] for folder in folders]


def state(database: Database) -> Collection:
    with database.read() as session:
        return collections.get(session, "things")


def keys(count: int, start: int = 0) -> list[str]:
    return [f"k{number}" for number in range(start, start + count)]


def test_every_space_gets_a_snapshot_of_what_is_there(things: Things, settings: Settings, engine: SearchEngine) -> None:
    things.put(["x"])
    assert engine.write_snapshots("things")
    assert held(settings, things.collection) == [["2-0"], ["2-0"]]


def test_nothing_new_writes_nothing(things: Things, settings: Settings, engine: SearchEngine) -> None:
    assert engine.write_snapshots("things")
    assert held(settings, things.collection) == [[], []]
    things.put(["x"])
    engine.write_snapshots("things")
    before = {path: path.stat().st_mtime_ns for path in settings.indexes.rglob("*")}
    engine.write_snapshots("things")
    assert {path: path.stat().st_mtime_ns for path in settings.indexes.rglob("*")} == before


def test_a_short_tail_can_wait(things: Things, settings: Settings, engine: SearchEngine) -> None:
    things.put(keys(4))
    engine.write_snapshots("things", minimum_tail=10)
    assert held(settings, things.collection) == [[], []]
    things.put(["x"])
    engine.write_snapshots("things", minimum_tail=10)
    assert held(settings, things.collection) == [["10-0"], ["10-0"]]


def test_the_centre_is_frozen_at_64_and_at_every_doubling(
    things: Things, settings: Settings, engine: SearchEngine
) -> None:
    versions = []
    for count, start in ((63, 0), (1, 63), (63, 64), (1, 127)):
        things.put(keys(count, start))
        engine.write_snapshots("things")
        versions.append(state(things.database).spaces["looks"].centre_version)
    assert versions == [0, 1, 1, 2]


def test_the_centre_is_the_mean_of_the_raw_vectors_of_living_items(things: Things, engine: SearchEngine) -> None:
    things.put(keys(70))
    things.put(["k0"], "changed")
    things.remove(["k1"])
    engine.write_snapshots("things")
    for space in state(things.database).spaces.values():
        with things.database.read() as session:
            pages = log.latest_vectors(session, things.collection.id, space.id)
            vectors = np.concatenate([page.of(space.fingerprint, space.dimension)[1] for page in pages])
        assert len(vectors) == 69
        np.testing.assert_allclose(space.centre, vectors.mean(0), atol=1e-6)


def test_a_space_whose_prior_is_zero_is_never_centred(
    database: Database, settings: Settings, embedder: WordsEmbedder
) -> None:
    class Uncentred(WordsEmbedder):
        def lean(self, space: str) -> np.ndarray:
            return np.zeros(16, np.float32)

    plain = Uncentred()
    collection = make_collection(database, plain)
    put(database, collection, plain, keys(100))
    SearchEngine(database, settings, plain).write_snapshots("things")
    for space in state(database).spaces.values():
        assert space.centre_version == 0
        assert not space.centre.any()


def test_old_snapshots_are_pruned_and_the_log_is_compacted_below_the_oldest_kept(
    things: Things, settings: Settings, engine: SearchEngine
) -> None:
    for text in ("first", "second", "third"):
        things.put(["x", "y"], text)
        engine.write_snapshots("things")
    assert held(settings, things.collection) == [["8-0", "12-0"]] * 2
    with things.database.read() as session:
        assert [entry.seq for entry in log.entries_after(session, things.collection.id, 0, 100)] == [9, 10, 11, 12]
        assert collections.head(session, "things").compacted_seq == 8
    assert len(engine.query("things", Query((Part(item="x"),), k=5)).hits) == 2


def test_one_process_at_a_time(things: Things, settings: Settings, engine: SearchEngine) -> None:
    things.put(["x"])
    with SnapshotLease(things.database, settings, things.collection.id):
        assert not engine.write_snapshots("things")
        assert held(settings, things.collection) == [[], []]
    assert engine.write_snapshots("things")


def test_forgetting_a_deleted_collection_removes_its_snapshots_only(
    things: Things, settings: Settings, engine: SearchEngine
) -> None:
    other = make_collection(things.database, things.embedder, "other")
    for filled in (things.collection, other):
        put(things.database, filled, things.embedder, ["x"])
        engine.write_snapshots(filled.name)
    engine.forget("things")
    assert held(settings, things.collection) == held(settings, other) == [["2-0"], ["2-0"]]
    with things.database.write() as session:
        collections.delete(session, "things")
    engine.forget("things")
    assert [path.name for path in Path(settings.indexes).iterdir()] == [str(other.id)]


def test_an_unknown_collection_is_named(engine: SearchEngine) -> None:
    with pytest.raises(CollectionNotFound, match="nowhere"):
        engine.write_snapshots("nowhere")
