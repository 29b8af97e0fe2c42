"""What queries read of the catalogue: a snapshot, with caches of items that they found and of heads of collections."""

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

# With more changes it is quicker to read items again than to learn which of them are old.
MOST_CHANGED = 20_000
# What an item and each of its assets take in memory besides their texts, measured with tracemalloc.
_ITEM_BYTES, _ASSET_BYTES = 1_000, 600


class Snapshot(ExitStack):
    """The state of a collection by which a batch of queries is answered, in one transaction for all that is read of it.

    `head` is what is known of the collection without reading until `session` is first used, then that of the session.
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


class _Held(NamedTuple):
    collection_id: int
    item: Item
    size: int


class ItemCache:
    """Sound items by id, at most `most_bytes` of them, the latest used. Safe for many threads.

    What is held of a collection is as of a number of its log, which has every change and deletion of items, whichever
    process makes it. Damaged items are not held: they are read, and checked, each time.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._held: OrderedDict[int, _Held] = OrderedDict()
        self._seqs: dict[int, int] = {}  # by the collection's id
        self._bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def held_bytes(self) -> int:
        """About how much memory the items take."""
        return self._bytes

    def get(self, snapshot: Snapshot, ids: Sequence[int]) -> dict[int, Item]:
        """The items with these distinct `ids` that exist in the snapshot, all of its collection."""
        found = self._cached(snapshot.head, ids)
        if len(found) == len(ids):
            return found
        session = snapshot.session
        self._follow(session, snapshot.head)
        found = self._cached(snapshot.head, ids)
        read = items.by_ids(session, [item_id for item_id in ids if item_id not in found])
        self._keep(snapshot.head, list(read.values()))
        return found | read

    def forget(self) -> None:
        """Drop all items."""
        with self._lock:
            self._held.clear()
            self._seqs.clear()
            self._bytes = 0

    def _cached(self, head: Head, ids: Sequence[int]) -> dict[int, Item]:
        """Those of the items that are cached; none if the cache is not as of `head`."""
        with self._lock:
            if self._seqs.get(head.id) != head.last_seq:
                return {}
            found = {item_id: self._held[item_id].item for item_id in ids if item_id in self._held}
            for item_id in found:
                self._held.move_to_end(item_id)
            return found

    def _follow(self, session: Session, head: Head) -> None:
        """Drop the items that have changed up to `head`, which was read in `session`; a newer cache stays as it is."""
        with self._lock:
            seq = self._seqs.setdefault(head.id, head.last_seq)
        if seq >= head.last_seq:
            return
        follows = head.compacted_seq <= seq and head.last_seq - seq <= MOST_CHANGED
        changed = log.items_after(session, head.id, seq) if follows else None
        with self._lock:
            if self._seqs.get(head.id, -1) >= head.last_seq:
                return
            for item_id in self._of(head.id) if changed is None else changed & self._held.keys():
                self._drop(item_id)
            self._seqs[head.id] = head.last_seq

    def _keep(self, head: Head, read: Sequence[Item]) -> None:
        """Cache items as of `head`, unless the cache is of another state."""
        with self._lock:
            if self._seqs.get(head.id) != head.last_seq:
                return
            for item in read:
                if not item.damaged:
                    self._drop(item.id)
                    self._held[item.id] = _Held(head.id, item, _size(item))
                    self._bytes += self._held[item.id].size
            while self._bytes > self._most_bytes:
                self._drop(next(iter(self._held)))

    def _of(self, collection_id: int) -> list[int]:
        return [item_id for item_id, held in self._held.items() if held.collection_id == collection_id]

    def _drop(self, item_id: int) -> None:
        held = self._held.pop(item_id, None)
        self._bytes -= held.size if held else 0


def _size(item: Item) -> int:
    """About how many bytes an item takes in memory."""
    texts = len(item.key) + len(item.caption or "") + 4 * len(str(item.attributes))
    return _ITEM_BYTES + texts + sum(_ASSET_BYTES + len(asset.location) for asset in item.assets.values())


class Heads:
    """A cache of heads of collections, valid until the next commit. Safe for many threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held: dict[str, tuple[Version, Head]] = {}  # by the collection's name

    def get(self, name: str) -> Head:
        """The current state of the collection, as `collections.head` reads it. Raises `CollectionNotFound`."""
        version = self._database.version()  # before the head: what is committed in between is seen the next time
        held = self._held.get(name)
        if version is not None and held is not None and held[0] == version:
            return held[1]
        with self._database.once() as connection:
            head = collections.head(connection, name)
        if version is not None:
            self._held[name] = version, head
        return head

    def forget(self) -> None:
        """Drop all heads, those of deleted collections among them."""
        self._held = {}
