"""What a live space holds, compared with what the catalogue says, for the tests of spaces."""

from collections.abc import Iterable

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from anyseek.search.catalogue import collections, log
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import ItemRow
from anyseek.search.filters.tree import Filter
from anyseek.search.spaces.base import LiveSpace, ResolvedFilters, centre
from tests.search.gallery import DIMENSION


def no_filters(session: Session, head: collections.Head, filters: Iterable[Filter]) -> ResolvedFilters:
    """Resolves filters for spaces that are searched without."""
    return {}


def head_of(database: Database, name: str = "things") -> collections.Head:
    with database.read() as session:
        return collections.head(session, name)


def nearby_ids(database: Database) -> np.ndarray:
    """The ids this test may have used, and some around them: PostgreSQL goes on counting from test to test."""
    with database.read() as session:
        last = session.scalar(select(func.max(ItemRow.id))) or 0
    return np.arange(max(1, last - 250), last + 250)


def contents(database: Database, live: LiveSpace) -> dict[int, np.ndarray]:
    ids = nearby_ids(database)
    with live.open_view() as view:
        ids, vectors = view.vectors(ids)
        assert len(ids) == view.count()
        assert vectors.shape == (len(ids), DIMENSION)
    return dict(zip(ids.tolist(), vectors, strict=True))


def expected(database: Database, mean: np.ndarray, name: str = "things") -> dict[int, np.ndarray]:
    """The newest vector of every item in the first space, centred on a mean."""
    head, found = head_of(database, name), {}
    with database.read() as session:
        for page in log.latest_vectors(session, head.id, head.spaces[0].id):
            ids, vectors = page.of(head.spaces[0].fingerprint, DIMENSION)
            found.update(zip(ids.tolist(), centre(vectors, mean, head.spaces[0].blocks), strict=True))
    return found


def assert_agrees(database: Database, live: LiveSpace, name: str = "things") -> None:
    """It holds the newest vector of every item, on the space's present centre, and nothing else."""
    with database.read() as session:
        mean = collections.centre_of(session, head_of(database, name).spaces[0].id)
    with live.open_view() as view:
        np.testing.assert_array_equal(view.centre, mean)
    found, wanted = contents(database, live), expected(database, mean, name)
    assert found.keys() == wanted.keys()
    for item_id, vector in wanted.items():
        np.testing.assert_allclose(found[item_id], vector, atol=1e-6)


def freeze(database: Database, value: float) -> None:
    with database.write() as session:
        collections.freeze_centre(session, head_of(database).spaces[0].id, np.full(DIMENSION, value, np.float32), 64)
