"""Engines over their own things, for modules of tests that only read."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from anyseek.search.engine import SearchEngine
from anyseek.search.spaces.qdrant.backend import QdrantBackend, connect
from tests.search.gallery import Things, WordsEmbedder, make_collection, open_catalogue


@contextmanager
def engine_over(
    home: Path, fill: Callable[[Things], object], backend: str = "faiss", embedder: WordsEmbedder | None = None
) -> Iterator[SearchEngine]:
    """An engine over things that `fill` puts, for tests that only read."""
    embedder = embedder or WordsEmbedder()
    settings, database = open_catalogue(home)
    fill(Things(database, make_collection(database, embedder), embedder))
    qdrant = QdrantBackend(database, settings, connect(":memory:")) if backend == "qdrant" else None
    with closing(database), closing(SearchEngine(database, settings, embedder, qdrant)) as engine:
        yield engine
