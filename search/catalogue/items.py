"""Items in the catalogue: written with their vectors and assets in one piece, and read in pages."""

from collections.abc import Collection as AnyCollection
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from search.catalogue import collections, item_rows, log
from search.catalogue.log import NewEntry
from search.catalogue.new_items import check, stored_attributes
from search.catalogue.rows import CHUNK, chunks, to_bytes
from search.catalogue.tables import AssetRow, ItemRow, SourceRow
from search.errors import ItemNotFound, KeyHeldElsewhere
from search.types import Collection, Item, NewItem, Space

# (item id, space id) -> fingerprint and newest vector
HeldVectors = Mapping[tuple[int, int], tuple[str, bytes]]


@dataclass(frozen=True)
class _Change:
    """An item that differs from what is held: its state afterwards and the spaces whose vector is new."""

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


def write(session: Session, collection: Collection, new_items: Sequence[NewItem]) -> list[Item]:
    """Insert or replace items by key; return them in the order given.

    Log entries (one per space whose vector changed, else one for the payload) are numbered under the collection's
    row lock, which is held to commit. An item of which nothing changed writes nothing. All or none is written.

    Raises `KeyHeldElsewhere` if a key belongs to another source (an item put over the API has source None),
    `BadInput` for a key given twice or a vector that does not fit its space, `FingerprintMismatch` if the
    collection's spaces are no longer those in `collection`, `CollectionNotFound` if it was deleted.
    """
    last_seq = collections.lock(session, collection)
    check(session, collection, new_items)
    held = by_keys(session, collection, [new.key for new in new_items])
    _refuse_held_elsewhere(collection, new_items, held)
    vectors = _held_vectors(session, collection, held.values())
    fresh_ids = iter(item_rows.insert_new(session, collection.id, [new for new in new_items if new.key not in held]))
    changes = []
    for new in new_items:
        before = held.get(new.key) or _blank(next(fresh_ids), new)
        changes.append(_change(collection, before, new, vectors))
    happened = [change for change in changes if change is not None]
    item_rows.store(session, collection.id, [change.item for change in happened])
    log.append(session, collection.id, last_seq, [entry for change in happened for entry in change.entries()])
    return [change.item if change else held[new.key] for change, new in zip(changes, new_items, strict=True)]


def delete(session: Session, collection: Collection, keys: Sequence[str]) -> int:
    """Remove the items that have these keys and return how many there were; unknown keys are ignored."""
    last_seq = collections.lock(session, collection)
    held = by_keys(session, collection, keys).values()
    item_rows.remove(session, [item.id for item in held])
    entries = [NewEntry(log.DELETE, item.id, item.revision + 1) for item in held]
    log.append(session, collection.id, last_seq, entries)
    return len(entries)


def get(session: Session, collection: Collection, key: str) -> Item:
    """The item called `key`. Raises `ItemNotFound`."""
    item = by_keys(session, collection, [key]).get(key)
    if item is None:
        raise ItemNotFound(f"the collection {collection.name!r} has no item {key!r}")
    return item


def by_keys(session: Session, collection: Collection, keys: Sequence[str]) -> dict[str, Item]:
    """Those of `keys` that the collection has."""
    found: dict[str, Item] = {}
    for some in chunks(list(dict.fromkeys(keys))):
        where = (ItemRow.collection_id == collection.id, ItemRow.key.in_(some))
        found.update((item.key, item) for item in item_rows.read(session, *where))
    return found


def by_ids(session: Session, ids: Sequence[int]) -> dict[int, Item]:
    """Those of `ids` that exist."""
    found: dict[int, Item] = {}
    for some in chunks(list(dict.fromkeys(ids))):
        found.update((item.id, item) for item in item_rows.read_by_ids(session, some))
    return found


def ids_after(session: Session, collection_id: int, item_id: int, limit: int) -> list[int]:
    """The next `limit` ids of the collection's items above `item_id`, ascending."""
    query = select(ItemRow.id).where(*above(collection_id, item_id)).order_by(ItemRow.id).limit(limit)
    return list(session.scalars(query))


def above(collection_id: int, item_id: int) -> tuple[ColumnElement[bool], ...]:
    """Conditions for the items of a collection above `item_id`, to be ordered by id.

    The sum keeps SQLite from taking the index of keys, by which it would sort all of the collection for each page.
    """
    return ItemRow.collection_id + 0 == collection_id, ItemRow.id > item_id


def ids_of_keys(session: Session, collection_id: int, keys: AnyCollection[str]) -> dict[str, int]:
    """The ids of those of `keys` that the collection has."""
    found: dict[str, int] = {}
    for some in chunks(list(keys)):
        query = select(ItemRow.key, ItemRow.id).where(ItemRow.collection_id == collection_id, ItemRow.key.in_(some))
        found.update(session.execute(query).all())
    return found


def list_page(session: Session, collection: Collection, after_key: str | None, limit: int) -> list[Item]:
    """The next `limit` items by key; `after_key` is the last key of the page before, None for the first page."""
    after = () if after_key is None else (ItemRow.key > after_key,)
    keys = session.scalars(
        select(ItemRow.key).where(ItemRow.collection_id == collection.id, *after).order_by(ItemRow.key).limit(limit)
    ).all()
    found = by_keys(session, collection, keys)
    return [found[key] for key in keys]


def hashes(session: Session, collection: Collection, keys: Sequence[str]) -> dict[str, tuple[str, int | None]]:
    """The content hash and the source of those of `keys` that the collection has."""
    found: dict[str, tuple[str, int | None]] = {}
    for some in chunks(list(dict.fromkeys(keys))):
        rows = session.execute(
            select(ItemRow.key, ItemRow.content_hash, ItemRow.source_id).where(
                ItemRow.collection_id == collection.id, ItemRow.key.in_(some)
            )
        )
        found.update((row.key, (row.content_hash, row.source_id)) for row in rows)
    return found


def keys_of_source(session: Session, source_id: int, page: int = CHUNK) -> Iterator[Sequence[str]]:
    """All keys of a source in pages by item id; deleting the items of a page while iterating is fine."""
    after = 0
    while True:
        of_source = (ItemRow.source_id == source_id, ItemRow.id > after)
        rows = session.execute(select(ItemRow.id, ItemRow.key).where(*of_source).order_by(ItemRow.id).limit(page)).all()
        if not rows:
            return
        yield [row.key for row in rows]
        after = rows[-1].id


def count_outside(session: Session, collection: Collection, root: Path) -> int:
    """How many items did not come from the folder `root`."""
    inside = select(SourceRow.id).where(SourceRow.collection_id == collection.id, SourceRow.root == str(root))
    elsewhere = or_(ItemRow.source_id.is_(None), ItemRow.source_id.not_in(inside))
    query = select(func.count()).select_from(ItemRow).where(ItemRow.collection_id == collection.id, elsewhere)
    return session.scalar(query) or 0


def referenced_locations(session: Session, locations: AnyCollection[str]) -> set[str]:
    """Those of `locations` in the asset store that some item refers to."""
    found: set[str] = set()
    for some in chunks(list(locations)):
        query = select(AssetRow.location).where(AssetRow.stored, AssetRow.location.in_(some))
        found.update(session.scalars(query))
    return found


def _refuse_held_elsewhere(collection: Collection, new_items: Sequence[NewItem], held: Mapping[str, Item]) -> None:
    for new in new_items:
        if new.key in held and held[new.key].source_id != new.source_id:
            raise KeyHeldElsewhere(
                f"the key {new.key!r} in collection {collection.name!r} belongs to an item from elsewhere "
                "(another folder or the API); delete that item first or choose another key"
            )


def _held_vectors(session: Session, collection: Collection, held: Iterable[Item]) -> HeldVectors:
    ids = [item.id for item in held]
    return {
        (item_id, space.id): (fingerprint, data)
        for space in collection.spaces.values()
        for page in log.latest_vectors(session, collection.id, space.id, ids)
        for item_id, fingerprint, data in zip(page.ids, page.fingerprints, page.data, strict=True)
    }


def _change(collection: Collection, before: Item, new: NewItem, vectors: HeldVectors) -> _Change | None:
    """What writing `new` over `before` changes; None if nothing."""
    spaces = tuple(
        space
        for space in collection.spaces.values()
        if vectors.get((before.id, space.id)) != (space.fingerprint, to_bytes(new.vectors[space.name]))
    )
    same = Item(
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
    if same == before and not spaces:
        return None
    return _Change(new, replace(same, revision=before.revision + 1), spaces)


def _blank(item_id: int, new: NewItem) -> Item:
    """A new item before its first change: revision 0 and no assets."""
    return Item(item_id, new.key, new.source_id, "", None, {}, 0)
