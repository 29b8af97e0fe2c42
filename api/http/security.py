"""Access control: API keys with scopes, and the protection of a service without keys from foreign web pages.

While a service listens on loopback only and no key has ever existed, anybody on the machine may do everything, but a
web page of another site may not: the Host must name this machine (or a rebound domain name could reach it), and a
request that a browser marks as cross-site is refused. So is a request that a proxy on this machine forwards.

Rate limits count per process, and do not apply while the service listens on loopback only.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import logging
import re
import secrets
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request

from anyseek.api.errors import Busy, OriginRefused, ServiceError, TooManyRequests, Unauthenticated
from anyseek.api.http.senders import address_of, check_local_sender, is_loopback_name, proxy_header, rate_limit_key
from anyseek.search.catalogue import api_keys
from anyseek.search.catalogue.api_keys import NO_QUOTA, Quota
from anyseek.search.catalogue.failures import error_message
from anyseek.search.catalogue.session import Database, Version, patience
from anyseek.search.catalogue.tables import ApiKeyRow
from anyseek.search.catalogue.values import now
from anyseek.search.errors import BadInput
from anyseek.search.settings import Networks, Serving

logger = logging.getLogger(__name__)

KEY_PREFIX = "anyseek_"
_USE_TIMEOUT_SECONDS = 0.05
# How long readiness, metrics and admission to them wait for a lock.
DATABASE_SECONDS = 2
_MAX_BUCKETS = 10_000  # beyond it the bucket that was used longest ago is dropped
_BURST = 4  # a quarter of a minute's requests may come at once
_WRONG_KEYS_PER_MINUTE = 60
_LOOKUP_TIMEOUT_SECONDS = 1.0
_THREADS = 2
_MAX_LOOKUPS = 64  # running and waiting for a thread
# How long a sender who has been authenticated stays so while keys cannot be looked up.
_GRANT_SECONDS = 600.0
_MAX_GRANTS = 32


class Scope(StrEnum):
    """Scopes of a key; each includes the ones above it."""

    METRICS = "metrics"  # read `/metrics`
    READ = "read"  # query, and look at collections, items and jobs
    WRITE = "write"  # put and delete items, start and cancel jobs
    ADMIN = "admin"  # make and delete collections

    def includes(self, other: "Scope") -> bool:
        order = list(Scope)
        return order.index(self) >= order.index(other)


def create_key(
    database: Database, name: str, scope: Scope, lifetime: timedelta | None = None, quota: Quota = NO_QUOTA
) -> str:
    """Create a key of 256 random bits and return it; only its sha256 is stored. It expires after `lifetime`.

    Raises `BadInput` for a name that is not 1 to 100 of A-Z a-z 0-9 . _ -, `ApiKeyExists`.
    """
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", name):
        raise BadInput(f"{name!r} cannot be the name of an API key; use 1 to 100 of the characters A-Z a-z 0-9 . _ -")
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    with database.write() as session:
        api_keys.add(session, name, _digest(key), scope.value, None if lifetime is None else now() + lifetime, quota)
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
class Grant:
    """The scope of an authenticated sender, and the name of the key: None until the first API key is created."""

    scope: Scope
    key: str | None


class Authenticator:
    """Authenticates a request by its headers and address.

    `loopback`: the service can only be reached from this machine. `proxies`: the trusted ones.
    """

    def __init__(self, database: Database, loopback: bool, proxies: Networks) -> None:
        self.database = database
        self.loopback = loopback
        self.proxies = proxies
        self._cached: tuple[Version, Sequence[ApiKeyRow]] | None = None

    async def authenticate(self, request: HTTPConnection) -> Grant:
        """The grant of the sender; keys that are not cached are looked up in a thread. Raises `OriginRefused`,
        `ProxyRefused`, `Unauthenticated`.
        """
        _refuse_other_sites(request.headers)
        cached = self._cached
        if cached is not None and cached[0] == self.database.poll_version():
            key = self._match_key(request, cached[1])
            if key is None or not api_keys.is_use_update_due(key):
                return _grant_of(key)
        return await run_in_threadpool(self.look_up, request)

    def look_up(self, request: HTTPConnection) -> Grant:
        """The blocking form of `authenticate`."""
        _refuse_other_sites(request.headers)
        key = self._match_key(request, self._keys())
        if key is not None and api_keys.is_use_update_due(key):
            try:
                with patience(_USE_TIMEOUT_SECONDS), self.database.write() as session:
                    api_keys.record_use(session, key.id)
            except SQLAlchemyError as error:  # neither a full disk nor another writer may keep readers out
                fields = {"key": key.name, "reason": error_message(error)}
                logger.warning("the use of a key is not noted", extra={"fields": fields})
        return _grant_of(key)

    def _match_key(self, request: HTTPConnection, keys: Sequence[ApiKeyRow]) -> ApiKeyRow | None:
        """The key that was sent; None if none is needed. Raises as `authenticate` does."""
        if not keys and self.loopback:
            check_local_sender(request, self.proxies)
            name = re.sub(r":\d+$", "", request.headers.get("host", "")).strip("[]")
            if not is_loopback_name(name):
                raise OriginRefused(
                    "until the first API key is created, this service answers only requests to localhost, not to "
                    f"{name[:100]!r}"
                )
            return None
        return _find_key(request.headers.get("authorization", ""), [key for key in keys if api_keys.is_active(key)])

    def _keys(self) -> Sequence[ApiKeyRow]:
        """Every key that has ever existed: once there was one, requests without a key are never served again.

        They are cached until any process commits, and read for each request if the database has no version counter:
        a revoked key is refused at once.
        """
        version = self.database.version()  # read before the keys, so that a commit in between invalidates the cache
        cached = self._cached
        if version is not None and cached is not None and cached[0] == version:
            return cached[1]
        with self.database.read() as session:
            rows = api_keys.list_all(session)
            session.expunge_all()
        if version is not None:
            self._cached = version, rows
        return rows


def _grant_of(key: ApiKeyRow | None) -> Grant:
    """The grant of a key; without one, where none is needed, everything is allowed."""
    return Grant(Scope.ADMIN, None) if key is None else Grant(Scope(key.scopes), key.name)


def _find_key(authorization: str, keys: Sequence[ApiKeyRow]) -> ApiKeyRow:
    """The key of an `Authorization` header. Raises `Unauthenticated`."""
    scheme, _, sent = authorization.partition(" ")
    if scheme.lower() != "bearer" or not sent:
        raise Unauthenticated("this service needs an API key, sent as `Authorization: Bearer KEY`")
    digest = _digest(sent.strip())
    matches = [row for row in keys if hmac.compare_digest(row.digest, digest)]
    if not matches:
        raise Unauthenticated("the API key is unknown, was revoked, or has expired")
    return matches[0]


def _refuse_other_sites(headers: Headers) -> None:
    origin = headers.get("origin")
    is_same_origin = origin is None or origin.partition("://")[2] == headers.get("host")
    if not is_same_origin or headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        raise OriginRefused("requests from web pages of another origin are refused")


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a service on `host`. Raises `BadInput` for an unknown name."""
    try:
        matches = socket.getaddrinfo(host, None)
    except OSError as error:
        raise BadInput(f"{host!r} is not an address of this machine") from error
    return all(ipaddress.ip_address(str(entry[4][0]).split("%")[0]).is_loopback for entry in matches)


class TokenBucket:
    """Token buckets by name: `per_minute` tokens a minute each, a quarter of which is the burst; 0 for no limit."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity = max(1.0, per_minute / _BURST)
        self._per_second = per_minute / 60
        self._clock = clock
        self._tokens: OrderedDict[str, tuple[float, float]] = OrderedDict()  # by name: tokens left, and when that was

    def wait(self, name: str) -> float:
        """The seconds until `name` has a token; 0 if it has one."""
        return max(0.0, (1 - self._tokens_of(name)) / self._per_second) if self._per_second else 0.0

    def take(self, name: str) -> None:
        """Take a token of `name`."""
        if self._per_second:
            self._tokens[name] = (self._tokens_of(name) - 1, self._clock())
            self._tokens.move_to_end(name)
            if len(self._tokens) > _MAX_BUCKETS:
                self._tokens.popitem(last=False)

    def _tokens_of(self, name: str) -> float:
        left, since = self._tokens.get(name, (self._capacity, 0.0))
        return min(self._capacity, left + (self._clock() - since) * self._per_second)


class RateLimits:
    """The rate limits of a service. IPv6 addresses count by network: a client may choose the rest at will."""

    def __init__(self, serving: Serving, loopback: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._requests = TokenBucket(0 if loopback else serving.requests_per_minute, clock)
        self._requests_by_address = TokenBucket(0 if loopback else serving.requests_per_minute_of_address, clock)
        self._wrong_keys = TokenBucket(0 if loopback else _WRONG_KEYS_PER_MINUTE, clock)
        self._max_concurrent = 0 if loopback else serving.requests_at_once
        self._concurrent: dict[str, int] = {}

    def check_address(self, address: str) -> None:
        """Raises `TooManyRequests` for an address that has sent too many wrong keys."""
        _check_wait(self._wrong_keys.wait(rate_limit_key(address)), "too many wrong API keys came from this address")

    def record_wrong_key(self, address: str) -> None:
        self._wrong_keys.take(rate_limit_key(address))

    @contextmanager
    def count_request(self, key: str, address: str) -> Iterator[None]:
        """Count a request of a key and an address for the duration of the block. Raises `TooManyRequests`."""
        sender = rate_limit_key(address)
        _check_wait(self._requests_by_address.wait(sender), "too many requests came from this address")
        _check_wait(self._requests.wait(key), "too many requests came with this API key")
        if self._max_concurrent and self._concurrent.get(key, 0) >= self._max_concurrent:
            raise TooManyRequests(f"this API key has {self._max_concurrent} open requests, which is the maximum", 1)
        self._requests.take(key)
        self._requests_by_address.take(sender)
        self._concurrent[key] = self._concurrent.get(key, 0) + 1
        try:
            yield
        finally:
            self._concurrent[key] -= 1
            if not self._concurrent[key]:
                del self._concurrent[key]


def _check_wait(seconds: float, sentence: str) -> None:
    if seconds > 0:
        whole = int(seconds) + 1
        raise TooManyRequests(f"{sentence}; try again in {whole} s", whole)


class FallbackAuthenticator:
    """An `Authenticator` that falls back on a cache of recent grants when the database fails or hangs.

    It has its own threads and database connections, so that lookups wait for no other request, and does not wait for
    a lookup that hangs.
    """

    def __init__(self, database_url: str, loopback: bool, proxies: Networks, rate_limits: RateLimits) -> None:
        self._database = Database(database_url, DATABASE_SECONDS)
        self._authenticator = Authenticator(self._database, loopback, proxies)
        self._rate_limits = rate_limits
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="admission")
        self._lookups: set[asyncio.Future[Grant]] = set()
        self._recent_grants: dict[bytes, tuple[Scope, float]] = {}

    async def authenticate(self, request: Request) -> Scope:
        """The scope of the sender.

        Raises as `Authenticator.authenticate` does, `TooManyRequests` for an address that has sent too many wrong keys,
        and for one without a cached grant, `Busy` or SQLAlchemy's errors if keys cannot be looked up.
        """
        headers, address = request.headers, address_of(request)
        self._rate_limits.check_address(address)
        credentials = (headers.get("authorization", ""), headers.get("host", ""), proxy_header(request) or "")
        digest = hashlib.sha256("\n".join(credentials).encode()).digest()
        try:
            scope = (await self._look_up(request)).scope
        except Unauthenticated:
            self._rate_limits.record_wrong_key(address)
            raise
        except (Busy, SQLAlchemyError):
            scope, until = self._recent_grants.get(digest, (Scope.METRICS, 0.0))
            if time.monotonic() > until:
                raise
            return scope
        self._recent_grants.pop(digest, None)
        self._recent_grants[digest] = scope, time.monotonic() + _GRANT_SECONDS
        while len(self._recent_grants) > _MAX_GRANTS:
            del self._recent_grants[next(iter(self._recent_grants))]
        return scope

    async def scope_of(self, request: Request) -> Scope | None:
        """The scope of the sender; None for an unauthenticated one.

        Beyond loopback a request without a key is unauthenticated, so nothing is looked up.
        """
        if not self._authenticator.loopback and "authorization" not in request.headers:
            return None
        try:
            return await self.authenticate(request)
        except (ServiceError, SQLAlchemyError):
            return None

    def close(self) -> None:
        """Does not wait for lookups that hang."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._database.close()

    async def _look_up(self, request: HTTPConnection) -> Grant:
        """The grant of the sender. Raises `Busy` after `_LOOKUP_TIMEOUT_SECONDS`."""
        if len(self._lookups) < _MAX_LOOKUPS:
            lookup = asyncio.wrap_future(self._threads.submit(self._authenticator.look_up, request))
            self._lookups.add(lookup)
            lookup.add_done_callback(self._discard)
            await asyncio.wait([lookup], timeout=_LOOKUP_TIMEOUT_SECONDS)
            if lookup.done():
                return lookup.result()
        raise Busy("keys cannot be looked up at the moment; try again")

    def _discard(self, lookup: asyncio.Future[Grant]) -> None:
        self._lookups.discard(lookup)
        if not lookup.cancelled():
            lookup.exception()  # else asyncio logs an exception that nobody retrieved
