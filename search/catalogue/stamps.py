"""Stamps of items, by which a scan tells without reading files that an item is as it was (`indexer.source_inputs`)."""

from collections.abc import Mapping, Sequence

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from anyseek.search.catalogue.tables import ItemRow
from anyseek.search.catalogue.values import chunks
from anyseek.search.types import Collection

_SET = (
    update(ItemRow)
    .where(ItemRow.collection_id == bindparam("of_collection"), ItemRow.key == bindparam("of_key"))
    .values(stamp=bindparam("new_stamp"))
)


def of_keys(session: Session, collection: Collection, source_id: int, keys: Sequence[str]) -> dict[str, str]:
    """The stamps of those of `keys` that are items of the source and have one.

    The source is compared here: asked for it, SQLite reads all items of the source to find these keys.
    """
    found: dict[str, str] = {}
    for some in chunks(keys):
        of_items = (ItemRow.collection_id == collection.id, ItemRow.key.in_(some))
        rows = session.execute(select(ItemRow.key, ItemRow.stamp, ItemRow.source_id).where(*of_items))
        found.update((key, stamp) for key, stamp, held in rows if stamp is not None and held == source_id)
    return found


def write(session: Session, collection: Collection, stamps: Mapping[str, str | None]) -> None:
    """Give items stamps, by key. No reader of the catalogue has to know, so nothing is logged."""
    rows = [{"of_collection": collection.id, "of_key": key, "new_stamp": stamp} for key, stamp in stamps.items()]
    if rows:
        session.connection().execute(_SET, rows)
