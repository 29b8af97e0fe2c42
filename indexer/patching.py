"""Changing an item's attributes and caption where it is, without sending its files again."""

from collections.abc import Callable
from dataclasses import dataclass, field

from anyseek.indexer.descriptions import check_attributes, check_size
from anyseek.indexer.indexing import open_collection
from anyseek.indexer.put import vectors_of
from anyseek.indexer.runs import Tools
from anyseek.indexer.samples import CAPTION, read_originals, sample_for
from anyseek.search.catalogue import audit, collections, items
from anyseek.search.catalogue.items import Versions
from anyseek.search.catalogue.session import Database
from anyseek.search.errors import BadInput, ItemChanged
from anyseek.search.types import Attributes, Item, NewItem

# How often a new caption is embedded again because the item was changed meanwhile.
_ATTEMPTS = 3


@dataclass(frozen=True)
class Patch:
    """What to change. `attributes` is a merge patch (RFC 7396), None removes all of them. `caption` is a parsed text,
    or None to remove it; it counts only with `sets_caption`.
    """

    attributes: Attributes | None = field(default_factory=dict)
    caption: str | None = None
    sets_caption: bool = False


def patch_item(
    database: Database,
    tools: Callable[[], Tools],
    collection_name: str,
    key: str,
    patch: Patch,
    versions: Versions | None = None,
) -> Item:
    """Change the item `key`. Its vectors stay, unless the caption changes: then it is embedded again from its files.

    Either all changes are made or none. `tools` is called, and so the model loaded, only for a new caption. An item of
    a source is changed as well; runs over the source leave it so until its files or what is said of them change.

    Raises `CollectionNotFound`, `ItemNotFound`, `ItemChanged` if the item is none of `versions`, `BadAttributes`,
    `StoreCorrupt`, and for a caption `BadInput` if nothing is left that the model takes, `AssetNotFound`, `InputError`,
    `DecodeError`, `ModelMismatch`, `FingerprintMismatch`.
    """
    for _ in range(_ATTEMPTS):
        with database.read() as session:
            held = items.get(session, collections.get(session, collection_name), key)
        if not patch.sets_caption or patch.caption == held.caption:
            return _patch_attributes(database, collection_name, key, patch, versions)
        items.check_version(held, key, versions)
        try:
            return _recaption(tools(), collection_name, held, patch)
        except ItemChanged:
            continue
    raise ItemChanged(f"the item {key!r} is being changed by others all the time; try again")


def _patch_attributes(
    database: Database, collection_name: str, key: str, patch: Patch, versions: Versions | None
) -> Item:
    with database.write() as session:
        collection = collections.get(session, collection_name)
        changed = items.change_attributes(
            session, collection, key, lambda held: _attributes(key, held, patch), versions
        )
        audit.record(session, "item.patch", collection_name, key)
        return changed


def _attributes(key: str, held: Attributes, patch: Patch) -> Attributes:
    attributes = {} if patch.attributes is None else items.merged(held, patch.attributes)
    check_attributes({name: value for name, value in (patch.attributes or {}).items() if value is not None}, repr(key))
    check_size(attributes, repr(key))
    return attributes


def _recaption(tools: Tools, collection_name: str, held: Item, patch: Patch) -> Item:
    """Give the item another caption. Raises `ItemChanged` if it is no longer `held`."""
    collection = open_collection(tools, collection_name)
    values = read_originals(held, tools.assets, tools.settings.limits)
    values.pop(CAPTION, None)
    if patch.caption is not None:
        values[CAPTION] = patch.caption
    sample = sample_for(values, tools.embedder.modalities)
    if not sample.values:
        raise BadInput(f"without its caption the item {held.key!r} has nothing that the model takes; delete it instead")
    new = NewItem(
        key=held.key,
        content_hash=held.content_hash,
        vectors=vectors_of(tools, sample, list(collection.spaces)),
        caption=patch.caption,
        attributes=_attributes(held.key, held.attributes, patch),
        assets=tuple(asset for asset in held.assets.values() if asset.name != CAPTION),  # a file of the old one
        source_id=held.source_id,
    )
    with tools.database.write() as session:
        items.check_unchanged(session, collection, held.key, frozenset({held.version}))
        audit.record(session, "item.patch", collection_name, held.key)
        return items.write(session, collection, [new], takes_over=False)[0]
