"""A shared store says what the catalogue says, whoever drives it there and whatever happens to them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import QdrantClient
from sqlalchemy import update

from anyseek.search.catalogue import leases
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import CursorRow
from anyseek.search.catalogue.values import now
from anyseek.search.errors import LeaseLost
from anyseek.search.settings import Settings
from anyseek.search.spaces import shared
from anyseek.search.spaces.qdrant.backend import QdrantBackend, QdrantIndex, connect, name_of
from anyseek.search.spaces.shared import IndexBehind, SharedSpace
from anyseek.search.types import Collection
from tests.search.gallery import WordsEmbedder, put, remove
from tests.search.live_spaces import assert_agrees, contents, freeze, head_of


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    client = connect(":memory:")
    yield client
    client.close()


def opened(database: Database, client: QdrantClient, name: str = "things") -> SharedSpace:
    """As another process opens it."""
    head = head_of(database, name)
    return QdrantBackend(database, Settings(Path("unused")), client).open(head, head.spaces[0])


def refreshed(database: Database, client: QdrantClient) -> SharedSpace:
    space = opened(database, client)
    space.refresh(head_of(database))
    return space


def expire_leases(database: Database) -> None:
    with database.write() as session:
        session.execute(update(CursorRow).values(expires_at=now().replace(year=2000)))


def test_a_new_centre_is_filled_beside_the_one_that_serves(
    database: Database, embedder: WordsEmbedder, collection: Collection, client: QdrantClient
) -> None:
    put(database, collection, embedder, ["x", "y"])
    space = refreshed(database, client)
    before = contents(database, space)
    freeze(database, 0.1)
    space.refresh(head_of(database))
    np.testing.assert_array_equal(contents(database, space)[1], before[1])
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
    assert len(contents(database, space)) == 1
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
