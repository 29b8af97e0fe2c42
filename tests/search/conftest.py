from collections.abc import Iterator
from pathlib import Path

import pytest

from search.assets import AssetStore
from search.catalogue.session import Database
from search.settings import Settings
from search.types import Collection
from tests.search.gallery import WordsEmbedder, make_collection, open_catalogue


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    _, database = open_catalogue(settings.home)
    yield database
    database.close()


@pytest.fixture
def embedder() -> WordsEmbedder:
    return WordsEmbedder()


@pytest.fixture
def collection(database: Database, embedder: WordsEmbedder) -> Collection:
    return make_collection(database, embedder)


@pytest.fixture
def store(settings: Settings) -> AssetStore:
    return AssetStore(settings.assets)
