"""A live space says what the catalogue says, whichever backend holds it, and whatever has happened meanwhile.

`table` is added as docs/indexes.md says a backend is added: a module with the class, and a row in `BACKENDS`.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import update

from anyseek.search.catalogue import collections, facets, log, space_switch
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import LogRow
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import CollectionNotFound
from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.filters.tree import checked
from anyseek.search.settings import BACKENDS, BadSetting, Index, Pgvector, Qdrant, Settings, read_settings
from anyseek.search.spaces.base import Backend, LiveSpace, check_backend, open_backend
from anyseek.search.spaces.local.space import LocalSpace
from anyseek.search.types import Collection, Part, Query
from anyseek.search.upkeep.rebuild import rebuild
from anyseek.search.upkeep.verify import verify
from tests.contracts.test_catalogue_filters import PICTURES
from tests.contracts.test_catalogue_filters import put as put_attributes
from tests.contracts.vector_indexes import NEEDS_PGVECTOR, NEEDS_SERVER, QDRANT_URL, pgvector_url
from tests.search.gallery import (
    DIMENSION,
    Things,
    WordsEmbedder,
    direction,
    keys,
    make_collection,
    text,
)
from tests.search.live_spaces import assert_agrees, contents, expected, freeze, nearby_ids

ADDED = {"table": "tests.contracts.table_backend:TableBackend"}


@pytest.fixture(
    params=[
        "faiss",
        "qdrant",
        "table",
        pytest.param("pgvector", marks=NEEDS_PGVECTOR),
        pytest.param("qdrant server", marks=NEEDS_SERVER),
    ]
)
def home_settings(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings that name each backend, in a data directory of its own."""
    for name, backend in ADDED.items():
        monkeypatch.setitem(BACKENDS, name, backend)
    name, _, server = request.param.partition(" ")
    pgvector = Pgvector(pgvector_url() if name == "pgvector" else "")
    qdrant = Qdrant(url=QDRANT_URL if server else "")
    return Settings(tmp_path / "home", index=Index(name), qdrant=qdrant, pgvector=pgvector)


@pytest.fixture
def embedder(tmp_path: Path) -> WordsEmbedder:
    """Its fingerprint is of this test alone, so that servers hold nothing of its spaces."""
    return WordsEmbedder(str(tmp_path))


@pytest.fixture
def collection(database: Database, embedder: WordsEmbedder) -> Collection:
    return make_collection(database, embedder)


@pytest.fixture
def backend(database: Database, home_settings: Settings) -> Iterator[Backend]:
    with closing(open_backend(database, home_settings)) as backend:
        yield backend


def opened(things: Things, backend: Backend) -> LiveSpace:
    """As another process opens it, up to date."""
    head = things.head
    live = backend.open(head, head.spaces[0])
    live.refresh(head)
    return live


def test_settings_name_it_and_it_says_that_it_answers(home_settings: Settings) -> None:
    assert check_backend(home_settings)
    with pytest.raises(BadSetting, match=f"must be one of {', '.join(BACKENDS)}, not 'milvus'$"):
        read_settings({"ANYSEEK_INDEX_BACKEND": "milvus"})


def test_it_says_how_far_what_it_has_stored_reaches(things: Things, backend: Backend) -> None:
    things.put(["a", "b"])
    head = things.head
    live = opened(things, backend)
    live.maintain(head, 1)
    assert backend.open(head, head.spaces[0]).stored_state().seq == head.last_seq
    things.put(["c"])
    stored = backend.open(head, head.spaces[0]).stored_state()
    assert stored.seq == head.last_seq < things.head.last_seq, "asking brings nothing up to date"


def test_an_empty_space_finds_nothing(things: Things, backend: Backend) -> None:
    live = opened(things, backend)
    assert contents(things.database, live) == {}
    with live.open_view() as view:
        assert view.search(np.ones((2, DIMENSION), np.float32), 5).ids.shape == (2, 0)


def test_every_kind_of_change_arrives(things: Things, backend: Backend) -> None:
    live = opened(things, backend)
    things.put(["x", "y", "z"])
    live.refresh(things.head)
    assert_agrees(things.database, live)
    things.put(["x"], "changed")
    things.remove(["y"])
    things.put(["y"], "again")
    live.refresh(things.head)
    assert_agrees(things.database, live)
    assert live.cursor == things.head.last_seq


def test_the_nearest_come_first_and_equal_scores_by_id(things: Things, backend: Backend) -> None:
    things.put([f"k{number}" for number in range(20)])
    twins = things.put([f"t{number}" for number in range(6)], "the same")
    live = opened(things, backend)
    with live.open_view() as view:
        ids, vectors = view.vectors(nearby_ids(things.database))
        query = vectors[ids == twins[0].id]
        scores = query @ vectors.T
        found = view.search(np.concatenate([query, vectors[:1]]), 10)
        assert found.ids[0, :6].tolist() == sorted(item.id for item in twins)
        np.testing.assert_allclose(found.scores[0], np.sort(scores[0])[::-1][:10], atol=1e-6)
        assert found.ids[1, 0] == ids[0]
        assert (found.ids.dtype, found.scores.dtype) == (np.int64, np.float32)
        assert sorted(view.search(query, 1_000).ids[0].tolist()) == ids.tolist()


def test_another_process_goes_on_where_the_first_was(things: Things, backend: Backend) -> None:
    things.put([f"k{number}" for number in range(20)])
    opened(things, backend).maintain(things.head, 1)
    things.put(["k3", "new"], "changed")
    things.remove(["k4"])
    assert_agrees(things.database, opened(things, backend))


def test_the_log_may_be_compacted_up_to_what_keep_says(things: Things, backend: Backend) -> None:
    things.put(["x", "y", "z"])
    live = opened(things, backend)
    things.remove(["y"])
    kept = live.maintain(things.head, 1)
    assert 0 < kept <= things.head.last_seq
    with things.database.write() as session:
        log.compact(session, things.collection.id, kept)
    things.put(["w"])
    live.refresh(things.head)
    assert_agrees(things.database, live)
    assert_agrees(things.database, opened(things, backend))


def test_what_was_compacted_away_is_forgotten_all_the_same(things: Things, backend: Backend) -> None:
    things.put(["x", "y", "z"])
    live = opened(things, backend)
    live.maintain(things.head, 1)
    things.remove(["y"])
    things.put(["w"])
    with things.database.write() as session:
        log.compact(session, things.collection.id, things.head.last_seq)
    live.refresh(things.head)
    assert_agrees(things.database, live)
    assert_agrees(things.database, opened(things, backend))


def test_blocks_are_centred_by_themselves(database: Database, backend: Backend, tmp_path: Path) -> None:
    embedder = WordsEmbedder(str(tmp_path))
    embedder.spaces = {name: replace(about, blocks=(4, DIMENSION - 4)) for name, about in embedder.spaces.items()}
    things = Things(database, make_collection(database, embedder), embedder)
    things.put(["x", "y", "z"])
    assert things.head.spaces[0].blocks == (4, DIMENSION - 4)
    live = opened(things, backend)
    assert_agrees(database, live)
    freeze(database, 0.1)
    live.refresh(things.head)
    live.maintain(things.head, 1)
    assert_agrees(database, live)


def test_a_new_centre_is_moved_to_by_keep(things: Things, backend: Backend) -> None:
    things.put(["x", "y"])
    live = opened(things, backend)
    live.maintain(things.head, 1)
    freeze(things.database, 0.1)
    live.refresh(things.head)
    with live.open_view() as view:
        _, vectors = view.vectors(nearby_ids(things.database))
        np.testing.assert_allclose(vectors, list(expected(things.database, view.centre).values()), atol=1e-6)
    live.maintain(things.head, 1)
    assert_agrees(things.database, live)
    live.maintain(things.head, 1)  # removes what served before
    assert_agrees(things.database, live)
    other = opened(things, backend)
    other.adopt()
    assert_agrees(things.database, other)


def test_filters_mean_what_they_mean_in_the_catalogue(things: Things, backend: Backend) -> None:
    put_attributes(things.database, things.collection, PICTURES)
    live, head = opened(things, backend), things.head
    written = [
        "width >= 640", "width > 640", "width = '1920'", "not width = 1920", "label = cat", "label in (dog, Cat)",
        "label exists", "not label exists", "open = true", "open in (false)", "camera exists", "camera.lens.mm < 60",
        "camera.make starts with Nik", "camera.make starts with Niko", "label >= a", "label < cat", "label <= cat",
        "taken >= 2023-06-01", "taken < 2024-05-01T12:00:00+02:00", "taken = '2023-01-31'", "place.lat < 0",
        "place within (45, 5, 48, 11)", "place within (-20, 90, 0, -170)", "@key in (a, d)",
        "place within 100 km of 47, 8", "place within 200 km of -17, 179", "not place within 20000 km of 47, 8",
        "@key > b",
        "@caption starts with 'caption of b'", "@caption exists and @key > b", "n > 1e300", "nothing = 1",
        "width > 0 and (label = dog or taken >= 2024-01-01)", "label starts with ''", "label > dof and label < doh",
    ]  # fmt: skip
    filters = [checked(filter_from_text(where)) for where in written]
    with things.database.read() as session:
        allowed = [facets.matching_ids(session, things.collection.id, where).tolist() for where in filters]
        resolved = live.resolve(session, head, filters)
    query = direction("the query", "looks")[np.newaxis]
    with live.open_view(resolved) as view:
        found = [sorted(view.search(query, 100, where).ids[0].tolist()) for where in filters]
    assert found == allowed


def test_a_changed_attribute_is_filtered_by_at_once(things: Things, backend: Backend) -> None:
    x, _ = things.put(["x", "y"])
    live, where = opened(things, backend), filter_from_text("size = 3")
    things.put_with({"x": {"size": 3}})
    head = things.head
    with things.database.read() as session:
        resolved = live.resolve(session, head, [where])
    live.refresh(head)
    with live.open_view(resolved) as view:
        assert view.search(np.ones((1, DIMENSION), np.float32), 5, where).ids.tolist() == [[x.id]]
        assert view.search(np.ones((1, DIMENSION), np.float32), 5).ids.shape == (1, 2)


@pytest.mark.parametrize("damage", [{"fingerprint": "other"}, {"vector": b"short"}], ids=["weights", "length"])
def test_vectors_of_other_weights_and_damaged_ones_are_left_out(
    things: Things, backend: Backend, damage: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    live = opened(things, backend)
    x, y = things.put(["x", "y"])
    with things.database.write() as session:
        session.execute(update(LogRow).where(LogRow.item_id == x.id).values(**damage))
    live.refresh(things.head)
    for each in (live, opened(things, backend)):
        assert contents(things.database, each).keys() == {y.id}
    if isinstance(live, LocalSpace):  # others log nothing
        assert "anyseek verify" in caplog.text


def test_collections_do_not_see_each_other_and_what_is_gone_is_removed(things: Things, backend: Backend) -> None:
    other = things.beside("other")
    things.put(["x"])
    other.put(["y", "z"])
    opened(things, backend).maintain(things.head, 1)
    second = opened(other, backend)
    second.maintain(other.head, 1)
    assert len(contents(things.database, second)) == 2
    with things.database.write() as session:
        collections.delete(session, "things")
    backend.remove_unknown()
    assert_agrees(things.database, opened(other, backend), "other")


def test_kept_spaces_stay_and_forgotten_ones_go(things: Things, backend: Backend) -> None:
    things.put(["x", "y"])
    head = things.head
    opened(things, backend).maintain(head, 1)
    newer = [replace(space, fingerprint=f"newer {space.fingerprint}") for space in things.embedder.spaces.values()]
    with things.database.write() as session:
        space_switch.build(session, things.collection, "newer", newer)
        target = space_switch.target(session, things.collection.id)
        assert target is not None
        space_switch.switch(session, target)
    backend.remove_unknown()
    kept = backend.open(things.head, head.spaces[0])
    kept.refresh(things.head)
    assert len(contents(things.database, kept)) == 2, "kept ones may serve again"
    with things.database.write() as session:
        space_switch.forget(session, things.collection)
    backend.remove_unknown()
    assert contents(things.database, opened(things, backend)) == {}


def test_a_deleted_collection_is_said_to_be_deleted(things: Things, backend: Backend) -> None:
    things.put(["x"])
    live = opened(things, backend)
    things.put(["y"])
    head = things.head
    with things.database.write() as session:
        collections.delete(session, "things")
    with pytest.raises(CollectionNotFound):
        live.refresh(head)


def test_what_was_cleared_is_made_again(things: Things, backend: Backend) -> None:
    things.put(["x", "y"])
    live = opened(things, backend)
    live.maintain(things.head, 1)
    assert list(live.faults()) == []
    with things.database.write() as session:
        log.compact(session, things.collection.id, things.head.last_seq + 1, whole=True)
        session.execute(update(collections.CollectionRow).values(last_seq=things.head.last_seq + 1))
    live.clear()
    assert_agrees(things.database, opened(things, backend))


def test_the_whole_of_search_works_with_it(things: Things, home_settings: Settings) -> None:
    with closing(SearchEngine(things.database, home_settings, things.embedder)) as engine:
        things.put(["cat", "dog", "tree"])
        assert keys(engine.query("things", Query((text("cat"),), k=2)))[0] == "cat"
        assert keys(engine.query("things", Query((Part(item="dog"),), k=1))) == ["dog"]
        where = filter_from_text("@key in (dog, tree)")
        assert set(keys(engine.query("things", Query((text("cat"),), k=5, where=where)))) == {"dog", "tree"}
        assert engine.counts("things") == {"looks": 3, "means": 3}
        assert engine.write_snapshots("things")
        engine.forget("things")
        assert keys(engine.query("things", Query((text("tree"),), k=1))) == ["tree"]
    assert verify(things.database, home_settings) == []
    assert rebuild(things.database, home_settings, "things") == []
    assert verify(things.database, home_settings) == []
