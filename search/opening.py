"""Opening the spaces of collections with the index that the settings name.

Qdrant's client is imported where it is used: it takes a third of the time in which a command without it starts.
"""

import threading
from contextlib import closing
from typing import TYPE_CHECKING

from search.catalogue import collections
from search.catalogue.collections import Head, SpaceHead
from search.catalogue.session import Database
from search.filters.resolving import ResolvedFilters
from search.index.making import index_maker
from search.live_space import LiveSpace
from search.settings import Settings, masked
from search.snapshot_writer import space_folder
from search.space_index import MakeIndex, SpaceIndex

if TYPE_CHECKING:
    from qdrant_client import QdrantClient


def check_index(settings: Settings) -> str:
    """What searches, in one sentence. Raises `IndexUnavailable` if it cannot be used."""
    if settings.index.backend == "faiss":
        index_maker(settings.index)(1)
        return f"FAISS, {settings.index.kind}, on the {settings.index.device.upper()} of this process"
    from search.index.qdrant import calling, connect

    with calling(), closing(connect(settings.qdrant_address, settings.qdrant.api_key or None)) as client:
        client.get_collections()
    return f"Qdrant at {masked(settings.qdrant_address)} answers"


class SpaceOpener:
    """Opens spaces; the connection to Qdrant is made when first needed, and shared. Safe for many threads."""

    def __init__(self, database: Database, settings: Settings, make_index: MakeIndex | None = None) -> None:
        """`make_index` replaces what the settings say."""
        self._database = database
        self._settings = settings
        self._in_qdrant = make_index is None and settings.index.backend == "qdrant"
        self._make_index = make_index or index_maker(settings.index)
        self._filters = ResolvedFilters()
        self._connecting = threading.Lock()
        self._client: QdrantClient | None = None

    def __call__(self, head: Head, space: SpaceHead) -> LiveSpace:
        if self._in_qdrant:
            from search.qdrant_space import QdrantSpace

            return QdrantSpace(self._database, self._connection(), head.id, space)
        folder = space_folder(self._settings, head.id, space.id)
        return SpaceIndex(self._database, folder, head.id, space, self._make_index, self._filters)

    def forget_unknown(self) -> None:
        """Remove what Qdrant holds of collections and spaces that are gone."""
        if self._in_qdrant:
            from search.qdrant_space import forget_unknown

            forget_unknown(self._connection(), self._known_spaces)

    def close(self) -> None:
        """Let go of Qdrant; local mode is free for another process then."""
        with self._connecting:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _known_spaces(self) -> set[int]:
        with self._database.read() as session:
            return collections.space_ids(session)

    def _connection(self) -> "QdrantClient":
        from search.index.qdrant import connect

        with self._connecting:
            if self._client is None:
                self._client = connect(self._settings.qdrant_address, self._settings.qdrant.api_key or None)
            return self._client
