"""Access control: API keys with scopes, and the protection of a service without keys from foreign web pages.

While a service listens on loopback only and no key has ever existed, anybody on the machine may do everything, but a
web page of another site may not: the Host must name this machine (or a rebound domain name could reach it) and a
request that a browser marks as another site's is refused. So is what a proxy on this machine passed on for others.

How often a key or an address may ask is counted in this process, and not at all while only this machine can ask.
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
from anyseek.api.http.senders import address_of, check_from_here, counted_as, is_loopback_name, mark_of_proxy
from anyseek.search.catalogue import api_keys
from anyseek.search.catalogue.api_keys import NO_QUOTA, Quota
from anyseek.search.catalogue.failures import sentence
from anyseek.search.catalogue.session import Database, Version, patience
from anyseek.search.catalogue.tables import ApiKeyRow
from anyseek.search.catalogue.values import now
from anyseek.search.errors import BadInput
from anyseek.search.settings import Networks, Serving

logger = logging.getLogger(__name__)

KEY_PREFIX = "anyseek_"
_NOTING_SECONDS = 0.05
# How long readiness, metrics and admission to them wait for a lock.
DATABASE_SECONDS = 2
_MOST_NAMES = 10_000  # of those who have asked lately; beyond it those go that were silent for longest
_BURST = 4  # a quarter of a minute's requests may come at once
_WRONG_KEYS_PER_MINUTE = 60
_LOOKUP_SECONDS = 1.0
_THREADS = 2
_MOST_LOOKUPS = 64  # at work and waiting for a thread
# While keys cannot be looked up, senders who were admitted before may go on for so long.
_REMEMBERED_SECONDS = 600.0
_MOST_REMEMBERED = 32


class Scope(StrEnum):
    """Scopes of a key; each includes those before it."""

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
    """Decides about one request from its headers and address.

    `loopback`: the service can only be reached from this machine. `proxies`: those that tell who asked them.
    """

    def __init__(self, database: Database, loopback: bool, proxies: Networks) -> None:
        self.database = database
        self.loopback = loopback
        self.proxies = proxies
        self._cached: tuple[Version, Sequence[ApiKeyRow]] | None = None

    async def admit(self, request: HTTPConnection) -> Admitted:
        """Who the sender is; a thread looks where the database has to be asked. Raises `OriginRefused`,
        `ProxyRefused`, `Unauthenticated`.
        """
        _refuse_other_sites(request.headers)
        cached = self._cached
        if cached is not None and cached[0] == self.database.glance():
            key = self._sent(request, cached[1])
            if key is None or not api_keys.use_is_due(key):
                return _admitted(key)
        return await run_in_threadpool(self.look_up, request)

    def look_up(self, request: HTTPConnection) -> Admitted:
        """The blocking form of `admit`, for a caller who has a thread."""
        _refuse_other_sites(request.headers)
        key = self._sent(request, self._keys())
        if key is not None and api_keys.use_is_due(key):
            try:
                with patience(_NOTING_SECONDS), self.database.write() as session:
                    api_keys.note_use(session, key.id)
            except SQLAlchemyError as error:  # neither a full disk nor another writer may keep readers out
                fields = {"key": key.name, "reason": sentence(error)}
                logger.warning("the use of a key is not noted", extra={"fields": fields})
        return _admitted(key)

    def _sent(self, request: HTTPConnection, keys: Sequence[ApiKeyRow]) -> ApiKeyRow | None:
        """The key that was sent; None where none is needed. Raises as `admit` does."""
        if not keys and self.loopback:
            check_from_here(request, self.proxies)
            name = re.sub(r":\d+$", "", request.headers.get("host", "")).strip("[]")
            if not is_loopback_name(name):
                raise OriginRefused(
                    "while no API key has existed, this service answers only requests to localhost, not to "
                    f"{name[:100]!r}"
                )
            return None
        return _key_of(request.headers.get("authorization", ""), [key for key in keys if api_keys.is_active(key)])

    def _keys(self) -> Sequence[ApiKeyRow]:
        """Every key that ever existed: once there was one, the service never opens again to those without.

        They are held for as long as nothing is committed by any process, and read for each request where the database
        does not tell: a key that was revoked opens nothing from then on.
        """
        version = self.database.version()  # before the keys: what is committed in between is seen the next time
        cached = self._cached
        if version is not None and cached is not None and cached[0] == version:
            return cached[1]
        with self.database.read() as session:
            rows = api_keys.list_all(session)
            session.expunge_all()
        if version is not None:
            self._cached = version, rows
        return rows


def _admitted(key: ApiKeyRow | None) -> Admitted:
    """Everybody who asks where no key is needed may do everything."""
    return Admitted(Scope.ADMIN, None) if key is None else Admitted(Scope(key.scopes), key.name)


def _key_of(authorization: str, keys: Sequence[ApiKeyRow]) -> ApiKeyRow:
    """The key that was sent. Raises `Unauthenticated`."""
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
    own = origin is None or origin.partition("://")[2] == headers.get("host")
    if not own or headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        raise OriginRefused("requests from web pages of another origin are refused")


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a service on `host`. Raises `BadInput` for an unknown name."""
    try:
        matches = socket.getaddrinfo(host, None)
    except OSError as error:
        raise BadInput(f"{host!r} is not an address of this machine") from error
    return all(ipaddress.ip_address(str(entry[4][0]).split("%")[0]).is_loopback for entry in matches)


class Bucket:
    """Lets each name do something `per_minute` times a minute, a quarter of them at once; 0: any number of times."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = max(1.0, per_minute / _BURST)
        self._per_second = per_minute / 60
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # by name, how many at which time

    def wait(self, name: str) -> float:
        """The seconds until `name` may do it again; 0 if it may now."""
        return max(0.0, (1 - self._now(name)) / self._per_second) if self._per_second else 0.0

    def take(self, name: str) -> None:
        """Count one."""
        if self._per_second:
            self._left[name] = (self._now(name) - 1, self._clock())
            self._left.move_to_end(name)
            if len(self._left) > _MOST_NAMES:
                self._left.popitem(last=False)

    def _now(self, name: str) -> float:
        left, since = self._left.get(name, (self._most, 0.0))
        return min(self._most, left + (self._clock() - since) * self._per_second)


class Rates:
    """The limits of one service. An address of IPv6 counts with its network: a client may change the rest at will."""

    def __init__(self, serving: Serving, loopback: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._requests = Bucket(0 if loopback else serving.requests_per_minute, clock)
        self._of_address = Bucket(0 if loopback else serving.requests_per_minute_of_address, clock)
        self._wrong_keys = Bucket(0 if loopback else _WRONG_KEYS_PER_MINUTE, clock)
        self._most_at_once = 0 if loopback else serving.requests_at_once
        self._at_once: dict[str, int] = {}

    def check_address(self, address: str) -> None:
        """Raises `TooManyRequests` for an address that has sent too many wrong keys."""
        _refuse_for(self._wrong_keys.wait(counted_as(address)), "too many wrong API keys came from this address")

    def note_wrong_key(self, address: str) -> None:
        self._wrong_keys.take(counted_as(address))

    @contextmanager
    def request(self, key: str, address: str) -> Iterator[None]:
        """Count a request of a key from an address for as long as it is answered. Raises `TooManyRequests`."""
        sender = counted_as(address)
        _refuse_for(self._of_address.wait(sender), "too many requests came from this address")
        _refuse_for(self._requests.wait(key), "this API key has asked too often")
        if self._most_at_once and self._at_once.get(key, 0) >= self._most_at_once:
            raise TooManyRequests(f"this API key has {self._most_at_once} requests under way, the most at once", 1)
        self._requests.take(key)
        self._of_address.take(sender)
        self._at_once[key] = self._at_once.get(key, 0) + 1
        try:
            yield
        finally:
            self._at_once[key] -= 1
            if not self._at_once[key]:
                del self._at_once[key]


def _refuse_for(seconds: float, sentence: str) -> None:
    if seconds > 0:
        whole = int(seconds) + 1
        raise TooManyRequests(f"{sentence}; try again in {whole} s", whole)


class Admission:
    """A `Guardian` that remembers by a hash whom it admitted, for when the database fails or hangs.

    Keys are looked up by threads and database connections of its own, so that neither waits for other requests, and a
    look that hangs is not waited for.
    """

    def __init__(self, database_url: str, loopback: bool, proxies: Networks, rates: Rates) -> None:
        self._database = Database(database_url, DATABASE_SECONDS)
        self._guardian = Guardian(self._database, loopback, proxies)
        self._rates = rates
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="admission")
        self._lookups: set[asyncio.Future[Admitted]] = set()
        self._remembered: dict[bytes, tuple[Scope, float]] = {}

    async def admit(self, request: Request) -> Scope:
        """The scope of the sender.

        Raises as `Guardian.admit` does, and `TooManyRequests` for an address that has sent too many wrong keys; and for
        one who is not remembered, `Busy` or SQLAlchemy's errors where keys cannot be looked up.
        """
        headers, address = request.headers, address_of(request)
        self._rates.check_address(address)
        told = (headers.get("authorization", ""), headers.get("host", ""), mark_of_proxy(request) or "")
        sent = hashlib.sha256("\n".join(told).encode()).digest()
        try:
            scope = (await self._look_up(request)).scope
        except Unauthenticated:
            self._rates.note_wrong_key(address)
            raise
        except (Busy, SQLAlchemyError):
            scope, until = self._remembered.get(sent, (Scope.METRICS, 0.0))
            if time.monotonic() > until:
                raise
            return scope
        self._remembered.pop(sent, None)
        self._remembered[sent] = scope, time.monotonic() + _REMEMBERED_SECONDS
        while len(self._remembered) > _MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        return scope

    async def scope_of(self, request: Request) -> Scope | None:
        """The scope of the sender; None for a stranger.

        Beyond loopback a request without a key is a stranger's, so that nothing has to be looked up.
        """
        if not self._guardian.loopback and "authorization" not in request.headers:
            return None
        try:
            return await self.admit(request)
        except (ServiceError, SQLAlchemyError):
            return None

    def close(self) -> None:
        """Looks that hang are left to end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._database.close()

    async def _look_up(self, request: HTTPConnection) -> Admitted:
        """Who the sender is, as `Guardian` says. Raises `Busy` where that takes too long."""
        if len(self._lookups) < _MOST_LOOKUPS:
            looking = asyncio.wrap_future(self._threads.submit(self._guardian.look_up, request))
            self._lookups.add(looking)
            looking.add_done_callback(self._forget)
            await asyncio.wait([looking], timeout=_LOOKUP_SECONDS)
            if looking.done():
                return looking.result()
        raise Busy("keys cannot be looked up at the moment; try again")

    def _forget(self, looked: asyncio.Future[Admitted]) -> None:
        self._lookups.discard(looked)
        if not looked.cancelled():
            looked.exception()  # asyncio would log one that nobody waited for any longer
