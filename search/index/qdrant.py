"""Qdrant behind the VectorIndex seam: a server by its URL, or qdrant-client's own local mode."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from model.embedder import FloatArray
from search.errors import IndexUnavailable, StoreCorrupt
from search.filters.to_qdrant import INDEXED, as_condition
from search.filters.tree import Filter
from search.index.base import Neighbours, Renewal
from search.index.ranking import nearest
from search.index.vectors_file import read_vectors, write_vectors
from search.types import IdArray

PAGE = 256
# A call that takes longer has failed; a lease of the applier is longer than that.
SECONDS = 20
# More equal scores than that at the last place are left in any order.
MOST_TIES = 20_000
# Codes of 8 bits find so many times more than is wanted, and exact scores choose among them.
OVERSAMPLING = 2.0
BREADTH = 128

_PARAMETERS = models.SearchParams(
    hnsw_ef=BREADTH, quantization=models.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING)
)


@dataclass(frozen=True)
class Tenant:
    """Whose points in a Qdrant collection are meant. `offset` is added to ids: two tenants may hold the same items."""

    name: str = "only"
    offset: int = 0

    def condition(self) -> models.FieldCondition:
        return models.FieldCondition(key="tenant", match=models.MatchValue(value=self.name))


class IndexUnreachable(IndexUnavailable):
    """Qdrant gives no answer, or none to this key."""

    code = "index-unreachable"


class QdrantIndex:
    """Vectors of `dimension` of one tenant in the Qdrant collection `name`, which `make_collection` makes.

    Local mode (a folder or `:memory:`) is brute force, meant for tests and up to 20,000 vectors. Everything raises
    `IndexUnreachable` while there is no answer, and `StoreCorrupt` if the Qdrant collection is gone.
    """

    def __init__(self, dimension: int, client: QdrantClient, name: str, tenant: Tenant = Tenant()) -> None:
        self._client = client
        self._name = name
        self._dimension = dimension
        self._tenant = tenant

    def upsert(self, ids: IdArray, vectors: FloatArray, payloads: Sequence[Mapping[str, Any]] | None = None) -> None:
        """With what filters see of each, where that is known."""
        for page in _pages(len(ids)):
            held = [dict(payload) for payload in payloads[page]] if payloads else [{} for _ in ids[page]]
            marked = [payload | {"tenant": self._tenant.name} for payload in held]
            points = models.Batch(ids=self._points(ids[page]), vectors=vectors[page].tolist(), payloads=marked)
            with calling():
                self._client.upsert(self._name, points, wait=True)

    def delete(self, ids: IdArray) -> None:
        for page in _pages(len(ids)):
            with calling():
                self._client.delete(self._name, models.PointIdsList(points=self._points(ids[page])), wait=True)

    def clear(self) -> None:
        """Forget all of the tenant."""
        remove_tenant(self._client, self._name, self._tenant)

    def search(self, vectors: FloatArray, k: int, allowed: IdArray | Filter | None = None) -> Neighbours:
        """As the seam says; a filter is left to Qdrant, by the payloads."""
        only = self._only(allowed)
        return nearest(lambda some, most: self._find(some, most, only), vectors, k, max(MOST_TIES, k))

    def count(self) -> int:
        with calling():
            return self._client.count(self._name, count_filter=self._only(), exact=True).count

    def vectors(self, ids: IdArray) -> tuple[IdArray, FloatArray]:
        records: list[models.Record] = []
        for page in _pages(len(ids)):
            with calling():
                records += self._client.scroll(
                    self._name, self._only(ids[page]), limit=PAGE, with_payload=False, with_vectors=True
                )[0]
        return self._arrays(sorted(records, key=lambda record: record.id))

    def pages(self, with_vectors: bool = True) -> Iterator[tuple[IdArray, FloatArray]]:
        """Everything of the tenant, by id; without vectors these are (n, 0)."""
        offset = None
        while True:
            with calling():
                records, offset = self._client.scroll(
                    self._name, self._only(), limit=PAGE, offset=offset, with_payload=False, with_vectors=with_vectors
                )
            yield (
                self._arrays(records) if with_vectors else (self._ids(records), np.empty((len(records), 0), np.float32))
            )
            if offset is None:
                return

    def flush(self) -> None:
        """Upserts wait until they are searchable."""

    def snapshot(self, path: Path) -> None:
        pages = list(self.pages())
        ids = np.concatenate([page[0] for page in pages])
        write_vectors(path, ids, [page[1] for page in pages], self._dimension)

    def restore(self, path: Path) -> None:
        stored = read_vectors(path, self._dimension)
        self.clear()
        self.upsert(stored.ids, stored.vectors)

    def renewal(self, thorough: bool) -> Renewal | None:
        """Nothing: Qdrant sees to its indexes itself."""

    def _find(self, vectors: FloatArray, k: int, only: models.Filter) -> Neighbours:
        how = _PARAMETERS if is_server(self._client) else None  # local mode compares with all
        requests = [models.QueryRequest(query=vector, limit=k, filter=only, params=how) for vector in vectors.tolist()]
        with calling():
            answers = [answer.points for answer in self._client.query_batch_points(self._name, requests)]
        found = min(map(len, answers))  # the same for all, since as many points pass for each
        ids = np.array([[point.id for point in points[:found]] for points in answers], np.int64) - self._tenant.offset
        scores = np.array([[point.score for point in points[:found]] for points in answers], np.float32)
        return Neighbours(ids.reshape(len(vectors), found), scores.reshape(len(vectors), found))

    def _only(self, allowed: IdArray | Filter | None = None) -> models.Filter:
        conditions: list[models.Condition] = [self._tenant.condition()]
        if isinstance(allowed, np.ndarray):
            conditions.append(models.HasIdCondition(has_id=self._points(allowed)))
        elif allowed is not None:
            conditions.append(as_condition(allowed))
        return models.Filter(must=conditions)

    def _points(self, ids: IdArray) -> list[Any]:
        return list((ids + self._tenant.offset).tolist())

    def _ids(self, records: Sequence[models.Record]) -> IdArray:
        return np.array([record.id for record in records], np.int64) - self._tenant.offset

    def _arrays(self, records: Sequence[models.Record]) -> tuple[IdArray, FloatArray]:
        vectors = np.array([record.vector for record in records], np.float32)
        return self._ids(records), vectors.reshape(len(records), self._dimension)


def connect(address: str, api_key: str | None = None) -> QdrantClient:
    """To the URL of a server, or in local mode to a folder or `:memory:`.

    Raises `IndexUnreachable` if another process has the folder.
    """
    if address == ":memory:":
        return QdrantClient(location=address)
    if "://" in address:
        return QdrantClient(url=address, api_key=api_key, timeout=SECONDS, check_compatibility=False)
    try:
        return QdrantClient(path=address, force_disable_check_same_thread=True)
    except RuntimeError as error:
        raise IndexUnreachable(
            f"another process has Qdrant's folder {address} open; stop it, or run a Qdrant server and set "
            "ANYSEEK_QDRANT_URL"
        ) from error


def is_server(client: QdrantClient) -> bool:
    """Whether it is not local mode, which knows neither indexes nor how to search in them."""
    return bool(client.init_options.get("url"))


def make_collection(client: QdrantClient, name: str, dimension: int) -> None:
    """Make the Qdrant collection with its indexes of payloads, if absent; safe for many processes at once.

    Vectors are on the disk and their codes of 8 bits in memory.
    """
    if client.collection_exists(name):
        return
    codes = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, always_ram=True)
    try:
        client.create_collection(
            name,
            vectors_config=models.VectorParams(size=dimension, distance=models.Distance.DOT, on_disk=True),
            quantization_config=models.ScalarQuantization(scalar=codes),
            hnsw_config=models.HnswConfigDiff(m=16, payload_m=16),  # links among the points of each tenant, too
            on_disk_payload=True,
        )
    except (UnexpectedResponse, ValueError):
        if not client.collection_exists(name):  # else another process has just made it
            raise
    if client.init_options.get("url"):
        for field, kind in INDEXED.items():
            client.create_payload_index(name, field, kind, wait=True)


def remove_tenant(client: QdrantClient, name: str, tenant: Tenant) -> None:
    """Remove all points of a tenant."""
    with calling():
        of_tenant = models.Filter(must=[tenant.condition()])
        client.delete(name, models.FilterSelector(filter=of_tenant), wait=True)


@contextmanager
def calling() -> Iterator[None]:
    """Failures of Qdrant in this installation's words."""
    try:
        yield
    except ResponseHandlingException as error:
        raise IndexUnreachable(
            f"Qdrant does not answer: {error}; is it running where ANYSEEK_QDRANT_URL says?"
        ) from error
    except UnexpectedResponse as error:
        if error.status_code == HTTPStatus.NOT_FOUND:
            raise StoreCorrupt("Qdrant has lost a collection that was filled; run anyseek rebuild") from error
        if error.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise IndexUnreachable("Qdrant refuses the key; set ANYSEEK_QDRANT_API_KEY") from error
        raise


def _pages(count: int) -> Iterator[slice]:
    return (slice(start, start + PAGE) for start in range(0, count, PAGE))
