"""Items in the catalogue, written together with their vectors and assets, and read in pages."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Collection as AnyCollection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, func, insert, or_, select
from sqlalchemy import delete as delete_rows
from sqlalchemy.orm import Session

from anyseek.model.seam import FloatArray
from anyseek.search.catalogue import api_keys, collections, item_rows, log, taught
from anyseek.search.catalogue.collections import SpaceState
from anyseek.search.catalogue.derived_tables import FACETS, WORDS
from anyseek.search.catalogue.log import NewEntry
from anyseek.search.catalogue.session import connection_of
from anyseek.search.catalogue.tables import AssetRow, ItemRow, SourceRow, SpaceRow
from anyseek.search.catalogue.values import CHUNK, chunks, rows_in, to_bytes
from anyseek.search.errors import (
    BadInput,
    FingerprintMismatch,
    ItemChanged,
    ItemNotFound,
    KeyHeldElsewhere,
    StoreCorrupt,
)
from anyseek.search.filters.tree import is_storable
from anyseek.search.types import Attributes, Collection, Item, NewItem, Space

KEY_CHARACTERS = 1_000
KEY_BYTES = 2_600  # PostgreSQL cannot index longer texts
KEYS = f"1 to {KEY_CHARACTERS:,} characters of Unicode text without NUL, at most {KEY_BYTES:,} bytes in UTF-8"
UNIT_TOLERANCE = 1e-3

# (item id, space id) -> fingerprint and newest vector
StoredVectors = Mapping[tuple[int, int], tuple[str, bytes]]


@dataclass(frozen=True)
class _Change:
    """A change to an item: its new state, and the spaces whose vector is new."""

    new: NewItem
    item: Item
    spaces: tuple[Space, ...]

    def entries(self) -> list[NewEntry]:
        item = self.item
        if not self.spaces:
            return [NewEntry(log.PAYLOAD, item.id, item.revision)]
        return [
            NewEntry(log.UPSERT, item.id, item.revision, space.id, space.fingerprint, self.new.vectors[space.name])
            for space in self.spaces
        ]


def write(
    session: Session, collection: Collection, new_items: Sequence[NewItem], takes_over: bool = True
) -> list[Item]:
    """Insert or replace items by key; return them in the order given.

    Replaced items are charged to the actor's API key; without `takes_over` they stay charged to their present key.

    Log entries (one per space whose vector changed, else one for the payload) are numbered under the collection's
    row lock, which is held until the commit. An unchanged item writes nothing. All items are written or none.

    Raises `KeyHeldElsewhere` if a key belongs to another source (an item put over the API has source None),
    `BadInput` for a key given twice or a vector that does not fit its space, `FingerprintMismatch` if the
    collection's spaces are no longer those in `collection`, `CollectionNotFound` if it was deleted, `QuotaExceeded` if
    the actor's API key would exceed its quota.
    """
    last_seq = collections.lock(session, collection)
    _check_new_items(session, collection, new_items)
    new_items = taught.with_values(session, collection, new_items)
    existing = by_keys(session, collection, [new.key for new in new_items])
    for new in new_items:
        if new.key in existing and existing[new.key].source_id != new.source_id:
            raise KeyHeldElsewhere(
                f"the key {new.key!r} in collection {collection.name!r} belongs to an item of another source "
                "(another folder or the API); delete that item first or choose another key"
            )
    vectors = _stored_vectors(session, collection, existing.values())
    fresh_ids = iter(_insert_new(session, collection.id, [new for new in new_items if new.key not in existing]))
    changes = []
    for new in new_items:
        before = existing.get(new.key) or Item(next(fresh_ids), new.key, new.source_id, "", None, {}, 0)
        changes.append(_change(collection, before, new, vectors))
    changed = [change for change in changes if change is not None]
    store(session, collection.id, [change.item for change in changed])
    item_rows.write_stamps(session, collection, {new.key: new.stamp for new in new_items if new.key in existing})
    log.append(session, collection.id, last_seq, [entry for change in changed for entry in change.entries()])
    api_keys.charge(session, [change.item for change in changed], takes_over)
    return [change.item if change else existing[new.key] for change, new in zip(changes, new_items, strict=True)]


def delete(session: Session, collection: Collection, keys: Sequence[str]) -> int:
    """Delete the items with these keys and return their number; unknown keys are ignored."""
    last_seq = collections.lock(session, collection)
    existing = by_keys(session, collection, keys).values()
    ids = [item.id for item in existing]
    for table in (FACETS, WORDS):
        table.delete(session, ids)
    for batch in chunks(ids):
        session.execute(delete_rows(AssetRow).where(AssetRow.item_id.in_(batch)))
        session.execute(delete_rows(ItemRow).where(ItemRow.id.in_(batch)))
    entries = [NewEntry(log.DELETE, item.id, item.revision + 1) for item in existing]
    log.append(session, collection.id, last_seq, entries)
    return len(entries)


def get(session: Session, collection: Collection, key: str) -> Item:
    """The item called `key`. Raises `ItemNotFound`, and `StoreCorrupt` if its rows are damaged."""
    item = by_keys(session, collection, [key]).get(key)
    if item is None:
        raise ItemNotFound(f"the collection {collection.name!r} has no item {key!r}")
    refuse_damaged(item)
    return item


def refuse_damaged(item: Item) -> None:
    """Raises `StoreCorrupt` for a damaged item."""
    if item.damaged:
        raise StoreCorrupt(
            f"the item {item.key!r} is damaged in the database; index its folder or put it again, or delete it"
        )


def by_keys(session: Session, collection: Collection, keys: Sequence[str]) -> dict[str, Item]:
    """The collection's items with these `keys`, by key."""
    items: dict[str, Item] = {}
    for batch in chunks([key for key in dict.fromkeys(keys) if is_valid_key(key)]):
        where = (ItemRow.collection_id == collection.id, ItemRow.key.in_(batch))
        items.update((item.key, item) for item in item_rows.read(session, *where))
    return items


def by_ids(reader: Session | Connection, ids: Sequence[int]) -> dict[int, Item]:
    """The existing items with these `ids`, by id."""
    connection, items = connection_of(reader), dict[int, Item]()
    for batch in chunks(list(dict.fromkeys(ids))):
        items.update((item.id, item) for item in item_rows.read_by_ids(connection, batch))
    return items


def ids_after(session: Session, collection_id: int, item_id: int, limit: int) -> list[int]:
    """The next `limit` ids of the collection's items above `item_id`, ascending."""
    above = (item_rows.in_collection(collection_id), ItemRow.id > item_id)
    return list(session.scalars(select(ItemRow.id).where(*above).order_by(ItemRow.id).limit(limit)))


def ids_of_keys(session: Session, collection_id: int, keys: AnyCollection[str]) -> dict[str, int]:
    """The ids, by key, of the collection's items with these `keys`."""
    of_collection = select(ItemRow.key, ItemRow.id).where(ItemRow.collection_id == collection_id)
    rows = rows_in(session, of_collection, ItemRow.key, [key for key in keys if is_valid_key(key)])
    return {row.key: row.id for row in rows}


def content_hashes(session: Session, collection: Collection, keys: Sequence[str]) -> dict[str, tuple[str, int | None]]:
    """Content hash and source id, by key, of the collection's items with these `keys`."""
    columns = (ItemRow.key, ItemRow.content_hash, ItemRow.source_id)
    of_collection = select(*columns).where(ItemRow.collection_id == collection.id)
    rows = rows_in(session, of_collection, ItemRow.key, list(dict.fromkeys(keys)))
    return {row.key: (row.content_hash, row.source_id) for row in rows}


def keys_of_source(session: Session, source_id: int, page: int = CHUNK) -> Iterator[Sequence[str]]:
    """All keys of a source in pages by item id; the items of a page may be deleted while iterating."""
    after = 0
    while True:
        of_source = (ItemRow.source_id == source_id, ItemRow.id > after)
        rows = session.execute(select(ItemRow.id, ItemRow.key).where(*of_source).order_by(ItemRow.id).limit(page)).all()
        if not rows:
            return
        yield [row.key for row in rows]
        after = rows[-1].id


def count_outside(session: Session, collection: Collection, root: Path) -> int:
    """The number of items whose source is not the folder `root`."""
    inside = select(SourceRow.id).where(SourceRow.collection_id == collection.id, SourceRow.root == str(root))
    elsewhere = or_(ItemRow.source_id.is_(None), ItemRow.source_id.not_in(inside))
    query = select(func.count()).select_from(ItemRow).where(ItemRow.collection_id == collection.id, elsewhere)
    return session.scalar(query) or 0


def referenced_locations(session: Session, locations: AnyCollection[str]) -> set[str]:
    """The `locations` in the asset store that items refer to."""
    stored = select(AssetRow.location).where(AssetRow.stored)
    return {row.location for row in rows_in(session, stored, AssetRow.location, list(locations))}


def _stored_vectors(session: Session, collection: Collection, items: Iterable[Item]) -> StoredVectors:
    ids = [item.id for item in items]
    return {
        (item_id, space.id): (fingerprint, data)
        for space in collection.spaces.values()
        for page in log.latest_vectors(session, collection.id, space.id, ids)
        for item_id, fingerprint, data in page.by_id()
    }


def _change(collection: Collection, before: Item, new: NewItem, vectors: StoredVectors) -> _Change | None:
    """The change from writing `new` over `before`; None if nothing changes."""
    spaces = tuple(
        space
        for space in collection.spaces.values()
        if vectors.get((before.id, space.id)) != (space.fingerprint, to_bytes(new.vectors[space.name]))
    )
    candidate = Item(
        before.id,
        before.key,
        before.source_id,
        new.content_hash,
        new.caption,
        stored_attributes(new.key, new.attributes),
        before.revision,
        {asset.name: asset for asset in new.assets},
        new.sample_hash,
    )
    if candidate == before and not spaces:
        return None
    return _Change(new, replace(candidate, revision=before.revision + 1), spaces)


def _check_new_items(session: Session, collection: Collection, new_items: Sequence[NewItem]) -> None:
    """Raises `BadInput` or `FingerprintMismatch`; see `write`."""
    serving = (SpaceRow.collection_id == collection.id, SpaceRow.state == SpaceState.SERVING)
    rows = session.execute(select(SpaceRow.id, SpaceRow.fingerprint).where(*serving))
    if {row.id: row.fingerprint for row in rows} != {s.id: s.fingerprint for s in collection.spaces.values()}:
        raise FingerprintMismatch(
            f"the spaces of collection {collection.name!r} have changed since these vectors were made; "
            "embed the items again"
        )
    seen: set[str] = set()
    for new in new_items:
        check_item(collection, new)
        if new.key in seen:
            raise BadInput(f"the key {new.key!r} appears twice among the items written at once; give each key once")
        seen.add(new.key)


def check_item(collection: Collection, new: NewItem) -> None:
    """Raises `BadInput` if an item cannot be stored: its key, caption, attributes or vectors."""
    if not is_valid_key(new.key):
        raise BadInput(f"{new.key[:80]!r} cannot be a key; use {KEYS}")
    if new.caption is not None and not is_storable(new.caption):
        raise BadInput(f"the caption of {new.key!r} has a NUL or an unpaired surrogate; captions are Unicode text")
    stored_attributes(new.key, new.attributes)
    if new.vectors.keys() != collection.spaces.keys():
        raise BadInput(
            f"the item {new.key!r} has vectors for {sorted(new.vectors)}, but the collection {collection.name!r} has "
            f"the spaces {sorted(collection.spaces)}; give one for each"
        )
    for name, vector in new.vectors.items():
        space = collection.spaces[name]
        if not vector_fits(space, vector):
            raise BadInput(
                f"the vector of {new.key!r} in space {name!r} has shape {vector.shape} and length "
                f"{np.linalg.norm(vector):.3g}; it takes shape ({space.dimension},) and length 1"
            )


def is_valid_key(text: str) -> bool:
    """True if a text can be the key of an item (see `KEYS`)."""
    return 1 <= len(text) <= KEY_CHARACTERS and is_storable(text) and len(text.encode()) <= KEY_BYTES


def stored_attributes(key: str, attributes: Attributes) -> dict[str, Any]:
    """The attributes as the catalogue will return them. Raises `BadInput` if they are not JSON."""
    try:
        # As UTF-8, to refuse unpaired surrogates, which could be stored but never sent.
        stored: dict[str, Any] = json.loads(json.dumps(dict(attributes), allow_nan=False, ensure_ascii=False).encode())
    except (TypeError, ValueError) as error:
        raise BadInput(f"the attributes of {key!r} are not JSON: {error}") from error
    return stored


def vector_fits(space: Space, vector: FloatArray) -> bool:
    """True if the vector has the space's dimension and length 1 (which excludes NaN)."""
    return vector.shape == (space.dimension,) and abs(float(np.linalg.norm(vector)) - 1) <= UNIT_TOLERANCE


def _insert_new(session: Session, collection_id: int, fresh: Sequence[NewItem]) -> list[int]:
    """Insert rows without assets and return their ids in the same order; keys must be distinct.

    Bypasses the ORM, which sends SQLite one statement per row, and other databases one per set of given columns.
    """
    if not fresh:
        return []
    rows = [
        {
            "collection_id": collection_id,
            "key": new.key,
            "source_id": new.source_id,
            "content_hash": new.content_hash,
            "caption": new.caption,
            "attributes": stored_attributes(new.key, new.attributes),
            "sample_hash": new.sample_hash,
            "stamp": new.stamp,
        }
        for new in fresh
    ]
    inserted = session.connection().execute(insert(ItemRow).returning(ItemRow.key, ItemRow.id), rows)
    ids = dict(inserted.all())
    return [ids[new.key] for new in fresh]


def store(session: Session, collection_id: int, changed: Sequence[Item]) -> None:
    """Write rows, assets, facets and words of these items; items of revision 1 have just been inserted."""
    item_rows.store(session, collection_id, changed)
    for table in (FACETS, WORDS):
        table.delete(session, [item.id for item in changed if item.revision > 1])
        table.insert(session, collection_id, changed)


Versions = frozenset[str]
ANY_VERSION = "*"


def merge_patch(attributes: Attributes, patch: Attributes) -> dict[str, Any]:
    """JSON merge patch: null removes a member, an object is merged, anything else replaces."""
    result = dict(attributes)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping):
            before = result.get(name)
            result[name] = merge_patch(before if isinstance(before, Mapping) else {}, value)
        else:
            result[name] = value
    return result


def change_attributes(
    session: Session,
    collection: Collection,
    key: str,
    change: Callable[[Attributes], Attributes],
    versions: Versions | None = None,
) -> Item:
    """Replace the attributes of the item `key` by `change(attributes)`; nothing is written if they are equal.

    Raises `ItemNotFound`, `ItemChanged` if its version is not in `versions`, `StoreCorrupt` for a damaged item,
    `BadInput` for attributes that are not JSON, `CollectionNotFound`, and what `change` raises.
    """
    last_seq = collections.lock(session, collection)
    item = get(session, collection, key)
    check_version(item, key, versions)
    changed_attributes = taught.keep_values(session, collection, item.attributes, change(item.attributes))
    attributes = stored_attributes(key, changed_attributes)
    if attributes == item.attributes:
        return item
    changed = replace(item, attributes=attributes, revision=item.revision + 1)
    store(session, collection.id, [changed])
    log.append(session, collection.id, last_seq, [NewEntry(log.PAYLOAD, changed.id, changed.revision)])
    return changed


def check_unchanged(session: Session, collection: Collection, key: str, versions: Versions | None) -> None:
    """Lock the item `key` until the commit. Raises `ItemChanged` if its version is not in `versions`."""
    if versions is None:
        return
    collections.lock(session, collection)
    check_version(by_keys(session, collection, [key]).get(key), key, versions)


def check_version(item: Item | None, key: str, versions: Versions | None) -> None:
    """Raises `ItemChanged` if the item, None if missing, has no version in `versions`; None allows all."""
    if versions is None or (item is not None and (ANY_VERSION in versions or item.version in versions)):
        return
    state = "there is no such item" if item is None else f"it is now {item.version}"
    raise ItemChanged(f"the item {key!r} has changed since you read it: {state}; read it again")
