"""What finds the nearest vectors, for the contracts that it is held to: indexes of this process, and shared stores."""

import os
import uuid
from collections.abc import Callable

import pytest
from qdrant_client import QdrantClient

from anyseek.model.seam import FloatArray
from anyseek.search.filters.tree import KEY, AnyOf, Compare, Operator
from anyseek.search.spaces.base import Neighbours
from anyseek.search.spaces.local.faiss import FaissIndex
from anyseek.search.spaces.local.snapshots import VectorIndex
from anyseek.search.spaces.qdrant.backend import QdrantIndex, connect
from anyseek.search.spaces.shared import SharedStore
from anyseek.search.types import IdArray, Item
from tests.contracts.table_backend import TableStore
from tests.search.memory_index import MemoryIndex

QDRANT_URL = os.environ.get("QDRANT_URL", "")
NEEDS_SERVER = pytest.mark.skipif(not QDRANT_URL, reason="QDRANT_URL is not set")


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


Make = Callable[[int], VectorIndex | Stored]


def in_qdrant(client: QdrantClient, dimension: int) -> QdrantIndex:
    """An empty index in a collection of its own."""
    index = QdrantIndex(dimension, client, f"contract-{uuid.uuid4().hex}")
    index.create()
    return index


def qdrant_local(dimension: int) -> Stored:
    return Stored(in_qdrant(connect(":memory:"), dimension))


def qdrant_server(dimension: int) -> Stored:
    return Stored(in_qdrant(connect(QDRANT_URL), dimension))


def table(dimension: int) -> Stored:
    return Stored(TableStore({}, dimension))


MEMORY = pytest.param(MemoryIndex, id="memory")
FAISS = pytest.param(FaissIndex, id="faiss")
STORES = [
    pytest.param(qdrant_local, id="qdrant-local"),
    pytest.param(qdrant_server, id="qdrant-server", marks=NEEDS_SERVER),
    pytest.param(table, id="table"),
]
