"""Making items anew from their originals, for `anyseek rebuild` when vectors or stored files were lost."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from indexer.decode import thumbnail
from indexer.indexing import Tools
from indexer.originals import original_values
from indexer.pictures import THUMBNAIL_MEDIA_TYPE
from indexer.samples import CAPTION, PICTURE, THUMBNAIL, sample_for
from model.embedder import Sample, Value
from search.assets import AssetStore
from search.errors import AnyseekError
from search.settings import Limits
from search.types import Item, NewItem

# No content has this hash, so the next `anyseek index` over the item's folder looks at it again.
UNKNOWN_HASH = ""


def remake(tools: Callable[[], Tools], items: Sequence[Item]) -> Mapping[str, NewItem]:
    """New items by key, without those whose originals are gone, changed or no longer decodable.

    `tools` is only called, and so the model only loaded, if there is anything to make.
    """
    if not items:
        return {}
    opened = tools()
    limits = opened.settings.limits
    decoded = {item.key: _decoded(item, opened.assets, limits) for item in items}
    made = {}
    for item in items:
        values = decoded[item.key]
        sample = sample_for(values or {}, opened.embedder.modalities)
        if values and sample.values:
            made[item.key] = _new_item(opened, item, values, sample)
    return made


def _decoded(item: Item, store: AssetStore, limits: Limits) -> dict[str, Value] | None:
    """The values of the item's originals; None if one of them is not what it was."""
    try:
        return original_values(item, store, limits)
    except AnyseekError:
        return None  # the caller reports the item's key as not made


def _new_item(tools: Tools, item: Item, values: Mapping[str, Value], sample: Sample) -> NewItem:
    vectors = tools.embedder.embed_gallery([sample], list(tools.embedder.spaces))
    assets = [asset for asset in item.assets.values() if asset.name != THUMBNAIL]
    picture = values.get(PICTURE)
    if isinstance(picture, np.ndarray):
        small = thumbnail(picture.astype(np.uint8, copy=False))
        assets.append(tools.assets.put(THUMBNAIL, small, THUMBNAIL_MEDIA_TYPE))
    caption = values.get(CAPTION)
    return NewItem(
        key=item.key,
        content_hash=UNKNOWN_HASH,
        vectors={name: rows[0] for name, rows in vectors.items()},
        caption=caption if isinstance(caption, str) else None,
        attributes=item.attributes,
        assets=tuple(assets),
        source_id=item.source_id,
        sample_hash=item.sample_hash,
    )
