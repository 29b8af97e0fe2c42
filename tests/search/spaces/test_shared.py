"""A shared store says what the catalogue says, whoever drives it there and whatever happens to them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import QdrantClient
from sqlalchemy import update

from anyseek.search.catalogue import leases
from anyseek.search.catalogue.tables import CursorRow
from anyseek.search.catalogue.values import now
from anyseek.search.errors import LeaseLost
from anyseek.search.settings import Settings
from anyseek.search.spaces import shared
from anyseek.search.spaces.qdrant.backend import QdrantBackend, QdrantIndex, connect, name_of
from anyseek.search.spaces.shared import IndexBehind, SharedSpace
from tests.search.gallery import Things
from tests.search.live_spaces import assert_agrees, contents, freeze


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    client = connect(":memory:")
    yield client
    client.close()


def opened(things: Things, client: QdrantClient) -> SharedSpace:
    """As another process opens it."""
    return QdrantBackend(things.database, Settings(Path("unused")), client).open(things.head, things.head.spaces[0])


def refreshed(things: Things, client: QdrantClient) -> SharedSpace:
    space = opened(things, client)
    space.refresh(things.head)
    return space


def expire_leases(things: Things) -> None:
    with things.database.write() as session:
        session.execute(update(CursorRow).values(expires_at=now().replace(year=2000)))


def test_a_new_centre_is_filled_beside_the_one_that_serves(things: Things, client: QdrantClient) -> None:
    things.put(["x", "y"])
    space = refreshed(things, client)
    before = contents(things.database, space)
    freeze(things.database, 0.1)
    space.refresh(things.head)
    np.testing.assert_array_equal(contents(things.database, space)[1], before[1])
    assert space.maintain(things.head, 1) == things.head.last_seq
    assert_agrees(things.database, space)
    with things.database.read() as session:
        cursors = leases.cursors_of(session, things.head.spaces[0].id)
    assert [cursor.centre_version for cursor in cursors] == [0, 1]
    space.maintain(things.head, 1)
    assert client.count(name_of(things.head.spaces[0])).count == 2
    assert_agrees(things.database, refreshed(things, client))


def test_one_applier_at_a_time(things: Things, client: QdrantClient, monkeypatch) -> None:
    monkeypatch.setattr(shared, "PATIENCE_SECONDS", 0.1)
    things.put(["x"])
    space = refreshed(things, client)
    things.put(["y"])
    with things.database.write() as session:
        assert leases.lease_cursor(session, space._space.id, 0) is not None
    space.refresh(things.head)
    assert len(contents(things.database, space)) == 1
    expire_leases(things)
    space.refresh(things.head)
    assert_agrees(things.database, space)


def test_nothing_is_served_while_another_process_fills_it_first(
    things: Things, client: QdrantClient, monkeypatch
) -> None:
    monkeypatch.setattr(shared, "PATIENCE_SECONDS", 0.1)
    space = opened(things, client)
    with things.database.write() as session:
        leases.create_cursor(session, space._space.id, 0)
        leases.lease_cursor(session, space._space.id, 0)
    with pytest.raises(IndexBehind, match="being filled"):
        space.refresh(things.head)


def test_an_applier_that_slept_past_its_lease_leaves_nothing_old(
    things: Things, client: QdrantClient, monkeypatch
) -> None:
    """It wakes in the middle of a write, after another has applied more."""
    things.put(["x"])
    refreshed(things, client)
    things.put(["x"], "old")
    upsert, slept = QdrantIndex.upsert, []

    def sleeping(self: QdrantIndex, ids, vectors, items) -> None:
        if not slept:
            slept.append(True)
            expire_leases(things)
            things.put(["x"], "new")
            refreshed(things, client)
        upsert(self, ids, vectors, items)

    monkeypatch.setattr(QdrantIndex, "upsert", sleeping)
    with pytest.raises(LeaseLost):
        refreshed(things, client)
    assert_agrees(things.database, refreshed(things, client))


def test_a_killed_filling_is_begun_again(things: Things, client: QdrantClient, monkeypatch) -> None:
    things.put(["x", "y", "z"])

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(QdrantIndex, "ids", killed)
        with pytest.raises(KeyboardInterrupt):
            refreshed(things, client)
    things.remove(["y"])
    assert_agrees(things.database, refreshed(things, client))
