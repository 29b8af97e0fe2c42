"""A shared store says what the catalogue says, whoever drives it there and whatever happens to them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import QdrantClient
from sqlalchemy import update

from anyseek.search.catalogue import collections, leases, log
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import CursorRow
from anyseek.search.catalogue.values import now
from anyseek.search.errors import LeaseLost
from anyseek.search.settings import Settings
from anyseek.search.spaces import shared
from anyseek.search.spaces.base import centre
from anyseek.search.spaces.qdrant.backend import QdrantBackend, QdrantIndex, connect, name_of
from anyseek.search.spaces.shared import IndexBehind, SharedSpace
from anyseek.search.types import Collection
from tests.search.gallery import DIMENSION, WordsEmbedder, put, remove


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    client = connect(":memory:")
    yield client
    client.close()


def head_of(database: Database, name: str = "things") -> collections.Head:
    with database.read() as session:
        return collections.head(session, name)


def opened(database: Database, client: QdrantClient, name: str = "things") -> SharedSpace:
    """As another process opens it."""
    head = head_of(database, name)
    return QdrantBackend(database, Settings(Path("unused")), client).open(head, head.spaces[0])


def refreshed(database: Database, client: QdrantClient) -> SharedSpace:
    space = opened(database, client)
    space.refresh(head_of(database))
    return space


def contents(space: SharedSpace) -> dict[int, np.ndarray]:
    with space.reading() as view:
        ids, vectors = view.vectors(np.arange(1, 200))
        assert len(ids) == view.count()
    return dict(zip(ids.tolist(), vectors, strict=True))


def assert_agrees(database: Database, space: SharedSpace) -> None:
    """It holds the newest vector of every item, on the space's present centre, and nothing else."""
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


def freeze(database: Database, value: float) -> None:
    with database.write() as session:
        collections.freeze_centre(session, head_of(database).spaces[0].id, np.full(DIMENSION, value, np.float32), 64)


def expire_leases(database: Database) -> None:
    with database.write() as session:
        session.execute(update(CursorRow).values(expires_at=now().replace(year=2000)))


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
        assert [cursor.centre_version for cursor in leases.cursors_of(session, head_of(database).spaces[0].id)] == [
            0,
            1,
        ]
    space.keep(head_of(database), 1)
    assert client.count(name_of(head_of(database).spaces[0])).count == 2
    assert_agrees(database, refreshed(database, client))


def test_one_applier_at_a_time(
    database: Database, embedder: WordsEmbedder, collection: Collection, client: QdrantClient, monkeypatch
) -> None:
    monkeypatch.setattr(shared, "PATIENCE_SECONDS", 0.1)
    put(database, collection, embedder, ["x"])
    space = refreshed(database, client)
    put(database, collection, embedder, ["y"])
    with database.write() as session:
        assert leases.take_cursor(session, space._space.id, 0) is not None
    space.refresh(head_of(database))
    assert len(contents(space)) == 1
    expire_leases(database)
    space.refresh(head_of(database))
    assert_agrees(database, space)


def test_nothing_is_served_while_another_process_fills_it_first(
    database: Database, embedder: WordsEmbedder, collection: Collection, client: QdrantClient, monkeypatch
) -> None:
    monkeypatch.setattr(shared, "PATIENCE_SECONDS", 0.1)
    space = opened(database, client)
    with database.write() as session:
        leases.begin_cursor(session, space._space.id, 0)
        leases.take_cursor(session, space._space.id, 0)
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

    def sleeping(self: QdrantIndex, ids, vectors, items) -> None:
        if not slept:
            slept.append(True)
            expire_leases(database)
            put(database, collection, embedder, ["x"], "new")
            refreshed(database, client)
        upsert(self, ids, vectors, items)

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
        patched.setattr(QdrantIndex, "ids", killed)
        with pytest.raises(KeyboardInterrupt):
            refreshed(database, client)
    remove(database, collection, ["y"])
    assert_agrees(database, refreshed(database, client))
