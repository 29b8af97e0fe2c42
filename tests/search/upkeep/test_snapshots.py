"""When snapshots are written, what they are centred on, and what goes for them."""

from dataclasses import replace

import numpy as np
import pytest

from anyseek.search.catalogue import collections, log
from anyseek.search.engine import SearchEngine
from anyseek.search.spaces.local import snapshots
from anyseek.search.spaces.local.backend import space_folder
from anyseek.search.types import Collection, Part, Query, Space
from anyseek.search.upkeep.snapshots import SnapshotLease
from tests.search.gallery import SPACES, Home, WordsEmbedder


@pytest.fixture
def gallery(collection: Collection) -> Collection:
    """Empty, so that numbers in the log are easily counted."""
    return collection


@pytest.fixture
def engine(home: Home) -> SearchEngine:
    return home.engine()


def held(home: Home) -> list[list[str]]:
    """The names of the snapshots of each space."""
    folders = [space_folder(home.settings, home.collection.id, home.collection.spaces[name].id) for name in SPACES]
    return [[path.name for path in snapshots.list_snapshots(folder)] for folder in folders]


def spaces(home: Home) -> dict[str, Space]:
    with home.database.read() as session:
        return dict(collections.get(session, "things").spaces)


def keys(count: int, start: int = 0) -> list[str]:
    return [f"k{number}" for number in range(start, start + count)]


def test_every_space_gets_a_snapshot_and_nothing_new_writes_none(home: Home, engine: SearchEngine) -> None:
    assert engine.write_snapshots("things")
    assert held(home) == [[], []]
    home.put(["x"])
    assert engine.write_snapshots("things")
    assert held(home) == [["2-0"], ["2-0"]]
    before = {path: path.stat().st_mtime_ns for path in home.settings.indexes.rglob("*")}
    engine.write_snapshots("things")
    assert {path: path.stat().st_mtime_ns for path in home.settings.indexes.rglob("*")} == before


def test_a_short_tail_can_wait(home: Home, engine: SearchEngine) -> None:
    home.put(keys(4))
    engine.write_snapshots("things", minimum_tail=10)
    assert held(home) == [[], []]
    home.put(["x"])
    engine.write_snapshots("things", minimum_tail=10)
    assert held(home) == [["10-0"], ["10-0"]]


def test_the_centre_is_frozen_at_64_and_at_every_doubling(home: Home, engine: SearchEngine) -> None:
    versions = []
    for count, start in ((63, 0), (1, 63), (63, 64), (1, 127)):
        home.put(keys(count, start))
        engine.write_snapshots("things")
        versions.append(spaces(home)["looks"].centre_version)
    assert versions == [0, 1, 1, 2]


def test_the_centre_is_the_mean_of_the_raw_vectors_of_living_items(home: Home, engine: SearchEngine) -> None:
    home.put(keys(70))
    home.put(["k0"], "changed")
    home.remove(["k1"])
    engine.write_snapshots("things")
    for space in spaces(home).values():
        with home.database.read() as session:
            pages = log.latest_vectors(session, home.collection.id, space.id)
            vectors = np.concatenate([page.of(space.fingerprint, space.dimension)[1] for page in pages])
        assert len(vectors) == 69
        np.testing.assert_allclose(space.centre, vectors.mean(0), atol=1e-6)


def test_a_space_whose_prior_is_zero_is_never_centred(home: Home) -> None:
    class Uncentred(WordsEmbedder):
        def lean(self, space: str) -> np.ndarray:
            return np.zeros(16, np.float32)

    with home.database.write() as session:
        collections.delete(session, "things")
    plain = replace(home, embedder=Uncentred()).beside("things")
    plain.put(keys(100))
    plain.engine().write_snapshots("things")
    for space in spaces(plain).values():
        assert space.centre_version == 0
        assert not space.centre.any()


def test_old_snapshots_are_pruned_and_the_log_is_compacted_below_the_oldest_kept(
    home: Home, engine: SearchEngine
) -> None:
    for text in ("first", "second", "third"):
        home.put(["x", "y"], text)
        engine.write_snapshots("things")
    assert held(home) == [["8-0", "12-0"]] * 2
    with home.database.read() as session:
        assert [entry.seq for entry in log.entries_after(session, home.collection.id, 0, 100)] == [9, 10, 11, 12]
        assert collections.head(session, "things").compacted_seq == 8
    assert len(engine.query("things", Query((Part(item="x"),), k=5)).hits) == 2


def test_one_process_at_a_time(home: Home, engine: SearchEngine) -> None:
    home.put(["x"])
    with SnapshotLease(home.database, home.settings, home.collection.id):
        assert not engine.write_snapshots("things")
        assert held(home) == [[], []]
    assert engine.write_snapshots("things")


def test_forgetting_a_deleted_collection_removes_its_snapshots_only(home: Home, engine: SearchEngine) -> None:
    other = home.beside("other")
    for filled in (home, other):
        filled.put(["x"])
        engine.write_snapshots(filled.collection.name)
    engine.forget("things")
    assert held(home) == held(other) == [["2-0"], ["2-0"]]
    with home.database.write() as session:
        collections.delete(session, "things")
    engine.forget("things")
    assert [path.name for path in home.settings.indexes.iterdir()] == [str(other.collection.id)]
