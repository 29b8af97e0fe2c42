"""Who asks, on the routes outside `/v1`: those by which a service is watched, also while it is in trouble."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import Headers
from starlette.requests import Request

from anyseek.api.errors import Busy, ServiceError, Unauthenticated
from anyseek.api.http.rates import Rates
from anyseek.api.http.readiness import DATABASE_SECONDS
from anyseek.api.http.security import Admitted, Guardian, Scope
from anyseek.search.catalogue.session import Database

_LOOKUP_SECONDS = 1.0
_THREADS = 2
_MOST_LOOKUPS = 64  # at work and waiting for a thread
# While keys cannot be looked up, senders who were admitted before may go on for so long.
_REMEMBERED_SECONDS = 600.0
_MOST_REMEMBERED = 32


class Admission:
    """As `Guardian`, but remembers by a hash whom it admitted, for when the database fails or hangs.

    Keys are looked up by threads and database connections of its own, so that neither waits for other requests, and a
    look that hangs is not waited for.
    """

    def __init__(self, database_url: str, loopback: bool, rates: Rates) -> None:
        self._database = Database(database_url, DATABASE_SECONDS)
        self._guardian = Guardian(self._database, loopback)
        self._rates = rates
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="admission")
        self._lookups: set[asyncio.Future[Admitted]] = set()
        self._remembered: dict[bytes, tuple[Scope, float]] = {}

    async def admit(self, request: Request) -> Scope:
        """The scope of the sender.

        Raises `OriginRefused`, `Unauthenticated`, `TooManyRequests` for an address that has sent too many wrong keys;
        and for one who is not remembered, `Busy` or SQLAlchemy's errors where keys cannot be looked up.
        """
        headers, address = request.headers, request.client.host if request.client else ""
        self._rates.check_address(address)
        sent = sha256(f"{headers.get('authorization', '')}\n{headers.get('host', '')}".encode()).digest()
        try:
            scope = (await self._look_up(headers)).scope
        except Unauthenticated:
            self._rates.note_wrong_key(address)
            raise
        except (Busy, SQLAlchemyError) as error:
            return self._recall(sent, error)
        self._remember(sent, scope)
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

    async def _look_up(self, headers: Headers) -> Admitted:
        """Who the sender is, as `Guardian` says. Raises `Busy` where that takes too long."""
        if len(self._lookups) < _MOST_LOOKUPS:
            looking = asyncio.wrap_future(self._threads.submit(self._guardian.look_up, headers))
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

    def _remember(self, sent: bytes, scope: Scope) -> None:
        self._remembered.pop(sent, None)
        self._remembered[sent] = scope, time.monotonic() + _REMEMBERED_SECONDS
        while len(self._remembered) > _MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]

    def _recall(self, sent: bytes, error: Exception) -> Scope:
        scope, until = self._remembered.get(sent, (Scope.METRICS, 0.0))
        if time.monotonic() > until:
            raise error
        return scope
