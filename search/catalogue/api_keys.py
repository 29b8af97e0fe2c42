"""The rows of API keys. A key itself is never stored, only its digest; `api.security` makes and checks them."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from search.catalogue.tables import ApiKeyRow, now
from search.errors import Conflict, NotFound


class ApiKeyExists(Conflict):
    code = "api-key-exists"


class ApiKeyNotFound(NotFound):
    code = "api-key-not-found"


def add(session: Session, name: str, digest: str, scope: str) -> None:
    """Store a key's digest. Raises `ApiKeyExists`; a revoked key keeps its name."""
    if session.scalar(select(ApiKeyRow.id).where(ApiKeyRow.name == name)):
        raise ApiKeyExists(f"there is already an API key called {name!r}; choose another name")
    session.add(ApiKeyRow(name=name, digest=digest, scopes=scope))
    session.flush()


def list_all(session: Session) -> Sequence[ApiKeyRow]:
    """Every key by name, revoked ones too."""
    return session.scalars(select(ApiKeyRow).order_by(ApiKeyRow.name)).all()


def active(session: Session) -> Sequence[ApiKeyRow]:
    """The keys that have not been revoked."""
    return session.scalars(select(ApiKeyRow).where(ApiKeyRow.revoked_at.is_(None))).all()


def revoke(session: Session, name: str) -> None:
    """Revoke a key; revoking it twice is harmless. Raises `ApiKeyNotFound`."""
    row = session.scalar(select(ApiKeyRow).where(ApiKeyRow.name == name))
    if row is None:
        raise ApiKeyNotFound(f"there is no API key called {name!r}; `anyseek keys list` shows them")
    row.revoked_at = row.revoked_at or now()
