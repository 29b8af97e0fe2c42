"""The files of items, found by the names that users give, and the pictures that queries name."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedIOBase

from anyseek.search.assets.base import AssetStore
from anyseek.search.catalogue import collections, items, sources
from anyseek.search.catalogue.session import Database
from anyseek.search.errors import AssetNotFound, LimitExceeded
from anyseek.search.types import Asset, Item

PICTURE = "rgb"

PictureOf = Callable[[str, str | None], bytes]
"""Reads the picture of an item by its key, from the named collection or else from the one that is searched."""


def asset_of(item: Item, name: str) -> Asset:
    """The file `name` of an item. Raises `AssetNotFound`, which lists the files that the item has."""
    asset = item.assets.get(name)
    if asset is None:
        raise AssetNotFound(f"the item {item.key!r} has no file {name!r}; it has {', '.join(sorted(item.assets))}")
    return asset


def open_asset(database: Database, store: AssetStore, item: Item, asset: Asset) -> BufferedIOBase:
    """A file of an item, open for reading. Raises as `AssetStore.open` does."""
    with database.read() as session:
        root = None if asset.stored else sources.folder_of(session, item.source_id)
    return store.open(asset, root)


@dataclass(frozen=True)
class Pictures:
    """Reads the pictures of items; a `PictureOf` for queries of `collection`."""

    database: Database
    store: AssetStore
    collection: str
    most_bytes: int

    def __call__(self, key: str, collection: str | None) -> bytes:
        """The bytes of an item's picture.

        Raises `CollectionNotFound`, `ItemNotFound`, `AssetNotFound` for an item without a picture, `LimitExceeded`, and
        as `AssetStore.open` does.
        """
        with self.database.read() as session:
            item = items.get(session, collections.get(session, collection or self.collection), key)
        if PICTURE not in item.assets:
            raise AssetNotFound(f"the item {key!r} has no picture, of which a box or a mask would be a part")
        asset = item.assets[PICTURE]
        if asset.size_bytes > self.most_bytes:
            size, most = f"{asset.size_bytes:,}", f"{self.most_bytes:,}"
            raise LimitExceeded(f"the picture of {key!r} has {size} bytes; at most {most} are allowed")
        with open_asset(self.database, self.store, item, asset) as file:
            return file.read(asset.size_bytes)
