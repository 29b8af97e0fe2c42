"""One item put by hand, over the API: decoded, embedded, its files stored, written. Findable when this returns."""

from collections.abc import Mapping, Sequence

import numpy as np

from indexer.attributes import check_attributes
from indexer.class_names import stored_names
from indexer.decode import thumbnail
from indexer.indexing import Tools, open_collection
from indexer.kinds import media_type
from indexer.pictures import THUMBNAIL_MEDIA_TYPE
from indexer.samples import CAPTION, PICTURE, THUMBNAIL, RawFile, content_hash, decode_all, sample_for, sample_hash
from model.embedder import FloatArray, Value
from search.catalogue import collections, items
from search.errors import BadInput
from search.types import Asset, Attributes, Collection, Item, NewItem


def put_item(
    tools: Tools,
    collection_name: str,
    key: str,
    files: Sequence[RawFile],
    caption: str | None = None,
    attributes: Attributes | None = None,
) -> Item:
    """Insert or replace the item `key`; the same content again writes nothing.

    Each file is one modality (canonical name, each once); `caption` is a text that was parsed. Raises
    `CollectionNotFound`, `DecodeError`, `BadInput` for a sample without anything that the model takes,
    `KeyHeldElsewhere` if the key came from a folder, `ModelMismatch`, `FingerprintMismatch`.
    """
    with tools.database.read() as session:
        collections.get(session, collection_name)
    collection = open_collection(tools, collection_name)
    check_attributes(attributes or {}, repr(key))
    values = decode_all(_distinct(key, files), caption, tools.settings.limits)
    words = values.get(CAPTION)
    vectors = _vectors(tools, collection, key, values)
    new = NewItem(
        key=key,
        content_hash=content_hash(files, caption, attributes or {}),
        vectors=vectors,
        caption=words if isinstance(words, str) else None,
        attributes=attributes or {},
        assets=(
            *_stored(tools, files),
            *stored_names(files, tools.assets),
            *_thumbnail(tools, values.get(PICTURE)),
        ),
        sample_hash=sample_hash(files, caption),
    )
    with tools.database.write() as session:
        return items.write(session, collection, [new])[0]


def _vectors(tools: Tools, collection: Collection, key: str, values: Mapping[str, Value]) -> dict[str, FloatArray]:
    sample = sample_for(values, tools.embedder.modalities)
    if not sample.values:
        takes = ", ".join(sorted(tools.embedder.modalities))
        raise BadInput(f"the item {key!r} has nothing that the model {tools.embedder.name} takes; it takes {takes}")
    vectors = tools.embedder.embed_gallery([sample], list(collection.spaces))
    return {space: rows[0] for space, rows in vectors.items()}


def _distinct(key: str, files: Sequence[RawFile]) -> Sequence[RawFile]:
    if len({file.modality for file in files}) < len(files):
        raise BadInput(f"the item {key!r} has a modality twice; give each once")
    return files


def _stored(tools: Tools, files: Sequence[RawFile]) -> list[Asset]:
    return [tools.assets.put(file.modality, file.data, media_type(file.data)) for file in files]


def _thumbnail(tools: Tools, picture: Value | None) -> list[Asset]:
    if not isinstance(picture, np.ndarray):
        return []
    small = thumbnail(picture.astype(np.uint8, copy=False))
    return [tools.assets.put(THUMBNAIL, small, THUMBNAIL_MEDIA_TYPE)]
