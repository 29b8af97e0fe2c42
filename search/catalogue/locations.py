"""Locations of the pictures of items, by the items' keys or by their content."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from anyseek.search.catalogue.tables import AssetRow, ItemRow
from anyseek.search.catalogue.values import chunks
from anyseek.search.types import Collection

_PICTURE = "rgb"
_LAST_CHARACTER = "\U0010ffff"


@dataclass(frozen=True)
class Picture:
    """An item and its picture; `location` is None if the item has none that stays where the user keeps it."""

    key: str
    source_id: int | None
    sample_hash: str | None
    location: str | None
    sha256: str
    size_bytes: int

    def is_free_for(self, path: Path | None) -> bool:
        """True if the item may be given to the file at `path`, which has the same content.

        The item's own file must be gone, or be that file and of a source that was forgotten.
        """
        if self.location is None:
            return False
        is_forgotten = self.source_id is None and self.location == str(path)
        return is_forgotten or not os.path.lexists(self.location)


def of_keys(session: Session, collection: Collection, keys: Sequence[str]) -> dict[str, Picture]:
    """The pictures of the items with these `keys`, by key."""
    found: dict[str, Picture] = {}
    for some in chunks(keys):
        rows = session.execute(_QUERY.where(ItemRow.collection_id == collection.id, ItemRow.key.in_(some)))
        found.update((row.key, _picture(row)) for row in rows)
    return found


def of_contents(session: Session, collection: Collection, hashes: Sequence[str]) -> dict[str, list[Picture]]:
    """The items that have these contents (`Item.sample_hash`), by content."""
    found: dict[str, list[Picture]] = {}
    for some in chunks(sorted(set(hashes))):
        where = (ItemRow.collection_id == collection.id, ItemRow.sample_hash.in_(some))
        for row in session.execute(_QUERY.where(*where).order_by(ItemRow.id)):
            found.setdefault(row.sample_hash, []).append(_picture(row))
    return found


def any_begins_with(session: Session, collection: Collection, prefix: str) -> bool:
    """True if an item's key begins with `prefix`."""
    between = (ItemRow.key >= prefix, ItemRow.key < prefix + _LAST_CHARACTER)
    query = select(ItemRow.id).where(ItemRow.collection_id == collection.id, *between).limit(1)
    return session.scalar(query) is not None


_QUERY = select(
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
