from collections.abc import Iterator
from pathlib import Path

import pytest

from anyseek.search.assets.folder import FolderAssetStore
from anyseek.search.catalogue import items
from anyseek.search.catalogue.session import Database
from anyseek.search.engine import SearchEngine
from anyseek.search.settings import Settings
from anyseek.search.spaces.base import Backend
from anyseek.search.spaces.local.backend import LocalBackend
from anyseek.search.spaces.qdrant.backend import QdrantBackend, connect
from anyseek.search.types import Collection
from tests.search.engines import engine_over
from tests.search.gallery import WORDS, Home, Things, WordsEmbedder, make_collection, open_catalogue, thumbnail


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
def things(database: Database, collection: Collection, embedder: WordsEmbedder) -> Things:
    return Things(database, collection, embedder)


@pytest.fixture
def store(settings: Settings) -> FolderAssetStore:
    return FolderAssetStore(settings.assets)


@pytest.fixture
def gallery(database: Database, collection: Collection, store: FolderAssetStore) -> Collection:
    """The collection with five items, each with a thumbnail."""
    with database.write() as session:
        items.write(session, collection, [thumbnail(store, key) for key in WORDS])
    return collection


@pytest.fixture
def home(things: Things, settings: Settings, store: FolderAssetStore, gallery: Collection) -> Home:
    return Home(things.database, gallery, things.embedder, settings, store)


@pytest.fixture
def engine(database: Database, settings: Settings, embedder: WordsEmbedder, gallery: Collection) -> SearchEngine:
    """An engine that has written the snapshots of the gallery."""
    engine = SearchEngine(database, settings, embedder)
    engine.write_snapshots("things")
    return engine


@pytest.fixture(scope="session")
def words_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchEngine]:
    """An engine over the five words, for tests that only read."""
    with engine_over(tmp_path_factory.mktemp("words"), lambda things: things.put(WORDS)) as engine:
        yield engine


@pytest.fixture(params=["faiss", "qdrant"])
def each_engine(
    database: Database, settings: Settings, embedder: WordsEmbedder, gallery: Collection, request: pytest.FixtureRequest
) -> Iterator[SearchEngine]:
    """An engine of each backend over `gallery`, which test files may make their own."""
    backend: Backend = LocalBackend(database, settings)
    if request.param == "qdrant":
        backend = QdrantBackend(database, settings, connect(":memory:"))
    engine = SearchEngine(database, settings, embedder, backend)
    yield engine
    engine.close()
