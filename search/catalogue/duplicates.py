"""Items with the same content: found by the hash of what a model sees of them (`sample_hash`)."""

import os
from collections import defaultdict
from collections.abc import Collection as AnyCollection
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Row, bindparam, select
from sqlalchemy.orm import Session

from anyseek.model.seam import FloatArray
from anyseek.search.catalogue import log
from anyseek.search.catalogue.items import vector_fits
from anyseek.search.catalogue.tables import AssetRow, ItemRow
from anyseek.search.catalogue.values import from_bytes, rows_in
from anyseek.search.types import Asset, Collection, NewItem

# Built once, because it runs for every new input.
_ASSET_OF_CONTENT = (
    select(AssetRow.name, AssetRow.location, AssetRow.stored, AssetRow.media_type, AssetRow.sha256, AssetRow.size_bytes)
    .join(ItemRow, ItemRow.id == AssetRow.item_id)
    .where(ItemRow.collection_id == bindparam("of_collection"), ItemRow.sample_hash == bindparam("content"))
    .where(AssetRow.name == bindparam("called"), AssetRow.stored)
    .limit(1)
)


def vectors_by_sample(
    session: Session, collection: Collection, hashes: AnyCollection[str]
) -> dict[str, dict[str, FloatArray]]:
    """The raw vectors of these sample hashes, by hash and space; only hashes with a vector in every space."""
    of_collection = select(ItemRow.sample_hash, ItemRow.id).where(ItemRow.collection_id == collection.id)
    rows = rows_in(session, of_collection, ItemRow.sample_hash, sorted(set(hashes)))
    holders = {row.sample_hash: row.id for row in rows}
    if not holders:
        return {}
    samples = {item_id: sample for sample, item_id in holders.items()}
    by_hash: dict[str, dict[str, FloatArray]] = {}
    for space in collection.spaces.values():
        for page in log.latest_vectors(session, collection.id, space.id, sorted(samples)):
            for item_id, fingerprint, data in page.by_id():
                vector = from_bytes(data) if fingerprint == space.fingerprint else None
                if vector is not None and vector_fits(space, vector):
                    by_hash.setdefault(samples[item_id], {})[space.name] = vector
    return {sample: vectors for sample, vectors in by_hash.items() if vectors.keys() == collection.spaces.keys()}


def picture_hashes(session: Session, collection_id: int) -> dict[int, str]:
    """The sha256 of the picture of every item of a collection that has one, by the item's id."""
    of_pictures = (ItemRow.collection_id == collection_id, AssetRow.name == "rgb")
    rows = session.execute(
        select(AssetRow.item_id, AssetRow.sha256).join(ItemRow, ItemRow.id == AssetRow.item_id).where(*of_pictures)
    )
    return {row.item_id: row.sha256 for row in rows}


def find_asset(session: Session, collection: Collection, sample_hash: str, name: str) -> Asset | None:
    """A stored file called `name` of any item with this content, or None."""
    parameters = {"of_collection": collection.id, "content": sample_hash, "called": name}
    row = session.connection().execute(_ASSET_OF_CONTENT, parameters).first()
    return None if row is None else Asset(*row)


def keys_by_new_duplicate(session: Session, collection: Collection, new_items: Sequence[NewItem]) -> dict[str, str]:
    """Map each key whose new content another key already has to that key.

    Keys that already have their new content are left out. Exact while the collection's lock is held.
    """
    holders: dict[str | None, set[str]] = defaultdict(set)
    of_collection = select(ItemRow.sample_hash, ItemRow.key).where(ItemRow.collection_id == collection.id)
    hashes = sorted({new.sample_hash for new in new_items if new.sample_hash})
    for row in rows_in(session, of_collection, ItemRow.sample_hash, hashes):
        holders[row.sample_hash].add(row.key)
    duplicate_keys: dict[str, str] = {}
    for new in new_items:
        keys = holders[new.sample_hash] if new.sample_hash else {new.key}
        if keys and new.key not in keys:
            duplicate_keys[new.key] = min(keys)
        else:
            keys.add(new.key)
    return duplicate_keys


_PICTURE = "rgb"
_LAST_CHARACTER = "\U0010ffff"


@dataclass(frozen=True)
class Picture:
    """An item and its picture; `location` is the path of the user's own file, or None."""

    key: str
    source_id: int | None
    sample_hash: str | None
    location: str | None
    sha256: str
    size_bytes: int

    def is_free_for(self, path: Path | None) -> bool:
        """True if the item may be reassigned to the file at `path`, which has the same content.

        The item's own file must be missing, or be this file in a forgotten source.
        """
        if self.location is None:
            return False
        is_forgotten = self.source_id is None and self.location == str(path)
        return is_forgotten or not os.path.lexists(self.location)


def pictures_of_keys(session: Session, collection: Collection, keys: Sequence[str]) -> dict[str, Picture]:
    """The pictures of the items with these `keys`, by key."""
    of_collection = _PICTURE_OF_ITEM.where(ItemRow.collection_id == collection.id)
    return {row.key: _picture(row) for row in rows_in(session, of_collection, ItemRow.key, keys)}


def pictures_of_contents(session: Session, collection: Collection, hashes: Sequence[str]) -> dict[str, list[Picture]]:
    """The pictures of the items with these sample hashes, by hash."""
    by_hash: dict[str, list[Picture]] = {}
    of_collection = _PICTURE_OF_ITEM.where(ItemRow.collection_id == collection.id).order_by(ItemRow.id)
    for row in rows_in(session, of_collection, ItemRow.sample_hash, sorted(set(hashes))):
        by_hash.setdefault(row.sample_hash, []).append(_picture(row))
    return by_hash


def has_key_with_prefix(session: Session, collection: Collection, prefix: str) -> bool:
    """True if an item's key begins with `prefix`."""
    between = (ItemRow.key >= prefix, ItemRow.key < prefix + _LAST_CHARACTER)
    query = select(ItemRow.id).where(ItemRow.collection_id == collection.id, *between).limit(1)
    return session.scalar(query) is not None


_PICTURE_OF_ITEM = select(
    ItemRow.key,
    ItemRow.source_id,
    ItemRow.sample_hash,
    AssetRow.location,
    AssetRow.stored,
    AssetRow.sha256,
    AssetRow.size_bytes,
).outerjoin(AssetRow, (AssetRow.item_id == ItemRow.id) & (AssetRow.name == _PICTURE))


def _picture(row: "Row[str, int | None, str | None, str, bool, str, int]") -> Picture:
    location = None if row.stored is None or row.stored else row.location
    return Picture(row.key, row.source_id, row.sample_hash, location, row.sha256 or "", row.size_bytes or 0)
