"""The implementations of VectorIndex that the contracts are held to."""

import os
import uuid
from collections.abc import Callable

import pytest
from qdrant_client import QdrantClient

from search.index.base import VectorIndex
from search.index.faiss import FaissIndex
from search.index.memory import MemoryIndex
from search.index.qdrant import QdrantIndex, connect, make_collection

Make = Callable[[int], VectorIndex]

QDRANT_URL = os.environ.get("QDRANT_URL", "")
NEEDS_SERVER = pytest.mark.skipif(not QDRANT_URL, reason="QDRANT_URL is not set")


def in_qdrant(client: QdrantClient, dimension: int) -> QdrantIndex:
    """An empty index in a collection of its own."""
    name = f"contract-{uuid.uuid4().hex}"
    make_collection(client, name, dimension)
    return QdrantIndex(dimension, client, name)


def qdrant_local(dimension: int) -> VectorIndex:
    return in_qdrant(connect(":memory:"), dimension)


def qdrant_server(dimension: int) -> VectorIndex:
    return in_qdrant(connect(QDRANT_URL), dimension)


MEMORY = pytest.param(MemoryIndex, id="memory")
OTHERS = [
    pytest.param(FaissIndex, id="faiss"),
    pytest.param(qdrant_local, id="qdrant-local"),
    pytest.param(qdrant_server, id="qdrant-server", marks=NEEDS_SERVER),
]
