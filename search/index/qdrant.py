"""Qdrant behind the VectorIndex seam: a server by its URL, or qdrant-client's own local mode."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from qdrant_client import QdrantClient, models

from model.embedder import FloatArray
from search.index.base import Neighbours
from search.index.ranking import nearest
from search.index.vectors_file import read_vectors, write_vectors
from search.types import IdArray

PAGE = 256


class QdrantIndex:
    """Vectors of `dimension` in the Qdrant collection `name`, which is made if absent.

    `address` is the URL of a server, a folder, or `:memory:`; the last two are Qdrant's local mode, brute force and
    meant for tests and up to 20,000 vectors.
    """

    def __init__(self, dimension: int, address: str = ":memory:", name: str = "anyseek") -> None:
        self._client = _connect(address)
        self._name = name
        self._dimension = dimension
        if not self._client.collection_exists(name):
            self._make()

    def upsert(self, ids: IdArray, vectors: FloatArray) -> None:
        for page in _pages(len(ids)):
            points = models.Batch(ids=ids[page].tolist(), vectors=vectors[page].tolist())
            self._client.upsert(self._name, points, wait=True)

    def delete(self, ids: IdArray) -> None:
        for page in _pages(len(ids)):
            self._client.delete(self._name, models.PointIdsList(points=ids[page].tolist()), wait=True)

    def search(self, vectors: FloatArray, k: int, allowed: IdArray | None = None) -> Neighbours:
        if allowed is None:
            return nearest(self._find, vectors, k, self.count())
        only = models.Filter(must=[models.HasIdCondition(has_id=allowed.tolist())])
        count = self._client.count(self._name, count_filter=only, exact=True).count
        return nearest(lambda some, most: self._find(some, most, only), vectors, k, count)

    def count(self) -> int:
        return self._client.count(self._name, exact=True).count

    def vectors(self, ids: IdArray) -> tuple[IdArray, FloatArray]:
        records = [
            record
            for page in _pages(len(ids))
            for record in self._client.retrieve(self._name, ids[page].tolist(), with_payload=False, with_vectors=True)
        ]
        return self._arrays(sorted(records, key=lambda record: record.id))

    def flush(self) -> None:
        """Upserts wait until they are searchable."""

    def snapshot(self, path: Path) -> None:
        records: list[models.Record] = []
        offset = None
        while True:
            page, offset = self._client.scroll(
                self._name, limit=PAGE, offset=offset, with_payload=False, with_vectors=True
            )
            records += page
            if offset is None:
                break
        write_vectors(path, *self._arrays(records))

    def restore(self, path: Path) -> None:
        ids, vectors = read_vectors(path)
        self._client.delete_collection(self._name)
        self._make()
        self.upsert(ids, vectors)

    def close(self) -> None:
        """Let go of the server or the folder."""
        self._client.close()

    def _make(self) -> None:
        size = models.VectorParams(size=self._dimension, distance=models.Distance.DOT)
        self._client.create_collection(self._name, vectors_config=size)

    def _find(self, vectors: FloatArray, k: int, only: models.Filter | None = None) -> Neighbours:
        requests = [models.QueryRequest(query=vector, limit=k, filter=only) for vector in vectors.tolist()]
        answers = [answer.points for answer in self._client.query_batch_points(self._name, requests)]
        ids = np.array([[point.id for point in points] for points in answers], np.int64)
        scores = np.array([[point.score for point in points] for points in answers], np.float32)
        return Neighbours(ids, scores)

    def _arrays(self, records: list[models.Record]) -> tuple[IdArray, FloatArray]:
        ids = np.array([record.id for record in records], np.int64)
        vectors = np.array([record.vector for record in records], np.float32)
        return ids, vectors.reshape(len(records), self._dimension)


def _connect(address: str) -> QdrantClient:
    if address == ":memory:":
        return QdrantClient(location=address)
    if "://" in address:
        return QdrantClient(url=address)
    return QdrantClient(path=address, force_disable_check_same_thread=True)


def _pages(count: int) -> Iterator[slice]:
    return (slice(start, start + PAGE) for start in range(0, count, PAGE))
