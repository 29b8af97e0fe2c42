"""Rows of items, their assets and facets, many in a statement: what `search.catalogue.items` is made of."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, bindparam, insert, select, update
from sqlalchemy import delete as delete_rows
from sqlalchemy.orm import Session

from search.catalogue import facets
from search.catalogue.new_items import stored_attributes
from search.catalogue.rows import chunks
from search.catalogue.tables import AssetRow, ItemRow, now
from search.types import Asset, Item, NewItem

_ITEM = (
    ItemRow.id,
    ItemRow.key,
    ItemRow.source_id,
    ItemRow.content_hash,
    ItemRow.caption,
    ItemRow.attributes,
    ItemRow.revision,
    ItemRow.sample_hash,
)
_ASSET = (
    AssetRow.name,
    AssetRow.location,
    AssetRow.stored,
    AssetRow.media_type,
    AssetRow.sha256,
    AssetRow.size_bytes,
)


# Made once: every query reads its hits, and making these statements takes several times what carrying them out takes.
_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
_ITEMS_BY_ID = select(*_ITEM).where(ItemRow.id.in_(_IDS))
_ASSETS_BY_ID = select(AssetRow.item_id, *_ASSET).where(AssetRow.item_id.in_(_IDS))


def read(session: Session, *where: ColumnElement[bool]) -> list[Item]:
    """The items for which `where` holds, each with its assets: two statements however many there are."""
    of_items = select(AssetRow.item_id, *_ASSET).join(ItemRow, ItemRow.id == AssetRow.item_id).where(*where)
    return _with_assets(session.execute(select(*_ITEM).where(*where)), session.execute(of_items))


def read_by_ids(session: Session, ids: Sequence[int]) -> list[Item]:
    """As `read`, those of a few hundred `ids` that exist."""
    connection, wanted = session.connection(), {"ids": ids}
    return _with_assets(connection.execute(_ITEMS_BY_ID, wanted), connection.execute(_ASSETS_BY_ID, wanted))


def insert_new(session: Session, collection_id: int, fresh: Sequence[NewItem]) -> list[int]:
    """Insert rows without assets and return their ids in the same order; no two may have one key.

    Past the ORM, which sends SQLite a statement for each row, and elsewhere one for each set of columns that are given.
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
        }
        for new in fresh
    ]
    inserted = session.connection().execute(insert(ItemRow).returning(ItemRow.key, ItemRow.id), rows)
    ids = dict(inserted.all())
    return [ids[new.key] for new in fresh]


def store(session: Session, collection_id: int, changed: Sequence[Item]) -> None:
    """Bring rows, assets and facets to the state of these items; those of revision 1 were inserted just now."""
    older = [item for item in changed if item.revision > 1]
    if older:
        session.execute(update(ItemRow), [_values(item) for item in older])
        for some in chunks([item.id for item in older]):
            session.execute(delete_rows(AssetRow).where(AssetRow.item_id.in_(some)))
    assets = [{"item_id": item.id, **vars(asset)} for item in changed for asset in item.assets.values()]
    if assets:
        session.execute(insert(AssetRow), assets)
    facets.remove(session, [item.id for item in older])
    facets.insert_of(session, collection_id, {item.id: item.attributes for item in changed})


def remove(session: Session, ids: Sequence[int]) -> None:
    facets.remove(session, ids)
    for some in chunks(ids):
        session.execute(delete_rows(AssetRow).where(AssetRow.item_id.in_(some)))
        session.execute(delete_rows(ItemRow).where(ItemRow.id.in_(some)))


def _with_assets(items: Iterable[Sequence[Any]], assets: Iterable[Sequence[Any]]) -> list[Item]:
    """From rows of `_ITEM`, and of an item's id and `_ASSET`."""
    held: dict[int, dict[str, Asset]] = {}
    for row in assets:
        held.setdefault(row[0], {})[row[1]] = Asset(*row[1:])
    return [Item(*[*values, held.get(values[0], {}), sample_hash]) for *values, sample_hash in items]


def _values(item: Item) -> dict[str, object]:
    return {
        "id": item.id,
        "content_hash": item.content_hash,
        "caption": item.caption,
        "attributes": dict(item.attributes),
        "revision": item.revision,
        "sample_hash": item.sample_hash,
        "updated_at": now(),
    }
