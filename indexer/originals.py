"""The files of an item that is in the catalogue, read and decoded again."""

import hashlib

from indexer.class_names import holds_names, names_of
from indexer.errors import InputError
from indexer.files import read_file
from indexer.samples import THUMBNAIL, RawFile, decode_all
from model.embedder import Value
from search.assets import AssetStore
from search.settings import Limits
from search.types import Asset, Item


class OriginalChanged(InputError):
    code = "original-changed"


def original_values(item: Item, store: AssetStore, limits: Limits) -> dict[str, Value]:
    """The values of the item's modalities, as they were when it was put.

    Raises `AssetNotFound`, `StoreCorrupt`, `InputError` or `DecodeError` for an original that is gone, damaged or not
    what it was.
    """
    files = [
        RawFile(asset.name, _bytes(item, asset, store, limits), asset.location, names_of(item, asset.name, store))
        for asset in item.assets.values()
        if asset.name != THUMBNAIL and not holds_names(asset)
    ]
    return decode_all(files, item.caption, limits)


def _bytes(item: Item, asset: Asset, store: AssetStore, limits: Limits) -> bytes:
    if asset.stored:
        return store.read(asset)
    data = read_file(store.path(asset), limits, asset.location)
    if hashlib.sha256(data).hexdigest() != asset.sha256:
        raise OriginalChanged(
            f"{asset.location} has changed since the item {item.key!r} was made of it; index its folder again first"
        )
    return data
