"""Puts, patches and deletes single items without a job, and rebuilds items from their originals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from sqlalchemy.orm import Session

from anyseek.indexer.attributes import merge_attributes, predict_attributes, read_metadata, reading_version
from anyseek.indexer.indexing import ensure_collection
from anyseek.indexer.paths import media_type
from anyseek.indexer.runs import IndexerContext
from anyseek.indexer.samples import (
    CAPTION,
    PICTURE,
    THUMBNAIL,
    RawFile,
    content_hash,
    decode_all,
    read_originals,
    sample_for,
    sample_hash,
    store_class_names,
)
from anyseek.indexer.sources.base import check_attributes, check_size
from anyseek.model.modalities.reading.budget import raise_if_abandoned
from anyseek.model.modalities.reading.pictures import THUMBNAIL_MEDIA_TYPE, thumbnail
from anyseek.model.modalities.registry import MODALITIES, Content
from anyseek.model.modalities.values import render_value
from anyseek.model.seam import FloatArray, Sample, Value
from anyseek.search.catalogue import api_keys, audit, collections, items
from anyseek.search.catalogue.items import Versions
from anyseek.search.catalogue.session import Database
from anyseek.search.errors import AnyseekError, BadInput, ItemChanged, ItemNotFound
from anyseek.search.telemetry.spans import time_model_pass
from anyseek.search.types import Asset, Attributes, Collection, Item, NewItem

# Contents that thumbnails are made from, in order of preference.
_THUMBNAIL_CONTENTS = (
    Content.PICTURE,
    Content.REGIONS,
    Content.DEPTH,
    Content.NORMAL,
    Content.DRAWING,
    Content.BOXES,
    Content.PALETTE,
)


def thumbnail_of(values: Mapping[str, Value]) -> bytes | None:
    """A JPEG thumbnail of an item's values by modality; None if no value can be drawn."""
    names = sorted(values, key=lambda name: (name != PICTURE, name))
    for content in _THUMBNAIL_CONTENTS:
        for name in names:
            if MODALITIES[name].content is content and (picture := render_value(name, values[name])) is not None:
                return thumbnail(np.ascontiguousarray(picture))
    return None


# No content has this hash, so the next `anyseek index` reads the item's input again.
UNKNOWN_HASH = ""


def put_item(
    context: IndexerContext,
    collection_name: str,
    key: str,
    files: Sequence[RawFile],
    caption: str | None = None,
    attributes: Attributes | None = None,
    versions: Versions | None = None,
    predicts: bool = False,
) -> Item:
    """Insert or replace (upsert) the item `key`; identical content writes nothing. The item is searchable on return.

    The picture's metadata becomes attributes, and the caption if none is given; `attributes` take precedence.
    With `predicts` an item with a picture also gets predicted attributes.
    Each file is one modality (canonical name, unique); `caption` is a parsed text. Raises
    `CollectionNotFound`, `DecodeError`, `BadInput` for an item without any modality that the model takes,
    `KeyHeldElsewhere` if the key came from a folder, `ItemChanged` if the item is none of `versions`, `ModelMismatch`,
    `FingerprintMismatch`, `QuotaExceeded` if the actor's API key may not store it.
    """
    with context.database.read() as session:
        collection_id = collections.get(session, collection_name).id
        api_keys.check_quota(session, collection_id, key, sum(len(file.data) for file in files))
    collection = ensure_collection(context, collection_name)
    check_attributes(attributes or {}, repr(key))
    if len({file.modality for file in files}) < len(files):
        raise BadInput(f"the item {key!r} has a modality twice; send each once")
    new = _build_item(context, collection, key, files, caption, attributes or {}, predicts)
    with context.database.write() as session:
        items.check_unchanged(session, collection, key, versions)
        audit.record(session, "item.put", collection_name, key)
        return items.write(session, collection, [new])[0]


def _build_item(
    context: IndexerContext,
    collection: Collection,
    key: str,
    files: Sequence[RawFile],
    caption: str | None,
    attributes: Attributes,
    predicts: bool,
) -> NewItem:
    """Embed `files` and store them as assets; `caption` and `attributes` are the user's."""
    metadata = read_metadata(files, context.settings)
    text = caption if caption or any(file.modality == CAPTION for file in files) else metadata.caption
    values = decode_all(files, text, context.settings.limits)
    sample = sample_for(values, context.embedder.modalities)
    if not sample.values:
        names = ", ".join(sorted(context.embedder.modalities))
        raise BadInput(
            f"the item {key!r} has no modality that the model {context.embedder.name} takes; it takes {names}"
        )
    thumb = thumbnail_of(values)
    is_predictable = predicts and PICTURE in values
    predictions = predict_attributes(thumb, context.embedder) if is_predictable and thumb is not None else {}
    version = reading_version(context.settings.photos, predicts, collection.model)
    return NewItem(
        key=key,
        content_hash=content_hash(files, caption, attributes, version),
        vectors=embed_sample(context, sample, list(collection.spaces)),
        caption=_caption(values),
        attributes=merge_attributes(attributes, metadata.attributes) | predictions,
        assets=(
            *(context.assets.put(file.modality, file.data, media_type(file.data)) for file in files),
            *store_class_names(files, context.assets),
            *_store_thumbnail(context, thumb),
        ),
        sample_hash=sample_hash(files, text, metadata.decoding_version),
    )


def delete_item(session: Session, collection_name: str, key: str, versions: Versions | None = None) -> None:
    """Delete the item `key`. Files that were indexed in place are not touched.

    Raises `CollectionNotFound`, `ItemNotFound`, `ItemChanged` if the item is none of `versions`.
    """
    collection = collections.get(session, collection_name)
    items.check_unchanged(session, collection, key, versions)
    if not items.delete(session, collection, [key]):
        raise ItemNotFound(f"the collection {collection_name!r} has no item {key!r}")
    audit.record(session, "item.delete", collection_name, key)


def rebuild_items(load_context: Callable[[], IndexerContext], items: Sequence[Item]) -> Mapping[str, NewItem]:
    """Rebuild items from their originals, by key; items with missing, changed or undecodable originals are skipped.

    `load_context` is called, and so the model loaded, only if there are items.
    """
    if not items:
        return {}
    context = load_context()
    rebuilt = ((item.key, _rebuild_item(context, item)) for item in items)
    return {key: new for key, new in rebuilt if new is not None}


def _rebuild_item(context: IndexerContext, item: Item) -> NewItem | None:
    """The rebuilt item; None if an original is unusable, or the model takes none of its modalities."""
    try:
        values = read_originals(item, context.assets, context.settings.limits)
    except AnyseekError:
        return None  # the caller reports the item as skipped
    sample = sample_for(values, context.embedder.modalities)
    if not sample.values:
        return None
    return NewItem(
        key=item.key,
        content_hash=UNKNOWN_HASH,
        vectors=embed_sample(context, sample, list(context.embedder.spaces)),
        caption=_caption(values),
        attributes=item.attributes,
        assets=(
            *(asset for asset in item.assets.values() if asset.name != THUMBNAIL),
            *_store_thumbnail(context, thumbnail_of(values)),
        ),
        source_id=item.source_id,
        sample_hash=item.sample_hash,
    )


def embed_sample(context: IndexerContext, sample: Sample, spaces: Sequence[str]) -> dict[str, FloatArray]:
    """The raw vectors of a sample by space, as they are stored."""
    raise_if_abandoned()
    with time_model_pass(1):
        vectors = context.embedder.embed_gallery([sample], spaces)
    return {space: rows[0] for space, rows in vectors.items()}


def _caption(values: Mapping[str, Value]) -> str | None:
    caption = values.get(CAPTION)
    return caption if isinstance(caption, str) else None


def _store_thumbnail(context: IndexerContext, thumb: bytes | None) -> list[Asset]:
    return [] if thumb is None else [context.assets.put(THUMBNAIL, thumb, THUMBNAIL_MEDIA_TYPE)]


# Attempts at replacing a caption while others change the item.
_ATTEMPTS = 3


@dataclass(frozen=True)
class Patch:
    """A change of an item. `attributes` is a merge patch (RFC 7396), or None to remove all. `caption` is a parsed text,
    or None to remove it; it is ignored without `sets_caption`.
    """

    attributes: Attributes | None = field(default_factory=dict)
    caption: str | None = None
    sets_caption: bool = False


def patch_item(
    database: Database,
    load_context: Callable[[], IndexerContext],
    collection_name: str,
    key: str,
    patch: Patch,
    versions: Versions | None = None,
) -> Item:
    """Change the item `key`. Vectors are kept, unless the caption changes: then the item is embedded again.

    The change is atomic. `load_context` is called only for a new caption. An item of a source can
    be changed, too; index runs keep the change until its files or its description change.

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
            return _replace_caption(load_context(), collection_name, held, patch)
        except ItemChanged:
            continue
    raise ItemChanged(f"the item {key!r} keeps being changed by others; try again")


def _patch_attributes(
    database: Database, collection_name: str, key: str, patch: Patch, versions: Versions | None
) -> Item:
    with database.write() as session:
        collection = collections.get(session, collection_name)
        changed = items.change_attributes(
            session, collection, key, lambda held: _patched_attributes(key, held, patch), versions
        )
        audit.record(session, "item.patch", collection_name, key)
        return changed


def _patched_attributes(key: str, held: Attributes, patch: Patch) -> Attributes:
    attributes = {} if patch.attributes is None else items.merge_patch(held, patch.attributes)
    check_attributes({name: value for name, value in (patch.attributes or {}).items() if value is not None}, repr(key))
    check_size(attributes, repr(key))
    return attributes


def _replace_caption(context: IndexerContext, collection_name: str, held: Item, patch: Patch) -> Item:
    """Replace the item's caption and embed it again. Raises `ItemChanged` if it has changed since it was read."""
    collection = ensure_collection(context, collection_name)
    values = read_originals(held, context.assets, context.settings.limits)
    values.pop(CAPTION, None)
    if patch.caption is not None:
        values[CAPTION] = patch.caption
    sample = sample_for(values, context.embedder.modalities)
    if not sample.values:
        raise BadInput(f"without its caption the item {held.key!r} has nothing that the model takes; delete it instead")
    new = NewItem(
        key=held.key,
        content_hash=held.content_hash,
        vectors=embed_sample(context, sample, list(collection.spaces)),
        caption=patch.caption,
        attributes=_patched_attributes(held.key, held.attributes, patch),
        assets=tuple(asset for asset in held.assets.values() if asset.name != CAPTION),
        source_id=held.source_id,
    )
    with context.database.write() as session:
        items.check_unchanged(session, collection, held.key, frozenset({held.version}))
        audit.record(session, "item.patch", collection_name, held.key)
        return items.write(session, collection, [new], takes_over=False)[0]
