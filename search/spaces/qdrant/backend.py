"""The Qdrant backend: one Qdrant collection for each space of a model, with our collections as tenants."""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from anyseek.model.seam import FloatArray
from anyseek.search.catalogue import collections
from anyseek.search.catalogue.collections import Head, SpaceHead
from anyseek.search.catalogue.session import Database
from anyseek.search.errors import StoreCorrupt
from anyseek.search.filters.tree import Filter
from anyseek.search.settings import Settings, mask_secrets
from anyseek.search.spaces.base import Neighbours, nearest
from anyseek.search.spaces.qdrant.filters import INDEXED, as_condition, payload_of
from anyseek.search.spaces.shared import PAGE, IndexUnreachable, SharedSpace
from anyseek.search.types import IdArray, Item

# The timeout of a call; the applier's lease is longer.
TIMEOUT_SECONDS = 20
# If more scores than this are equal at the last place, they come in any order.
MAX_TIES = 20_000
# 8-bit codes find this many times more candidates than needed, and exact scores choose among them.
OVERSAMPLING = 2.0
HNSW_EF = 128

_SEARCH_PARAMS = models.SearchParams(
    hnsw_ef=HNSW_EF, quantization=models.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING)
)


@dataclass(frozen=True)
class Tenant:
    """The owner of points in a Qdrant collection. `offset` is added to ids: two tenants may hold the same items."""

    name: str = "only"
    offset: int = 0

    def condition(self) -> models.FieldCondition:
        return models.FieldCondition(key="tenant", match=models.MatchValue(value=self.name))


class QdrantIndex:
    """Vectors of `dimension` of one tenant in the Qdrant collection `name`, which `create` creates.

    Local mode (a folder or `:memory:`) is brute force, meant for tests and up to 20,000 vectors. All methods raise
    `IndexUnreachable` while Qdrant does not answer, and `StoreCorrupt` if the Qdrant collection is gone.
    """

    def __init__(self, dimension: int, client: QdrantClient, name: str, tenant: Tenant = Tenant()) -> None:
        self._client = client
        self._name = name
        self._dimension = dimension
        self._tenant = tenant

    def create(self) -> None:
        """Create the Qdrant collection with its payload indexes, if absent; safe for many processes at once.

        Vectors are on disk, their 8-bit codes in memory.
        """
        with translate_errors():
            if not self._client.collection_exists(self._name):
                self._create()

    def upsert(self, ids: IdArray, vectors: FloatArray, items: Sequence[Item] = ()) -> None:
        """Insert or replace vectors with the filterable attributes of their items."""
        for page in _pages(len(ids)):
            payloads = [payload_of(item) for item in items[page]] if items else [{} for _ in ids[page]]
            tagged = [payload | {"tenant": self._tenant.name} for payload in payloads]
            points = models.Batch(ids=self._point_ids(ids[page]), vectors=vectors[page].tolist(), payloads=tagged)
            with translate_errors():
                self._client.upsert(self._name, points, wait=True)

    def delete(self, ids: IdArray) -> None:
        for page in _pages(len(ids)):
            with translate_errors():
                self._client.delete(self._name, models.PointIdsList(points=self._point_ids(ids[page])), wait=True)

    def clear(self) -> None:
        """Remove all points of the tenant."""
        remove_tenant(self._client, self._name, self._tenant)

    def search(self, vectors: FloatArray, k: int, where: Filter | None = None) -> Neighbours:
        """The `k` nearest; filters become Qdrant's conditions on payloads."""
        condition = self._tenant_filter() if where is None else self._tenant_filter(as_condition(where))
        return nearest(lambda batch, n: self._search_batch(batch, n, condition), vectors, k, max(MAX_TIES, k))

    def count(self) -> int:
        with translate_errors():
            return self._client.count(self._name, count_filter=self._tenant_filter(), exact=True).count

    def vectors(self, ids: IdArray) -> tuple[IdArray, FloatArray]:
        records: list[models.Record] = []
        for page in _pages(len(ids)):
            condition = self._tenant_filter(models.HasIdCondition(has_id=self._point_ids(ids[page])))
            with translate_errors():
                page_records, _ = self._client.scroll(
                    self._name, condition, limit=PAGE, with_payload=False, with_vectors=True
                )
            records += page_records
        records.sort(key=lambda record: record.id)
        vectors = np.array([record.vector for record in records], np.float32)
        return self._item_ids(records), vectors.reshape(len(records), self._dimension)

    def ids(self) -> Iterator[IdArray]:
        """All ids of the tenant, in order."""
        condition, offset = self._tenant_filter(), None
        while True:
            with translate_errors():
                records, offset = self._client.scroll(
                    self._name, condition, limit=PAGE, offset=offset, with_payload=False, with_vectors=False
                )
            yield self._item_ids(records)
            if offset is None:
                return

    def _create(self) -> None:
        codes = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, always_ram=True)
        try:
            self._client.create_collection(
                self._name,
                vectors_config=models.VectorParams(size=self._dimension, distance=models.Distance.DOT, on_disk=True),
                quantization_config=models.ScalarQuantization(scalar=codes),
                hnsw_config=models.HnswConfigDiff(m=16, payload_m=16),  # also link the points of each tenant
                on_disk_payload=True,
            )
        except (UnexpectedResponse, ValueError):
            if not self._client.collection_exists(self._name):  # else another process has just made it
                raise
        if is_server(self._client):
            for field, kind in INDEXED.items():
                self._client.create_payload_index(self._name, field, kind, wait=True)

    def _search_batch(self, vectors: FloatArray, k: int, where: models.Filter) -> Neighbours:
        params = _SEARCH_PARAMS if is_server(self._client) else None  # local mode compares with all
        rows = vectors.tolist()
        requests = [models.QueryRequest(query=row, limit=k, filter=where, params=params) for row in rows]
        with translate_errors():
            answers = [answer.points for answer in self._client.query_batch_points(self._name, requests)]
        count = min(map(len, answers))  # the same for all, since as many points pass for each
        ids = np.array([[point.id for point in points[:count]] for points in answers], np.int64) - self._tenant.offset
        scores = np.array([[point.score for point in points[:count]] for points in answers], np.float32)
        return Neighbours(ids.reshape(len(vectors), count), scores.reshape(len(vectors), count))

    def _tenant_filter(self, *conditions: models.Condition) -> models.Filter:
        return models.Filter(must=[self._tenant.condition(), *conditions])

    def _point_ids(self, ids: IdArray) -> list[Any]:
        return list((ids + self._tenant.offset).tolist())

    def _item_ids(self, records: Sequence[models.Record]) -> IdArray:
        return np.array([record.id for record in records], np.int64) - self._tenant.offset


def connect(address: str, api_key: str | None = None) -> QdrantClient:
    """A client of a server's URL, or in local mode of a folder or `:memory:`.

    Raises `IndexUnreachable` if another process has the folder.
    """
    if address == ":memory:":
        return QdrantClient(location=address)
    if "://" in address:
        return QdrantClient(url=address, api_key=api_key, timeout=TIMEOUT_SECONDS, check_compatibility=False)
    try:
        return QdrantClient(path=address, force_disable_check_same_thread=True)
    except RuntimeError as error:
        raise IndexUnreachable(
            f"another process is using Qdrant's folder {address}; stop it, or run a Qdrant server and set "
            "ANYSEEK_QDRANT_URL"
        ) from error


def is_server(client: QdrantClient) -> bool:
    """True if the client is connected to a server; local mode has no indexes."""
    return bool(client.init_options.get("url"))


def remove_tenant(client: QdrantClient, name: str, tenant: Tenant) -> None:
    """Remove all points of a tenant."""
    with translate_errors():
        of_tenant = models.Filter(must=[tenant.condition()])
        client.delete(name, models.FilterSelector(filter=of_tenant), wait=True)


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise Qdrant's errors as `AnyseekError`s."""
    try:
        yield
    except ResponseHandlingException as error:
        raise IndexUnreachable(f"Qdrant does not answer: {error}; check that it runs at ANYSEEK_QDRANT_URL") from error
    except UnexpectedResponse as error:
        if error.status_code == HTTPStatus.NOT_FOUND:
            raise StoreCorrupt("Qdrant has lost a collection that was filled; run anyseek rebuild") from error
        if error.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise IndexUnreachable("Qdrant refused the API key; set ANYSEEK_QDRANT_API_KEY") from error
        raise


def _pages(count: int) -> Iterator[slice]:
    return (slice(start, start + PAGE) for start in range(0, count, PAGE))


PREFIX = "anyseek-"
# Point ids have the version of the space, modulo this, in the bits above those of the catalogue's ids.
VERSIONS, ID_BITS = 4, 60


class QdrantBackend:
    """The Qdrant backend, with one client that connects when it is first needed."""

    def __init__(self, database: Database, settings: Settings, client: QdrantClient | None = None) -> None:
        """`client` replaces the one of the settings."""
        self._database = database
        self._settings = settings
        self._connecting = threading.Lock()
        self._client = client

    @staticmethod
    def check(settings: Settings) -> str:
        """Raises `IndexUnreachable`."""
        with translate_errors(), closing(_connect(settings)) as client:
            client.get_collections()
        return f"Qdrant at {mask_secrets(settings.qdrant_address)} answers"

    def open(self, head: Head, space: SpaceHead) -> SharedSpace:
        client, collection_id = self._get_client(), head.id

        def store_of(version: int) -> QdrantIndex:
            return QdrantIndex(space.dimension, client, name_of(space), _tenant(collection_id, space.id, version))

        return SharedSpace(self._database, collection_id, space, store_of)

    def clear_filter_cache(self) -> None:
        """Do nothing: Qdrant evaluates filters itself."""

    def remove_unknown(self) -> None:
        """Remove the points of spaces that are gone.

        The catalogue is read after Qdrant, because a space is in the catalogue before its points are in Qdrant.
        """
        client = self._get_client()
        with translate_errors():
            names = [found.name for found in client.get_collections().collections if found.name.startswith(PREFIX)]
            hits = [(name, hit) for name in names for hit in client.facet(name, "tenant", limit=10_000).hits]
        with self._database.read() as session:
            known = collections.space_ids(session)
        for name, hit in hits:
            if int(str(hit.value).split("-")[1]) not in known:
                remove_tenant(client, name, Tenant(str(hit.value)))

    def close(self) -> None:
        """Close the client, after which another process can use local mode."""
        with self._connecting:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _get_client(self) -> QdrantClient:
        with self._connecting:
            if self._client is None:
                self._client = _connect(self._settings)
            return self._client


def name_of(space: SpaceHead) -> str:
    """The Qdrant collection of a space, shared by all collections whose vectors come from the same weights."""
    return PREFIX + hashlib.sha256(f"{space.name}/{space.fingerprint}".encode()).hexdigest()[:24]


def _connect(settings: Settings) -> QdrantClient:
    return connect(settings.qdrant_address, settings.qdrant.api_key or None)


def _tenant(collection_id: int, space_id: int, version: int) -> Tenant:
    return Tenant(f"{collection_id}-{space_id}-{version}", version % VERSIONS << ID_BITS)
