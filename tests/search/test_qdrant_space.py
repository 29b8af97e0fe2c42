"""A space in Qdrant says what the catalogue says, whoever drives it there and whatever happens to them."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from qdrant_client import QdrantClient
from sqlalchemy import update

from search.catalogue import beside, collections, cursors, items, log
from search.catalogue.session import Database
from search.catalogue.tables import CursorRow, now
from search.engine import SearchEngine
from search.errors import IndexUnavailable, LeaseLost
from search.filters.from_text import filter_from_text
from search.fusion import centre
from search.index.qdrant import QdrantIndex, connect
from search.live_space import LiveSpace
from search.maintenance import rebuild, verify
from search.opening import SpaceOpener, check_index
from search.qdrant_space import IndexBehind, QdrantSpace, forget_unknown, name_of
from search.settings import Index, Qdrant, Settings
from search.types import Collection, Query
from tests.search.gallery import DIMENSION, WordsEmbedder, keys, make_collection, new_item, put, remove, text


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    client = connect(":memory:")
    yield client
    client.close()


def head_of(database: Database, name: str = "things") -> collections.Head:
    with database.read() as session:
        return collections.head(session, name)


def opened(database: Database, client: QdrantClient, name: str = "things") -> QdrantSpace:
    head = head_of(database, name)
    return QdrantSpace(database, client, head.id, head.spaces[0])


def refreshed(database: Database, client: QdrantClient) -> QdrantSpace:
    space = opened(database, client)
    space.refresh(head_of(database))
    return space


def contents(space: QdrantSpace) -> dict[int, np.ndarray]:
    with space.reading() as view:
        ids, vectors = view.index.vectors(np.arange(1, 200))
        assert len(ids) == view.index.count()
    return dict(zip(ids.tolist(), vectors, strict=True))


def assert_agrees(database: Database, space: QdrantSpace) -> None:
    """Qdrant holds the newest vector of every item, on the space's present centre, and nothing else."""
    head = head_of(database)
    expected: dict[int, np.ndarray] = {}
    with database.read() as session:
        mean = collections.centre_of(session, head.spaces[0].id)
        for page in log.latest_vectors(session, head.id, head.spaces[0].id):
            ids, vectors = page.of(head.spaces[0].fingerprint, DIMENSION)
            expected.update(zip(ids.tolist(), centre(vectors, mean), strict=True))
    found = contents(space)
    assert found.keys() == expected.keys()
    for item_id, vector in expected.items():
        np.testing.assert_allclose(found[item_id], vector, atol=1e-6)


def space_ids(database: Database) -> set[int]:
    with database.read() as session:
        return collections.space_ids(session)


def counts(spaces: Iterable[LiveSpace]) -> list[int]:
    """How many points Qdrant holds of each."""
    found = []
    for space in spaces:
        with space.reading({}) as view:
            found.append(view.index.count())
    return found


def switch_model(database: Database, collection: Collection, embedder: WordsEmbedder) -> None:
    """Keep the collection's spaces beside those of newer weights, which have no vectors."""
    newer = [replace(space, fingerprint="newer") for space in embedder.spaces.values()]
    with database.write() as session:
        beside.build(session, collection, "newer", newer)
        target = beside.target(session, collection.id)
        assert target is not None
        beside.switch(session, target)


def freeze(database: Database, value: float) -> None:
    with database.write() as session:
        collections.freeze_centre(session, head_of(database).spaces[0].id, np.full(DIMENSION, value, np.float32), 64)


def expire_leases(database: Database) -> None:
    with database.write() as session:
        session.execute(update(CursorRow).values(expires_at=now().replace(year=2000)))


def test_every_kind_of_change_arrives(
    database: Database, embedder: WordsEmbedder, collection: Collection, client: QdrantClient
) -> None:
    space = refreshed(database, client)
    assert contents(space) == {}
    put(database, collection, embedder, ["x", "y", "z"])
    space.refresh(head_of(database))
    put(database, collection, embedder, ["x"], "changed")
    remove(database, collection, ["y"])
    put(database, collection, embedder, ["y"], "again")
    space.refresh(head_of(database))
    assert_agrees(database, space)
    assert space.cursor == head_of(database).last_seq


def test_another_process_goes_on_from_the_cursor(
    database: Database, embedder: WordsEmbedder, collection: Collection, client: QdrantClient
) -> None:
    put(database, collection, embedder, [f"k{number}" for number in range(20)])
    refreshed(database, client)
    put(database, collection, embedder, ["k3", "new"], "changed")
    remove(database, collection, ["k4"])
    assert_agrees(database, refreshed(database, client))


def test_what_was_compacted_away_is_removed_all_the_same(
    database: Database, embedder: WordsEmbedder, collection: Collection, client: QdrantClient
) -> None:
    put(database, collection, embedder, ["x", "y", "z"])
    refreshed(database, client)
    remove(database, collection, ["y"])
    put(database, collection, embedder, ["w"])
    with database.write() as session:
        log.compact(session, collection.id, head_of(database).last_seq)
    assert_agrees(database, refreshed(database, client))


def test_a_changed_attribute_is_filtered_by_at_once(
    database: Database, embedder: WordsEmbedder, collection: Collection, client: QdrantClient
) -> None:
    x, _ = put(database, collection, embedder, ["x", "y"])
    space = refreshed(database, client)
    with database.write() as session:
        items.write(session, collection, [replace(new_item(embedder, "x"), attributes={"size": 3})])
    space.refresh(head_of(database))
    where = filter_from_text("size = 3")
    with database.read() as session:
        resolved = space.resolve(session, head_of(database), [where, None])
    with space.reading(resolved) as view:
        assert view.search(np.ones((1, DIMENSION), np.float32), 5, where).ids.tolist() == [[x.id]]
        assert view.search(np.ones((1, DIMENSION), np.float32), 5, None).ids.shape == (1, 2)


def test_a_new_centre_is_filled_beside_the_one_that_serves(
    database: Database, embedder: WordsEmbedder, collection: Collection, client: QdrantClient
) -> None:
    put(database, collection, embedder, ["x", "y"])
    space = refreshed(database, client)
    before = contents(space)
    freeze(database, 0.1)
    space.refresh(head_of(database))
    np.testing.assert_array_equal(contents(space)[1], before[1])
    assert space.keep(head_of(database), 1) == head_of(database).last_seq
    assert_agrees(database, space)
    with database.read() as session:
        assert [one.centre_version for one in cursors.all_of(session, head_of(database).spaces[0].id)] == [0, 1]
    space.keep(head_of(database), 1)
    assert client.count(name_of(head_of(database).spaces[0])).count == 2
    assert_agrees(database, refreshed(database, client))


def test_one_applier_at_a_time(
    database: Database, embedder: WordsEmbedder, collection: Collection, client: QdrantClient, monkeypatch
) -> None:
    monkeypatch.setattr("search.qdrant_space.PATIENCE_SECONDS", 0.1)
    put(database, collection, embedder, ["x"])
    space = refreshed(database, client)
    put(database, collection, embedder, ["y"])
    with database.write() as session:
        assert cursors.take(session, space._space.id, 0) is not None
    space.refresh(head_of(database))
    assert len(contents(space)) == 1
    expire_leases(database)
    space.refresh(head_of(database))
    assert_agrees(database, space)


def test_nothing_is_served_while_another_process_fills_it_first(
    database: Database, embedder: WordsEmbedder, collection: Collection, client: QdrantClient, monkeypatch
) -> None:
    monkeypatch.setattr("search.qdrant_space.PATIENCE_SECONDS", 0.1)
    space = opened(database, client)
    with database.write() as session:
        cursors.begin(session, space._space.id, 0)
        cursors.take(session, space._space.id, 0)
    with pytest.raises(IndexBehind, match="being filled"):
        space.refresh(head_of(database))


def test_an_applier_that_slept_past_its_lease_leaves_nothing_old(
    database: Database, embedder: WordsEmbedder, collection: Collection, client: QdrantClient, monkeypatch
) -> None:
    """It wakes in the middle of a write, after another has applied more."""
    put(database, collection, embedder, ["x"])
    refreshed(database, client)
    put(database, collection, embedder, ["x"], "old")
    upsert, slept = QdrantIndex.upsert, []

    def sleeping(self: QdrantIndex, ids, vectors, payloads=None) -> None:
        if not slept:
            slept.append(True)
            expire_leases(database)
            put(database, collection, embedder, ["x"], "new")
            refreshed(database, client)
        upsert(self, ids, vectors, payloads)

    monkeypatch.setattr(QdrantIndex, "upsert", sleeping)
    with pytest.raises(LeaseLost):
        refreshed(database, client)
    assert_agrees(database, refreshed(database, client))


def test_a_killed_filling_is_begun_again(
    database: Database, embedder: WordsEmbedder, collection: Collection, client: QdrantClient, monkeypatch
) -> None:
    put(database, collection, embedder, ["x", "y", "z"])

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("search.qdrant_space.QdrantIndex.pages", killed)
        with pytest.raises(KeyboardInterrupt):
            refreshed(database, client)
    remove(database, collection, ["y"])
    assert_agrees(database, refreshed(database, client))


def test_two_collections_share_a_qdrant_collection_and_see_their_own(
    database: Database, embedder: WordsEmbedder, collection: Collection, client: QdrantClient
) -> None:
    other = make_collection(database, embedder, "other")
    put(database, collection, embedder, ["x"])
    put(database, other, embedder, ["y", "z"])
    refreshed(database, client)
    second = opened(database, client, "other")
    second.refresh(head_of(database, "other"))
    assert [held.name for held in client.get_collections().collections] == [name_of(head_of(database).spaces[0])]
    assert len(contents(second)) == 2
    with database.write() as session:
        collections.delete(session, "things")
    forget_unknown(client, lambda: space_ids(database))
    assert client.count(name_of(head_of(database, "other").spaces[0])).count == 2


def test_spaces_that_are_forgotten_are_removed(
    database: Database, settings: Settings, embedder: WordsEmbedder, collection: Collection
) -> None:
    """And nothing else of their Qdrant collection, which another collection has points in."""
    opener = SpaceOpener(database, replace(settings, index=Index(backend="qdrant")))
    other = make_collection(database, embedder, "other")
    opened = []
    for one in (collection, other):
        put(database, one, embedder, ["x", "y"])
        head = head_of(database, one.name)
        for space in head.spaces:
            opened.append(opener(head, space))
            opened[-1].refresh(head)
    switch_model(database, collection, embedder)
    opener.forget_unknown()
    assert counts(opened) == [2, 2, 2, 2], "kept ones may serve again"
    with database.write() as session:
        beside.forget(session, collection)
    opener.forget_unknown()
    assert counts(opened) == [0, 0, 2, 2]
    opener.close()


def test_the_engine_uses_qdrant_where_the_settings_say_so(
    database: Database, settings: Settings, embedder: WordsEmbedder, collection: Collection
) -> None:
    settings = replace(settings, index=Index(backend="qdrant"))
    opener = SpaceOpener(database, settings)
    engine = SearchEngine(database, settings, embedder, opener)
    put(database, collection, embedder, ["cat", "dog", "tree"])
    assert keys(engine.query("things", Query((text("cat"),), k=2)))[0] == "cat"
    where = filter_from_text("@key in (dog, tree)")
    assert set(keys(engine.query("things", Query((text("cat"),), k=5, where=where)))) == {"dog", "tree"}
    assert engine.write_snapshots("things")
    assert not settings.indexes.exists()
    engine.close()
    assert verify(database, settings) == []
    assert rebuild(database, settings, "things") == []
    assert verify(database, settings) == []


def test_settings_are_tried_out(settings: Settings) -> None:
    assert check_index(settings) == "FAISS, auto, on the CPU of this process"
    local = replace(settings, index=Index(backend="qdrant"))
    assert "answers" in check_index(local)
    with pytest.raises(IndexUnavailable, match="ANYSEEK_QDRANT_URL"):
        check_index(replace(local, qdrant=Qdrant(url="http://127.0.0.1:9")))
