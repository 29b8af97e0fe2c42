import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.upgrade import upgrade
from anyseek.search.types import Collection
from tests.contracts.catalogue import empty
from tests.search.gallery import Things, WordsEmbedder, make_collection, open_catalogue

POSTGRES = "ANYSEEK_TEST_POSTGRES"
NEEDS_POSTGRES = pytest.mark.skipif(POSTGRES not in os.environ, reason=f"{POSTGRES} is not set")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=NEEDS_POSTGRES)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty catalogue on SQLite, and on PostgreSQL where ANYSEEK_TEST_POSTGRES is the URL of a test database."""
    if request.param == "sqlite":
        _, database = open_catalogue(tmp_path)
    else:
        database = Database(os.environ[POSTGRES])
        upgrade(database)
        empty(database)
    yield database
    database.close()


@pytest.fixture
def embedder() -> WordsEmbedder:
    return WordsEmbedder()


@pytest.fixture
def collection(database: Database, embedder: WordsEmbedder) -> Collection:
    return make_collection(database, embedder)


@pytest.fixture
def things(database: Database, collection: Collection, embedder: WordsEmbedder) -> Things:
    return Things(database, collection, embedder)
