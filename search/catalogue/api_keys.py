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

if TYPE_CHECKING:  # imports NumPy, which a listing of keys does not need
    from anyseek.search.types import Item


MB = 1024 * 1024


@dataclass(frozen=True)
class Quota:
    """The limits on a key's items and bytes; None: unlimited."""

    items: int | None = None
    bytes: int | None = None

    def __str__(self) -> str:
        items = "any number of items" if self.items is None else f"{self.items:,} items"
        return f"{items}, {'any number of' if self.bytes is None else f'{self.bytes / MB:,.1f}'} MB"


NO_QUOTA = Quota()


@dataclass(frozen=True)
class Usage:
    """The numbers of items and bytes charged to a key."""

    items: int
    bytes: int


def quota_of(session: Session, key: str) -> Quota:
    """The quota of a key; `NO_QUOTA` for an unknown key."""
    row = session.execute(_QUOTA.where(ApiKeyRow.name == key)).first()
    return NO_QUOTA if row is None else Quota(*row)


def usage(session: Session, key: str) -> Usage:
    """The usage of a key's quota, as the transaction sees it."""
    query = select(func.count(), func.coalesce(func.sum(ItemRow.stored_bytes), 0))
    items, size = session.execute(query.where(ItemRow.charged_to == key)).one()
    return Usage(items, int(size))


def check_quota(session: Session, collection_id: int, item_key: str, size: int) -> None:
    """Raises `QuotaExceeded` if the actor may not store an item whose files have `size` bytes."""
    key = current_actor().key
    if key is None or (quota := quota_of(session, key)) == NO_QUOTA:
        return
    charged = (ItemRow.collection_id == collection_id, ItemRow.key == item_key, ItemRow.charged_to == key)
    replaced = session.scalar(select(ItemRow.stored_bytes).where(*charged))
    current_usage = usage(session, key)
    remaining = current_usage if replaced is None else Usage(current_usage.items - 1, current_usage.bytes - replaced)
    new_usage = Usage(remaining.items + 1, remaining.bytes + size)
    # A key above its quota may still shrink its usage.
    if new_usage.items > current_usage.items or new_usage.bytes > current_usage.bytes:
        _raise_if_exceeded(quota, new_usage, key)


def charge(session: Session, written: "Sequence[Item]", takes_over: bool = True) -> None:
    """Charge written items to the actor's key. Raises `QuotaExceeded` if the key now exceeds its quota.

    Without `takes_over` replaced items stay charged to their present key. Call it last, because it locks the key's row:
    writers of one key wait here for each other, and delay nobody else.
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


def _raise_if_exceeded(quota: Quota, new_usage: Usage, key: str) -> None:
    if quota.items is not None and new_usage.items > quota.items:
        limit = f"{quota.items:,} items, and this would make {new_usage.items:,}"
    elif quota.bytes is not None and new_usage.bytes > quota.bytes:
        limit = f"{quota.bytes / MB:,.1f} MB of files, and this would make {new_usage.bytes / MB:,.1f} MB"
    else:
        return
    raise QuotaExceeded(f"the API key {key!r} may store {limit}; delete items, or have its quota raised")


# Recording every use would make every query a write.
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
    """All keys by name, including revoked ones."""
    return session.scalars(select(ApiKeyRow).order_by(ApiKeyRow.name)).all()


def active(session: Session) -> Sequence[ApiKeyRow]:
    """The keys that have neither been revoked nor expired."""
    return [row for row in list_all(session) if is_active(row)]


def is_active(row: ApiKeyRow) -> bool:
    return row.revoked_at is None and (row.expires_at is None or utc(row.expires_at) > now())


def is_use_update_due(row: ApiKeyRow) -> bool:
    """True if the last recorded use of a key is at least `USE_UPDATE_INTERVAL` ago."""
    return row.last_used_at is None or utc(row.last_used_at) <= now() - USE_UPDATE_INTERVAL


def record_use(session: Session, key_id: int) -> None:
    """Record that a key was used now, unless another process has just done so."""
    due = or_(ApiKeyRow.last_used_at.is_(None), ApiKeyRow.last_used_at <= now() - USE_UPDATE_INTERVAL)
    session.execute(update(ApiKeyRow).where(ApiKeyRow.id == key_id, due).values(last_used_at=now()))


def set_quota(session: Session, name: str, quota: Quota) -> None:
    """Change a key's quota, effective from its next write. Raises `ApiKeyNotFound`."""
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
