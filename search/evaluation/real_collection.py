"""A collection in a temporary folder, queried through the search engine, for measures of whole queries."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from anyseek.model.seam import Embedder, Sample
from anyseek.search.catalogue import collections, items
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.upgrade import upgrade
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import AnyseekError
from anyseek.search.settings import Settings
from anyseek.search.types import NewItem, Query, Results

_NAME = "measured"
_BATCH_SIZE = 64


class RealCollection:
    """A collection whose items were embedded and written as the service does."""

    def __init__(self, engine: SearchEngine, settings: Settings) -> None:
        self._engine, self._max_queries = engine, settings.limits.queries_per_batch

    def answers(self, queries: Sequence[Query]) -> list[Results]:
        """The answer to each query. Raises the error of a query that has one."""
        results = []
        for start in range(0, len(queries), self._max_queries):
            for answer in self._engine.query_batch(_NAME, queries[start : start + self._max_queries]):
                if isinstance(answer, AnyseekError):
                    raise answer
                results.append(answer)
        return results


@contextmanager
def real_collection(embedder: Embedder, samples: Mapping[str, Sample]) -> Iterator[RealCollection]:
    """A collection of these samples by key, for the length of the block."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder))
        database = Database(settings.database_url)
        try:
            upgrade(database)
            _write(database, embedder, samples)
            engine = SearchEngine(database, settings, embedder)
            engine.write_snapshots(_NAME)
            yield RealCollection(engine, settings)
            engine.close()
        finally:
            database.close()


def _write(database: Database, embedder: Embedder, samples: Mapping[str, Sample]) -> None:
    with database.write() as session:
        collection = collections.create(session, _NAME, embedder.name, embedder.spaces.values())
    keys, spaces = list(samples), list(embedder.spaces)
    for start in range(0, len(keys), _BATCH_SIZE):
        batch = keys[start : start + _BATCH_SIZE]
        vectors = embedder.embed_gallery([samples[key] for key in batch], spaces)
        new = [
            NewItem(key, f"content of {key}", {space: rows[place] for space, rows in vectors.items()})
            for place, key in enumerate(batch)
        ]
        with database.write() as session:
            items.write(session, collection, new)
