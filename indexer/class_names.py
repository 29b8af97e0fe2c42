"""Names of the ids in an item's region maps, kept with the item: a small stored file for each map that has them.

The asset is called `semseg.classes` for the map `semseg` and holds `{"0": "sky"}`. Items that share their names share
the file.
"""

import json
from collections.abc import Sequence

from indexer.decode import parse_classes
from indexer.samples import RawFile
from search.assets import AssetStore
from search.types import Asset, Item

_ENDING, _MEDIA_TYPE = ".classes", "application/json"


def stored_names(files: Sequence[RawFile], store: AssetStore) -> list[Asset]:
    """Keep the names that come with an item's files."""
    return [store.put(file.modality + _ENDING, _written(file), _MEDIA_TYPE) for file in files if file.classes]


def names_of(item: Item, modality: str, store: AssetStore) -> dict[int, str]:
    """The names of the ids in a map of an item, none where it came without. Raises `AssetNotFound`, `StoreCorrupt`."""
    asset = item.assets.get(modality + _ENDING)
    return {} if asset is None else parse_classes(json.loads(store.read(asset)), asset.name)


def holds_names(asset: Asset) -> bool:
    """Whether an asset is such a file, and no modality of its item."""
    return asset.name.endswith(_ENDING)


def _written(file: RawFile) -> bytes:
    return json.dumps(dict(sorted(file.classes.items())), ensure_ascii=False).encode()
