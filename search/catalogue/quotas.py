"""Quotas of API keys: the most items, and the most bytes of files that Anyseek stores for them.

An item counts for the key that put it last, or that started the job which did. A change of its attributes or caption
leaves it to that key, or to nobody, whoever makes it: the files stay the same, and who corrects a word must not have to
store another's pictures. Files that several items share count for each. What commands on the machine do changes nothing
in that. Usage is counted when a key with a quota writes, and in
the same transaction, so that it is right after deletions and with many writers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from anyseek.search.actor import caller
from anyseek.search.catalogue.tables import ApiKeyRow, ItemRow
from anyseek.search.errors import QuotaExceeded

if TYPE_CHECKING:  # with vectors, which a listing of keys does without
    from anyseek.search.types import Item

MB = 1024 * 1024


@dataclass(frozen=True)
class Quota:
    """The most of each; None: any number."""

    items: int | None = None
    bytes: int | None = None

    def __str__(self) -> str:
        items = "any number of items" if self.items is None else f"{self.items:,} items"
        return f"{items}, {'any number of' if self.bytes is None else f'{self.bytes / MB:,.1f}'} MB"


NO_QUOTA = Quota()


@dataclass(frozen=True)
class Usage:
    """The numbers of items and bytes that count for a key."""

    items: int
    bytes: int


def of_key(session: Session, key: str) -> Quota:
    """The quota of a key; none for one that is not there."""
    found = session.execute(_QUOTA.where(ApiKeyRow.name == key)).first()
    return NO_QUOTA if found is None else Quota(*found)


def usage(session: Session, key: str) -> Usage:
    """The usage of a key's quota, as the transaction sees it."""
    counted = select(func.count(), func.coalesce(func.sum(ItemRow.stored_bytes), 0))
    items, size = session.execute(counted.where(ItemRow.charged_to == key)).one()
    return Usage(items, int(size))


def check_room(session: Session, collection_id: int, item_key: str, size: int) -> None:
    """Refuse the caller's item before anything is stored of its files, which have `size` bytes.

    Raises `QuotaExceeded`.
    """
    key = caller().key
    if key is None or (quota := of_key(session, key)) == NO_QUOTA:
        return
    held = (ItemRow.collection_id == collection_id, ItemRow.key == item_key, ItemRow.charged_to == key)
    replaced = session.scalar(select(ItemRow.stored_bytes).where(*held))
    used = usage(session, key)
    others = used if replaced is None else Usage(used.items - 1, used.bytes - replaced)
    wanted = Usage(others.items + 1, others.bytes + size)
    if wanted.items > used.items or wanted.bytes > used.bytes:  # a key that has too much may still put less
        _refuse_beyond(quota, wanted, key)


def charge(session: Session, written: "Sequence[Item]", takes_over: bool = True) -> None:
    """Count items that were written for the caller's key. Raises `QuotaExceeded` if it now has more than it may.

    Without `takes_over` they stay whose they were. It locks the key's row, so call it last: a key's writers wait here
    for each other, and hold up nobody else.
    """
    key = caller().key if takes_over else None
    changed = [
        {"id": item.id, "stored_bytes": stored_bytes(item)} | ({} if key is None else {"charged_to": key})
        for item in written
        if key is not None or item.revision > 1
    ]
    if not changed:
        return
    session.execute(update(ItemRow), changed)
    if key is not None and of_key(session, key) != NO_QUOTA:
        locked = session.execute(_QUOTA.where(ApiKeyRow.name == key).with_for_update()).one()
        _refuse_beyond(Quota(*locked), usage(session, key), key)


def stored_bytes(item: "Item") -> int:
    """The bytes of an item's files that Anyseek stores."""
    return sum(asset.size_bytes for asset in item.assets.values() if asset.stored)


_QUOTA = select(ApiKeyRow.most_items, ApiKeyRow.most_bytes)


def _refuse_beyond(quota: Quota, wanted: Usage, key: str) -> None:
    if quota.items is not None and wanted.items > quota.items:
        what = f"{quota.items:,} items, and this would make {wanted.items:,}"
    elif quota.bytes is not None and wanted.bytes > quota.bytes:
        what = f"{quota.bytes / MB:,.1f} MB of files, and this would make {wanted.bytes / MB:,.1f} MB"
    else:
        return
    raise QuotaExceeded(f"the API key {key!r} may store {what}; delete items, or have its quota raised")
