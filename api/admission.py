"""Who asks, on the routes outside `/v1`: those by which a service is watched, also while it is in trouble."""

import time
from hashlib import sha256

import anyio
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import Headers

from api.errors import Busy, ServiceError
from api.security import Guardian, Scope

_LOOKUP_SECONDS = 1.0
# While keys cannot be looked up, senders who were admitted before may go on for so long.
_REMEMBERED_SECONDS = 600.0
_MOST_REMEMBERED = 32


class Admission:
    """As `Guardian`, but remembers by a hash whom it admitted, for when the database fails or all threads are busy."""

    def __init__(self, guardian: Guardian) -> None:
        self._guardian = guardian
        self._remembered: dict[bytes, tuple[Scope, float]] = {}

    async def admit(self, headers: Headers) -> Scope:
        """The scope of the sender.

        Raises `OriginRefused`, `Unauthenticated`; and for one who is not remembered, `Busy` or SQLAlchemy's errors
        where keys cannot be looked up.
        """
        sent = sha256(f"{headers.get('authorization', '')}\n{headers.get('host', '')}".encode()).digest()
        try:
            with anyio.fail_after(_LOOKUP_SECONDS):
                scope = (await self._guardian.admit(headers)).scope
        except TimeoutError:
            return self._recall(sent, Busy("keys cannot be looked up at the moment; try again"))
        except SQLAlchemyError as error:
            return self._recall(sent, error)
        self._remember(sent, scope)
        return scope

    async def scope_of(self, headers: Headers) -> Scope | None:
        """The scope of the sender; None for a stranger.

        Beyond loopback a request without a key is a stranger's, so that nothing has to be looked up.
        """
        if not self._guardian.loopback and "authorization" not in headers:
            return None
        try:
            return await self.admit(headers)
        except (ServiceError, SQLAlchemyError):
            return None

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
