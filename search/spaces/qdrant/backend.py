"""The backend in Qdrant: one Qdrant collection for each space of a model, in which a collection is a tenant."""

import hashlib
import threading
from contextlib import closing

from qdrant_client import QdrantClient

from anyseek.search.catalogue import collections
from anyseek.search.catalogue.collections import Head, SpaceHead
from anyseek.search.catalogue.session import Database
from anyseek.search.settings import Settings, masked
from anyseek.search.spaces.qdrant.index import QdrantIndex, Tenant, calling, connect, remove_tenant
from anyseek.search.spaces.shared import SharedSpace

PREFIX = "anyseek-"
# Points of this many versions of a space are told apart by bits above those of the catalogue's ids.
VERSIONS, ID_BITS = 4, 60


class QdrantBackend:
    """The connection is made when first needed, and shared."""

    def __init__(self, database: Database, settings: Settings, client: QdrantClient | None = None) -> None:
        """`client` replaces the one of the settings."""
        self._database = database
        self._settings = settings
        self._connecting = threading.Lock()
        self._client = client

    @staticmethod
    def check(settings: Settings) -> str:
        """Raises `IndexUnreachable`."""
        with calling(), closing(_connected(settings)) as client:
            client.get_collections()
        return f"Qdrant at {masked(settings.qdrant_address)} answers"

    def open(self, head: Head, space: SpaceHead) -> SharedSpace:
        client, collection_id = self._connection(), head.id

        def store_of(version: int) -> QdrantIndex:
            return QdrantIndex(space.dimension, client, name_of(space), _tenant(collection_id, space.id, version))

        return SharedSpace(self._database, collection_id, space, store_of)

    def forget_filters(self) -> None:
        """Do nothing: Qdrant evaluates filters by what it holds itself."""

    def remove_unknown(self) -> None:
        """Remove the points of spaces that are gone.

        The catalogue is read after Qdrant, because a space is in the catalogue before its points are in Qdrant.
        """
        client = self._connection()
        with calling():
            names = [held.name for held in client.get_collections().collections if held.name.startswith(PREFIX)]
            hits = [(name, hit) for name in names for hit in client.facet(name, "tenant", limit=10_000).hits]
        with self._database.read() as session:
            known = collections.space_ids(session)
        for name, hit in hits:
            if _space_of(str(hit.value)) not in known:
                remove_tenant(client, name, Tenant(str(hit.value)))

    def close(self) -> None:
        """Close the client, after which another process can use local mode."""
        with self._connecting:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _connection(self) -> QdrantClient:
        with self._connecting:
            if self._client is None:
                self._client = _connected(self._settings)
            return self._client


def name_of(space: SpaceHead) -> str:
    """The Qdrant collection of a space, shared by all collections whose vectors come from the same weights."""
    return PREFIX + hashlib.sha256(f"{space.name}/{space.fingerprint}".encode()).hexdigest()[:24]


def _connected(settings: Settings) -> QdrantClient:
    return connect(settings.qdrant_address, settings.qdrant.api_key or None)


def _tenant(collection_id: int, space_id: int, version: int) -> Tenant:
    return Tenant(f"{collection_id}-{space_id}-{version}", version % VERSIONS << ID_BITS)


def _space_of(tenant: str) -> int:
    return int(tenant.split("-")[1])
