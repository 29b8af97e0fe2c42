"""A live index becomes another kind, loses its dead and takes in what waits while it serves; others take it over."""

import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from anyseek.search.engine import SearchEngine
from anyseek.search.settings import Index, Settings
from anyseek.search.spaces.local import candidates, snapshots
from anyseek.search.spaces.local import faiss as faiss_index
from anyseek.search.spaces.local import space as space_index
from anyseek.search.spaces.local.backend import LocalBackend, space_folder
from anyseek.search.spaces.local.candidates import IndexState, Kind
from anyseek.search.spaces.local.faiss import FaissIndex
from anyseek.search.spaces.local.space import LocalSpace
from anyseek.search.types import Part, Query
from anyseek.search.upkeep.snapshots import SnapshotLease
from tests.search.gallery import DIMENSION, Things
from tests.search.live_spaces import contents, expected, freeze, no_filters

HNSW = partial(FaissIndex, kind=Kind.HNSW)


@pytest.fixture(autouse=True)
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if 100 vectors were many."""
    monkeypatch.setattr(candidates, "min_vectors", lambda kind: 100)
    monkeypatch.setattr(candidates, "MIN_DELETED", 10)
    monkeypatch.setattr(faiss_index, "MAX_PENDING", 20)
    monkeypatch.setattr(candidates.Hnsw, "cost", lambda *_: 0.0)
    monkeypatch.setattr(candidates.Ivf, "cost", lambda *_: 0.0)
    monkeypatch.setattr(space_index, "MAX_REOPENED", 100)
    monkeypatch.setattr(candidates, "MIN_SAMPLE", 50)


@pytest.fixture
def things(things: Things) -> Things:
    things.put([f"k{number}" for number in range(120)])
    return things


def opened(things: Things, settings: Settings) -> LocalSpace:
    head = things.head
    index = LocalSpace(things.database, space_folder(settings, head.id, 1), head.id, head.spaces[0], HNSW, no_filters)
    index.refresh(head)
    return index


def state(index: LocalSpace) -> IndexState:
    return index._require_live().index.state


def wait_until_renewed(index: LocalSpace) -> None:
    for thread in threading.enumerate():
        if thread.name == "tidy-index":
            thread.join(60)


def assert_agrees(things: Things, index: LocalSpace) -> None:
    """It holds and finds the newest vector of every item, on the centre that it has."""
    with index.open_view() as view:
        wanted = expected(things.database, view.centre)
    held = contents(things.database, index)
    ids, vectors = np.array(list(held)), np.stack(list(held.values()))
    with index.open_view() as view:
        found = view.search(vectors, 1).ids[:, 0]
    assert held.keys() == wanted.keys()
    np.testing.assert_allclose(vectors, np.stack([wanted[item_id] for item_id in held]), atol=1e-6)
    assert np.mean(found == ids) > 0.95


def test_a_kind_that_suits_better_is_built_saved_and_loaded(things: Things, settings: Settings) -> None:
    index = opened(things, settings)
    assert state(index).kind is Kind.FLAT
    index.maintain(things.head, 1)
    assert state(index).kind is Kind.HNSW
    things.put(["k3", "new"], "changed")
    things.remove(["k4"])
    loaded = opened(things, settings)
    assert state(loaded).kind is Kind.HNSW
    index.refresh(things.head)
    for held in (index, loaded):
        assert_agrees(things, held)


def test_searches_and_changes_go_on_while_it_is_built(
    things: Things, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, build = opened(things, settings), faiss_index._build_candidates

    def building(*arguments: object) -> object:
        things.put(["k3", "new"], "changed")
        things.remove(["k4"])
        index.refresh(things.head)
        assert_agrees(things, index)
        return build(*arguments)

    monkeypatch.setattr(faiss_index, "_build_candidates", building)
    index.renew()
    assert state(index).kind is Kind.HNSW
    assert_agrees(things, index)
    with index.open_view() as view:
        assert view.search(np.ones((1, DIMENSION), np.float32), 200).ids.shape == (1, 120)


def test_what_waits_is_taken_in_by_itself(things: Things, settings: Settings) -> None:
    index = opened(things, settings)
    index.renew()
    things.put([f"n{number}" for number in range(30)])
    index.refresh(things.head)
    wait_until_renewed(index)
    assert state(index).pending_count == 0
    assert_agrees(things, index)


def test_the_dead_go_at_the_next_writing(things: Things, settings: Settings) -> None:
    index = opened(things, settings)
    index.maintain(things.head, 1)
    for number in range(60):
        things.put([f"k{number}"], f"changed {number}")
    index.refresh(things.head)
    wait_until_renewed(index)
    assert state(index).deleted_count == 60
    index.maintain(things.head, 1_000)
    assert state(index).deleted_count == 0
    assert_agrees(things, opened(things, settings))


def test_a_large_index_keeps_its_centre_until_another_is_built_beside_it(things: Things, settings: Settings) -> None:
    index = opened(things, settings)
    index.maintain(things.head, 1)
    freeze(things.database, 0.1)
    things.put(["new"])
    index.refresh(things.head)
    with index.open_view() as view:
        assert not np.allclose(view.centre, 0.1)
    assert_agrees(things, index)
    index.maintain(things.head, 1_000)
    with index.open_view() as view:
        np.testing.assert_allclose(view.centre, 0.1)
    assert state(index).kind is Kind.HNSW
    assert_agrees(things, index)


def test_another_process_takes_over_what_was_built(things: Things, settings: Settings) -> None:
    other, builder = opened(things, settings), opened(things, settings)
    builder.maintain(things.head, 1)
    other.adopt()
    assert state(other).kind is Kind.HNSW
    (path,) = snapshots.list_snapshots(other.folder)
    (path / "index").unlink()
    other.adopt()  # there is nothing better, so it is not even looked at
    assert_agrees(things, other)


def test_it_is_taken_over_when_somebody_else_writes_snapshots(things: Things, settings: Settings) -> None:
    backend = LocalBackend(things.database, settings, HNSW)
    engine = SearchEngine(things.database, settings, things.embedder, backend)
    assert len(engine.query("things", Query((Part(item="k1"),), k=3, space="looks")).hits) == 3
    opened(things, settings).maintain(things.head, 1)
    with SnapshotLease(things.database, settings, things.collection.id):
        assert not engine.write_snapshots("things")
    index = engine._spaces[1][1]
    assert isinstance(index, LocalSpace)
    assert state(index).kind is Kind.HNSW


def test_settings_name_the_kind(things: Things, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", index=Index(kind="ivf"))
    head = things.head
    index = LocalBackend(things.database, settings).open(head, head.spaces[0])
    index.refresh(head)
    index.renew()
    assert state(index).kind is Kind.IVF
    assert_agrees(things, index)
