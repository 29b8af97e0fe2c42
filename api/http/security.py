"""Access control: API keys with scopes, and the protection of a service without keys from foreign web pages.

While a service listens on loopback only and no key has ever existed, anybody on the machine may do everything, but a
web page of another site may not: the Host must name this machine (or a rebound domain name could reach it) and a
request that a browser marks as another site's is refused.
"""

import hashlib
import hmac
import ipaddress
import logging
import re
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import lru_cache

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers

from anyseek.api.errors import OriginRefused, Unauthenticated
from anyseek.search.catalogue import api_keys
from anyseek.search.catalogue.api_keys import NO_QUOTA, Quota
from anyseek.search.catalogue.session import Database, Version, patience
from anyseek.search.catalogue.tables import ApiKeyRow
from anyseek.search.catalogue.values import now
from anyseek.search.errors import BadInput

logger = logging.getLogger(__name__)

KEY_PREFIX = "anyseek_"
_NOTING_SECONDS = 0.05


class Scope(StrEnum):
    """What a key may do; each includes those before it."""

    METRICS = "metrics"  # read `/metrics`
    READ = "read"  # query, and look at collections, items and jobs
    WRITE = "write"  # put and delete items, start and cancel jobs
    ADMIN = "admin"  # make and delete collections

    def includes(self, other: "Scope") -> bool:
        order = list(Scope)
        return order.index(self) >= order.index(other)


def create_key(
    database: Database, name: str, scope: Scope, lasts: timedelta | None = None, quota: Quota = NO_QUOTA
) -> str:
    """Make a key of 256 random bits and return it; only its sha256 is kept. It expires when it has lasted for `lasts`.

    Raises `BadInput` for a name that is not 1 to 100 of A-Z a-z 0-9 . _ -, `ApiKeyExists`.
    """
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", name):
        raise BadInput(f"{name!r} cannot be the name of an API key; use 1 to 100 of the characters A-Z a-z 0-9 . _ -")
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    with database.write() as session:
        api_keys.add(session, name, _digest(key), scope.value, None if lasts is None else now() + lasts, quota)
    return key


def require_key(database: Database, host: str) -> None:
    """Raises `BadInput` if no active key exists, since others can reach a service that listens on `host`."""
    with database.read() as session:
        if not api_keys.active(session):
            raise BadInput(
                f"listening on {host} would let other machines in without an API key; create a key first with "
                "`anyseek keys create NAME --scope read`"
            )


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True)
class Admitted:
    """A sender who may ask: what for, and the name of the key; None while none has ever existed."""

    scope: Scope
    key: str | None


class Guardian:
    """Decides about one request from its headers. `loopback`: the service can only be reached from this machine."""

    def __init__(self, database: Database, loopback: bool) -> None:
        self.database = database
        self.loopback = loopback
        self._held: tuple[Version, Sequence[ApiKeyRow]] | None = None

    async def admit(self, headers: Headers) -> Admitted:
        """Who the sender is; a thread looks where the database has to be asked. Raises `OriginRefused`,
        `Unauthenticated`.
        """
        _refuse_other_sites(headers)
        held = self._held
        if held is not None and held[0] == self.database.glance():
            key = self._sent(headers, held[1])
            if key is None or not api_keys.use_is_due(key):
                return _admitted(key)
        return await run_in_threadpool(self.look_up, headers)

    def look_up(self, headers: Headers) -> Admitted:
        """As `admit`, for a caller who has a thread."""
        _refuse_other_sites(headers)
        key = self._sent(headers, self._keys())
        if key is not None and api_keys.use_is_due(key):
            self._note_use(key)
        return _admitted(key)

    def _sent(self, headers: Headers, keys: Sequence[ApiKeyRow]) -> ApiKeyRow | None:
        """The key that was sent; None where none is needed. Raises `OriginRefused`, `Unauthenticated`."""
        if not keys and self.loopback:
            _refuse_foreign_host(headers)
            return None
        return _key_of(headers.get("authorization", ""), [key for key in keys if api_keys.is_active(key)])

    def _keys(self) -> Sequence[ApiKeyRow]:
        """Every key that ever existed: once there was one, the service never opens again to those without.

        They are held for as long as nothing is committed by any process, and read for each request where the database
        does not tell: a key that was revoked opens nothing from then on.
        """
        version = self.database.version()  # before the keys: what is committed in between is seen the next time
        held = self._held
        if version is not None and held is not None and held[0] == version:
            return held[1]
        with self.database.read() as session:
            rows = api_keys.list_all(session)
            session.expunge_all()
        if version is not None:
            self._held = version, rows
        return rows

    def _note_use(self, key: ApiKeyRow) -> None:
        try:
            with patience(_NOTING_SECONDS), self.database.write() as session:
                api_keys.note_use(session, key.id)
        except SQLAlchemyError as error:  # neither a full disk nor another writer may keep readers out
            logger.warning("the use of a key is not noted", extra={"fields": {"key": key.name, "reason": str(error)}})


def _admitted(key: ApiKeyRow | None) -> Admitted:
    """Everybody who asks where no key is needed may do everything."""
    return Admitted(Scope.ADMIN, None) if key is None else Admitted(Scope(key.scopes), key.name)


def _key_of(authorization: str, keys: Sequence[ApiKeyRow]) -> ApiKeyRow:
    """The key that was sent. Raises `Unauthenticated`."""
    scheme, _, sent = authorization.partition(" ")
    if scheme.lower() != "bearer" or not sent:
        raise Unauthenticated("this service needs an API key, sent as `Authorization: Bearer KEY`")
    digest = _digest(sent.strip())
    found = [row for row in keys if hmac.compare_digest(row.digest, digest)]
    if not found:
        raise Unauthenticated("the API key is unknown, was revoked, or has expired")
    return found[0]


def _refuse_other_sites(headers: Headers) -> None:
    origin = headers.get("origin")
    own = origin is None or origin.partition("://")[2] == headers.get("host")
    if not own or headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        raise OriginRefused("requests from web pages of another origin are refused")


def _refuse_foreign_host(headers: Headers) -> None:
    name = re.sub(r":\d+$", "", headers.get("host", "")).strip("[]")
    if not _names_loopback(name):
        raise OriginRefused(
            f"while no API key has existed, this service answers only requests to localhost, not to {name[:100]!r}"
        )


@lru_cache(maxsize=64)  # reading an address takes longer than all else that is looked at here
def _names_loopback(name: str) -> bool:
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a service on `host`. Raises `BadInput` for an unknown name."""
    try:
        found = socket.getaddrinfo(host, None)
    except OSError as error:
        raise BadInput(f"{host!r} is not an address of this machine") from error
    return all(ipaddress.ip_address(str(entry[4][0]).split("%")[0]).is_loopback for entry in found)
