"""Snapshots of the catalogue for queries, with caches of items and of heads of collections."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import NamedTuple

from sqlalchemy.orm import Session

from anyseek.search.catalogue import collections, items, log
from anyseek.search.catalogue.collections import Head
from anyseek.search.catalogue.session import Database, Version
from anyseek.search.catalogue.words import WordSearch
from anyseek.search.types import Item

# With more changes it is faster to reload items than to find the stale ones.
MAX_CHANGED = 20_000
# Memory of an item and of each asset without their texts, measured with tracemalloc.
_ITEM_BYTES, _ASSET_BYTES = 1_000, 600


class Snapshot(ExitStack):
    """The snapshot of a collection for a batch of queries: one lazily opened transaction.

    `head` is the head passed in until `session` is first used, then the head read in the transaction.
    """

    def __init__(self, database: Database, head: Head) -> None:
        super().__init__()
        self.head = head
        self._database = database
        self._session: Session | None = None

    @property
    def session(self) -> Session:
        """The transaction. Raises `CollectionNotFound` if the collection has been deleted in the meantime."""
        if self._session is None:
            self._session = self.enter_context(self._database.read())
            self.head = collections.head_by_id(self._session, self.head.id)
        return self._session

    @cached_property
    def words(self) -> WordSearch:
        """The full text of the collection."""
        return WordSearch(self.session, self.head.id)


class _CacheEntry(NamedTuple):
    collection_id: int
    item: Item
    size: int


class ItemCache:
    """LRU cache of sound items by id, up to `max_bytes`. Thread-safe.

    The entries of a collection are valid at one sequence number of its log, which has all changes and deletions by any
    process. Damaged items are not cached: they are read, and checked, each time.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[int, _CacheEntry] = OrderedDict()
        self._seqs: dict[int, int] = {}  # by the collection's id
        self._bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size_bytes(self) -> int:
        """The approximate memory of the cached items."""
        return self._bytes

    def get(self, snapshot: Snapshot, ids: Sequence[int]) -> dict[int, Item]:
        """The items with these distinct `ids` that exist in the snapshot; all must be of its collection."""
        found = self._cached(snapshot.head, ids)
        if len(found) == len(ids):
            return found
        session = snapshot.session
        self._evict_changed(session, snapshot.head)
        found = self._cached(snapshot.head, ids)
        read = items.by_ids(session, [item_id for item_id in ids if item_id not in found])
        self._insert(snapshot.head, list(read.values()))
        return found | read

    def forget(self) -> None:
        """Drop all items."""
        with self._lock:
            self._entries.clear()
            self._seqs.clear()
            self._bytes = 0

    def _cached(self, head: Head, ids: Sequence[int]) -> dict[int, Item]:
        """The cached items; none if the cache is not at the state of `head`."""
        with self._lock:
            if self._seqs.get(head.id) != head.last_seq:
                return {}
            found = {item_id: self._entries[item_id].item for item_id in ids if item_id in self._entries}
            for item_id in found:
                self._entries.move_to_end(item_id)
            return found

    def _evict_changed(self, session: Session, head: Head) -> None:
        """Evict items changed up to `head`, which was read in `session`; a newer cache is left unchanged."""
        with self._lock:
            seq = self._seqs.setdefault(head.id, head.last_seq)
        if seq >= head.last_seq:
            return
        uses_log = head.compacted_seq <= seq and head.last_seq - seq <= MAX_CHANGED
        changed_ids = log.items_after(session, head.id, seq) if uses_log else None
        with self._lock:
            if self._seqs.get(head.id, -1) >= head.last_seq:
                return
            for item_id in self._ids_of(head.id) if changed_ids is None else changed_ids & self._entries.keys():
                self._drop(item_id)
            self._seqs[head.id] = head.last_seq

    def _insert(self, head: Head, read: Sequence[Item]) -> None:
        """Cache items read at `head`, unless the cache is at another state."""
        with self._lock:
            if self._seqs.get(head.id) != head.last_seq:
                return
            for item in read:
                if not item.damaged:
                    self._drop(item.id)
                    self._entries[item.id] = _CacheEntry(head.id, item, _size(item))
                    self._bytes += self._entries[item.id].size
            while self._bytes > self._max_bytes:
                self._drop(next(iter(self._entries)))

    def _ids_of(self, collection_id: int) -> list[int]:
        return [item_id for item_id, entry in self._entries.items() if entry.collection_id == collection_id]

    def _drop(self, item_id: int) -> None:
        entry = self._entries.pop(item_id, None)
        self._bytes -= entry.size if entry else 0


def _size(item: Item) -> int:
    """The approximate bytes of an item in memory."""
    texts = len(item.key) + len(item.caption or "") + 4 * len(str(item.attributes))
    return _ITEM_BYTES + texts + sum(_ASSET_BYTES + len(asset.location) for asset in item.assets.values())


class Heads:
    """Cache of collections' heads, valid until the next commit. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._heads: dict[str, tuple[Version, Head]] = {}  # by the collection's name

    def get(self, name: str) -> Head:
        """The current state of the collection, as `collections.head` reads it. Raises `CollectionNotFound`."""
        version = self._database.version()  # before the head, so that a commit in between invalidates it
        cached = self._heads.get(name)
        if version is not None and cached is not None and cached[0] == version:
            return cached[1]
        with self._database.once() as connection:
            head = collections.head(connection, name)
        if version is not None:
            self._heads[name] = version, head
        return head

    def forget(self) -> None:
        """Drop all heads, including those of deleted collections."""
        self._heads = {}
