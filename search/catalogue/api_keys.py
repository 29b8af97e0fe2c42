"""The rows of API keys. A key itself is never stored, only its digest; see `anyseek.api.http.security`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from anyseek.search.actor import current_actor
from anyseek.search.catalogue import audit
from anyseek.search.catalogue.tables import ApiKeyRow, ItemRow
from anyseek.search.catalogue.values import now, utc
from anyseek.search.errors import Conflict, NotFound, QuotaExceeded

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


def quota_of(session: Session, key: str) -> Quota:
    """The quota of a key; none for one that is not there."""
    found = session.execute(_QUOTA.where(ApiKeyRow.name == key)).first()
    return NO_QUOTA if found is None else Quota(*found)


def usage(session: Session, key: str) -> Usage:
    """The usage of a key's quota, as the transaction sees it."""
    counted = select(func.count(), func.coalesce(func.sum(ItemRow.stored_bytes), 0))
    items, size = session.execute(counted.where(ItemRow.charged_to == key)).one()
    return Usage(items, int(size))


def check_quota(session: Session, collection_id: int, item_key: str, size: int) -> None:
    """Refuse the caller's item before anything is stored of its files, which have `size` bytes.

    Raises `QuotaExceeded`.
    """
    key = current_actor().key
    if key is None or (quota := quota_of(session, key)) == NO_QUOTA:
        return
    held = (ItemRow.collection_id == collection_id, ItemRow.key == item_key, ItemRow.charged_to == key)
    replaced = session.scalar(select(ItemRow.stored_bytes).where(*held))
    used = usage(session, key)
    others = used if replaced is None else Usage(used.items - 1, used.bytes - replaced)
    wanted = Usage(others.items + 1, others.bytes + size)
    if wanted.items > used.items or wanted.bytes > used.bytes:  # a key that has too much may still put less
        _raise_if_exceeded(quota, wanted, key)


def charge(session: Session, written: "Sequence[Item]", takes_over: bool = True) -> None:
    """Count items that were written for the caller's key. Raises `QuotaExceeded` if it now has more than it may.

    Without `takes_over` they stay whose they were. It locks the key's row, so call it last: a key's writers wait here
    for each other, and hold up nobody else.
    """
    key = current_actor().key if takes_over else None
    changed = [
        {"id": item.id, "stored_bytes": stored_bytes(item)} | ({} if key is None else {"charged_to": key})
        for item in written
        if key is not None or item.revision > 1
    ]
    if not changed:
        return
    session.execute(update(ItemRow), changed)
    if key is not None and quota_of(session, key) != NO_QUOTA:
        locked = session.execute(_QUOTA.where(ApiKeyRow.name == key).with_for_update()).one()
        _raise_if_exceeded(Quota(*locked), usage(session, key), key)


def stored_bytes(item: "Item") -> int:
    """The bytes of an item's files that Anyseek stores."""
    return sum(asset.size_bytes for asset in item.assets.values() if asset.stored)


_QUOTA = select(ApiKeyRow.most_items, ApiKeyRow.most_bytes)


def _raise_if_exceeded(quota: Quota, wanted: Usage, key: str) -> None:
    if quota.items is not None and wanted.items > quota.items:
        what = f"{quota.items:,} items, and this would make {wanted.items:,}"
    elif quota.bytes is not None and wanted.bytes > quota.bytes:
        what = f"{quota.bytes / MB:,.1f} MB of files, and this would make {wanted.bytes / MB:,.1f} MB"
    else:
        return
    raise QuotaExceeded(f"the API key {key!r} may store {what}; delete items, or have its quota raised")


# A time for every request would make every query a write.
USE_UPDATE_INTERVAL = timedelta(hours=1)


class ApiKeyExists(Conflict):
    code = "api-key-exists"


class ApiKeyNotFound(NotFound):
    code = "api-key-not-found"


def add(
    session: Session, name: str, digest: str, scope: str, expires_at: datetime | None = None, quota: Quota = NO_QUOTA
) -> None:
    """Store a key's digest. Raises `ApiKeyExists`; a revoked or expired key keeps its name."""
    if session.scalar(select(ApiKeyRow.id).where(ApiKeyRow.name == name)):
        raise ApiKeyExists(f"there is already an API key called {name!r}; choose another name")
    limits = {"most_items": quota.items, "most_bytes": quota.bytes}
    session.add(ApiKeyRow(name=name, digest=digest, scopes=scope, expires_at=expires_at, **limits))
    session.flush()
    audit.record(session, "key.create", target=f"{name} {scope}")


def list_all(session: Session) -> Sequence[ApiKeyRow]:
    """Every key by name, revoked ones too."""
    return session.scalars(select(ApiKeyRow).order_by(ApiKeyRow.name)).all()


def active(session: Session) -> Sequence[ApiKeyRow]:
    """The keys that have neither been revoked nor expired."""
    return [row for row in list_all(session) if is_active(row)]


def is_active(row: ApiKeyRow) -> bool:
    return row.revoked_at is None and (row.expires_at is None or utc(row.expires_at) > now())


def is_use_update_due(row: ApiKeyRow) -> bool:
    """True if the last noted use of a key is at least an hour ago."""
    return row.last_used_at is None or utc(row.last_used_at) <= now() - USE_UPDATE_INTERVAL


def record_use(session: Session, key_id: int) -> None:
    """Note that a key was used now, unless another process has just done so."""
    due = or_(ApiKeyRow.last_used_at.is_(None), ApiKeyRow.last_used_at <= now() - USE_UPDATE_INTERVAL)
    session.execute(update(ApiKeyRow).where(ApiKeyRow.id == key_id, due).values(last_used_at=now()))


def set_quota(session: Session, name: str, quota: Quota) -> None:
    """Give a key another quota, which holds from its next write on. Raises `ApiKeyNotFound`."""
    row = _get_row(session, name)
    row.most_items, row.most_bytes = quota.items, quota.bytes
    audit.record(session, "key.quota", target=f"{name} {quota}")


def revoke(session: Session, name: str) -> None:
    """Revoke a key; revoking it twice is harmless. Raises `ApiKeyNotFound`."""
    row = _get_row(session, name)
    row.revoked_at = row.revoked_at or now()
    audit.record(session, "key.revoke", target=name)


def _get_row(session: Session, name: str) -> ApiKeyRow:
    row = session.scalar(select(ApiKeyRow).where(ApiKeyRow.name == name))
    if row is None:
        raise ApiKeyNotFound(f"there is no API key called {name!r}; `anyseek keys list` shows them")
    return row
