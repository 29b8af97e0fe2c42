"""Reads and writes the rows of items, with the checksum that covers an item's row and its assets.

An item whose rows do not match their checksum is read as `damaged`. Answers leave it out and report it; writes and
deletions treat it like any other.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Text, bindparam, cast, insert, select, update
from sqlalchemy import delete as delete_rows
from sqlalchemy.orm import Session

from anyseek.search.catalogue import checksums, log
from anyseek.search.catalogue.tables import AssetRow, ItemRow
from anyseek.search.catalogue.values import CHUNK, Lookup, chunks, now, rows_in
from anyseek.search.types import Asset, Attributes, Collection, Item

_ITEM = (
    ItemRow.id,
    ItemRow.key,
    ItemRow.source_id,
    ItemRow.content_hash,
    ItemRow.caption,
    cast(ItemRow.attributes, Text).label("attributes"),  # as stored, for the checksum
    ItemRow.revision,
    ItemRow.sample_hash,
    ItemRow.collection_id,
    ItemRow.checksum,
)
_ASSET = (AssetRow.name, AssetRow.location, AssetRow.stored, AssetRow.media_type, AssetRow.sha256, AssetRow.size_bytes)
# One statement for an item and its assets, for consistency; compiled once, because building or compiling it takes
# several times as long as running it.
_JOINED = select(*_ITEM, *_ASSET).outerjoin(AssetRow, AssetRow.item_id == ItemRow.id)
_BY_IDS = Lookup(_JOINED, ItemRow.__table__.c.id)
_ATTRIBUTES = Lookup(select(ItemRow.id, cast(ItemRow.attributes, Text)), ItemRow.__table__.c.id)
_MOVE_ASSET = (
    update(AssetRow)
    .where(AssetRow.item_id == bindparam("of_item"), AssetRow.name == bindparam("called"))
    .values(location=bindparam("to"))
)

ItemUpdate = Callable[[Item], Item]


def read(session: Session, *where: ColumnElement[bool]) -> list[Item]:
    """The items for which `where` holds, with their assets, read in one statement."""
    return _items(session.execute(_JOINED.where(*where)))


def read_by_ids(connection: Connection, ids: Sequence[int]) -> list[Item]:
    """The items with up to a few hundred `ids`, read in one statement; missing ones are left out."""
    return _items(_BY_IDS.rows(connection, ids))


def attributes(connection: Connection, ids: Sequence[int]) -> Iterator[tuple[int, Attributes | None]]:
    """The ids of items with their attributes, without checking checksums; None if they are unreadable."""
    for item_id, written in _ATTRIBUTES.rows(connection, ids):
        try:
            yield item_id, json.loads(written)
        except (TypeError, ValueError):
            yield item_id, None


def store(session: Session, collection_id: int, changed: Sequence[Item]) -> None:
    """Write the rows and assets of these items; items of revision 1 have just been inserted without assets."""
    if not changed:
        return
    session.execute(update(ItemRow), [_values(collection_id, item) for item in changed])
    for batch in chunks([item.id for item in changed if item.revision > 1]):
        session.execute(delete_rows(AssetRow).where(AssetRow.item_id.in_(batch)))
    assets = [{"item_id": item.id, **vars(asset)} for item in changed for asset in item.assets.values()]
    if assets:
        session.execute(insert(AssetRow), assets)


def store_attributes(session: Session, collection_id: int, changed: Sequence[Item]) -> None:
    """Write the attributes of existing items, whose assets are the stored ones."""
    rows = [
        {"id": item.id, "attributes": dict(item.attributes), "checksum": _checksum(collection_id, item)}
        for item in changed
    ]
    if rows:
        session.execute(update(ItemRow), rows)


def clear_content_hash(session: Session, collection_id: int, keys: Sequence[str]) -> None:
    """Clear content hashes and stamps, so that the next run over a source embeds these items again."""
    for batch in chunks(keys):
        where = (ItemRow.collection_id == collection_id, ItemRow.key.in_(batch))
        session.execute(update(ItemRow).where(*where).values(stamp=None))
        page = read(session, *where)
        _update_rows(session, collection_id, page, lambda item: replace(item, content_hash=""))
        _log_changes(session, collection_id, page)


def in_collection(collection_id: int) -> ColumnElement[bool]:
    """The condition for the items of a collection, for queries ordered by id.

    The sum keeps SQLite from using the index of keys, with which it would sort the whole collection for each page.
    """
    return ItemRow.collection_id + 0 == collection_id


def iter_pages(session: Session, *where: ColumnElement[bool]) -> Iterator[list[Item]]:
    """The items for which `where` holds, in pages by id; the items of a page may be changed while iterating."""
    after = 0
    while True:
        page = select(ItemRow.id).where(ItemRow.id > after, *where).order_by(ItemRow.id).limit(CHUNK)
        ids = session.scalars(page).all()
        if not ids:
            return
        yield read_by_ids(session.connection(), ids)
        after = ids[-1]


def update_items(session: Session, collection_id: int, change_one: ItemUpdate, *where: ColumnElement[bool]) -> None:
    """Change the source or the file locations of the items for which `where` holds."""
    for page in iter_pages(session, *where):
        _update_rows(session, collection_id, page, change_one)
        _log_changes(session, collection_id, page)


def fill_checksums(session: Session, collection_id: int) -> None:
    """Compute the checksums of items written by older versions, which have none."""
    without = (in_collection(collection_id), ItemRow.checksum.is_(None))
    for page in iter_pages(session, *without):
        _update_rows(session, collection_id, page, lambda item: item)


def _update_rows(session: Session, collection_id: int, items: Iterable[Item], change_one: ItemUpdate) -> None:
    """Update rows; a damaged item keeps its mismatching checksum, so it stays damaged."""
    rows: dict[bool, list[dict[str, object]]] = {True: [], False: []}
    moved = []
    for item in items:
        new = change_one(item)
        row: dict[str, object] = {"id": item.id, "content_hash": new.content_hash, "source_id": new.source_id}
        rows[item.damaged].append(row if item.damaged else row | {"checksum": _checksum(collection_id, new)})
        for name, asset in new.assets.items():
            if asset != item.assets[name]:
                moved.append({"of_item": item.id, "called": name, "to": asset.location})
    for values in filter(None, rows.values()):
        session.execute(update(ItemRow), values)
    if moved:
        session.connection().execute(_MOVE_ASSET, moved)


def _log_changes(session: Session, collection_id: int, changed: Sequence[Item]) -> None:
    """Log changed items, which invalidates the caches of other processes."""
    entries = [log.NewEntry(log.PAYLOAD, item.id, item.revision) for item in changed]
    log.append(session, collection_id, log.lock(session, collection_id), entries)


def _items(joined: Iterable[Sequence[Any]]) -> list[Item]:
    """The items from rows of `_JOINED`."""
    rows: dict[int, Sequence[Any]] = {}
    assets: dict[int, dict[str, Asset]] = {}
    for row in joined:
        item_id, (name, location, stored, *rest) = row[0], row[len(_ITEM) :]
        rows[item_id] = row[: len(_ITEM)]
        if name is not None:  # SQLite's driver returns booleans as numbers, and any value of a damaged row
            by_name = assets.setdefault(item_id, {})
            by_name[name] = Asset(name, location, bool(stored) if stored in (0, 1) else stored, *rest)
    return [_item(row, assets.get(item_id, {})) for item_id, row in rows.items()]


def _item(row: Sequence[Any], assets: Mapping[str, Asset]) -> Item:
    *before, attributes, revision, sample_hash, collection_id, checksum = row
    values = (*before, attributes, revision, sample_hash)
    sound = checksum is None or checksum == _checksum_of(collection_id, *values, assets)
    try:
        parsed = json.loads(attributes)
    except (TypeError, ValueError):
        parsed, sound = {}, False
    return Item(*[*before, parsed, revision, assets, sample_hash, not sound])


def _checksum(collection_id: int, item: Item) -> int:
    before = (item.id, item.key, item.source_id, item.content_hash, item.caption, json.dumps(dict(item.attributes)))
    return _checksum_of(collection_id, *before, item.revision, item.sample_hash, item.assets)


def _checksum_of(*values: Any) -> int:
    *of_item, assets = values
    of_assets = [tuple(vars(asset).values()) for asset in assets.values()]
    return checksums.of_values(*of_item, sorted(of_assets, key=str) if len(of_assets) > 1 else of_assets)


def _values(collection_id: int, item: Item) -> dict[str, object]:
    return {
        "id": item.id,
        "content_hash": item.content_hash,
        "caption": item.caption,
        "attributes": dict(item.attributes),
        "revision": item.revision,
        "sample_hash": item.sample_hash,
        "updated_at": now(),
        "checksum": _checksum(collection_id, item),
    }


_SET_STAMP = (
    update(ItemRow)
    .where(ItemRow.collection_id == bindparam("of_collection"), ItemRow.key == bindparam("of_key"))
    .values(stamp=bindparam("new_stamp"))
)


def stamps_of_keys(session: Session, collection: Collection, source_id: int, keys: Sequence[str]) -> dict[str, str]:
    """The stamps, by key, of those `keys` that are items of the source and have one.

    The source is compared here, because SQLite would read all items of the source to find these keys.
    """
    columns = (ItemRow.key, ItemRow.stamp, ItemRow.source_id)
    rows = rows_in(session, select(*columns).where(ItemRow.collection_id == collection.id), ItemRow.key, keys)
    return {row.key: row.stamp for row in rows if row.stamp is not None and row.source_id == source_id}


def write_stamps(session: Session, collection: Collection, stamps: Mapping[str, str | None]) -> None:
    """Set the stamps of items, by key. Not logged, because no reader depends on stamps."""
    rows = [{"of_collection": collection.id, "of_key": key, "new_stamp": stamp} for key, stamp in stamps.items()]
    if rows:
        session.connection().execute(_SET_STAMP, rows)
