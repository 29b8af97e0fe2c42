"""Access control: API keys with scopes, and the protection of a service without keys from foreign web pages.

While a service listens on loopback only and no active key exists, anybody on the machine may do everything, but a
web page of another site may not: the Host must name this machine (or a rebound domain name could reach it) and a
request that a browser marks as another site's is refused.
"""

import hashlib
import hmac
import ipaddress
import re
import secrets
import socket
from collections.abc import Sequence
from enum import StrEnum

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers

from api.errors import OriginRefused, Unauthenticated
from search.catalogue import api_keys
from search.catalogue.session import Database
from search.catalogue.tables import ApiKeyRow
from search.errors import BadInput

KEY_PREFIX = "anyseek_"


class Scope(StrEnum):
    """What a key may do; each includes those before it."""

    READ = "read"  # query, and look at collections, items and jobs
    WRITE = "write"  # put and delete items, start and cancel jobs
    ADMIN = "admin"  # make and delete collections

    def includes(self, other: "Scope") -> bool:
        order = list(Scope)
        return order.index(self) >= order.index(other)


def create_key(database: Database, name: str, scope: Scope) -> str:
    """Make a key of 256 random bits and return it; only its sha256 is kept.

    Raises `BadInput` for a name that is not 1 to 100 of A-Z a-z 0-9 . _ -, `ApiKeyExists`.
    """
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", name):
        raise BadInput(f"{name!r} cannot be the name of an API key; use 1 to 100 of the characters A-Z a-z 0-9 . _ -")
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    with database.write() as session:
        api_keys.add(session, name, _digest(key), scope.value)
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


class Guardian:
    """Decides about one request from its headers. `loopback`: the service can only be reached from this machine."""

    def __init__(self, database: Database, loopback: bool) -> None:
        self.database = database
        self.loopback = loopback

    async def admit(self, headers: Headers) -> Scope:
        """The scope of the sender. Raises `OriginRefused`, `Unauthenticated`."""
        _refuse_other_sites(headers)
        keys = await run_in_threadpool(self._active_keys)
        if not keys and self.loopback:
            _refuse_foreign_host(headers)
            return Scope.ADMIN
        return _scope_of(headers.get("authorization", ""), keys)

    def _active_keys(self) -> Sequence[ApiKeyRow]:
        with self.database.read() as session:
            rows = api_keys.active(session)
            session.expunge_all()
            return rows


def _scope_of(authorization: str, keys: Sequence[ApiKeyRow]) -> Scope:
    scheme, _, sent = authorization.partition(" ")
    if scheme.lower() != "bearer" or not sent:
        raise Unauthenticated("this service needs an API key, sent as `Authorization: Bearer KEY`")
    digest = _digest(sent.strip())
    found = [row for row in keys if hmac.compare_digest(row.digest, digest)]
    if not found:
        raise Unauthenticated("the API key is unknown or was revoked")
    return Scope(found[0].scopes)


def _refuse_other_sites(headers: Headers) -> None:
    origin = headers.get("origin")
    own = origin is None or origin.partition("://")[2] == headers.get("host")
    if not own or headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        raise OriginRefused("requests from web pages of another origin are refused")


def _refuse_foreign_host(headers: Headers) -> None:
    name = re.sub(r":\d+$", "", headers.get("host", "")).strip("[]")
    if not _names_loopback(name):
        raise OriginRefused(
            f"while no API key exists, this service answers only requests to localhost, not to {name[:100]!r}"
        )


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
