"""The rows of API keys. A key itself is never stored, only its digest; see `anyseek.api.http.security`."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from anyseek.search.catalogue import audit
from anyseek.search.catalogue.quotas import NO_QUOTA, Quota
from anyseek.search.catalogue.tables import ApiKeyRow
from anyseek.search.catalogue.values import now, utc
from anyseek.search.errors import Conflict, NotFound

# A time for every request would make every query a write.
USE_NOTED_EVERY = timedelta(hours=1)


class ApiKeyExists(Conflict):
    code = "api-key-exists"


class ApiKeyNotFound(NotFound):
    code = "api-key-not-found"


def add(
    session: Session,
    name: str,
    digest: str,
    scope: str,
    expires_at: datetime | None = None,
    quota: Quota = NO_QUOTA,
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


def use_is_due(row: ApiKeyRow) -> bool:
    """True if the last noted use of a key is at least an hour ago."""
    return row.last_used_at is None or utc(row.last_used_at) <= now() - USE_NOTED_EVERY


def note_use(session: Session, key_id: int) -> None:
    """Note that a key was used now, unless another process has just done so."""
    due = or_(ApiKeyRow.last_used_at.is_(None), ApiKeyRow.last_used_at <= now() - USE_NOTED_EVERY)
    session.execute(update(ApiKeyRow).where(ApiKeyRow.id == key_id, due).values(last_used_at=now()))


def set_quota(session: Session, name: str, quota: Quota) -> None:
    """Give a key another quota, which holds from its next write on. Raises `ApiKeyNotFound`."""
    row = _called(session, name)
    row.most_items, row.most_bytes = quota.items, quota.bytes
    audit.record(session, "key.quota", target=f"{name} {quota}")


def revoke(session: Session, name: str) -> None:
    """Revoke a key; revoking it twice is harmless. Raises `ApiKeyNotFound`."""
    row = _called(session, name)
    row.revoked_at = row.revoked_at or now()
    audit.record(session, "key.revoke", target=name)


def _called(session: Session, name: str) -> ApiKeyRow:
    row = session.scalar(select(ApiKeyRow).where(ApiKeyRow.name == name))
    if row is None:
        raise ApiKeyNotFound(f"there is no API key called {name!r}; `anyseek keys list` shows them")
    return row
