"""ASGI middleware for every request: an id, a log line, headers, access control, the actor, and limits.

`anyseek.api.app` has the order of all middleware.
"""

import asyncio
import logging
import re
import secrets
import time
from contextlib import ExitStack

from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from anyseek.api.errors import NotReady, Unauthenticated
from anyseek.api.http.metrics import measured
from anyseek.api.http.problems import problem_of
from anyseek.api.http.security import Admitted, Guardian, Rates
from anyseek.api.http.senders import address_of
from anyseek.api.service import RequestAbandoned, RequestBudget
from anyseek.model.modalities.reading.budget import spending
from anyseek.model.modalities.reading.decoders import Decoders, decoding_apart
from anyseek.search.actor import ANYBODY, Caller, acting
from anyseek.search.catalogue.session import patience
from anyseek.search.errors import AnyseekError, LimitExceeded
from anyseek.search.settings import Limits, Serving

logger = logging.getLogger(__name__)

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Anything else, above all a stored picture, is data: it must not run scripts even when opened by itself.
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
CLIENT_CLOSED_REQUEST = 499  # in logs and metrics, as nginx has it; no client receives it
_SLOW = "the body came too slowly: {:,} bytes in {:.0f} s"
_NO_ROOM = "the service holds as many bytes of other requests as it may; try again in a moment"
_STOPPING = "the service is stopping, and this request took too long; send it again in a moment"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestContext:
    """The outermost: the request id, metrics and one log line, security headers, and a 500 problem for a crash.

    It removes the `Range` header, which a server may ignore, so files are sent whole: the framework would answer an
    invalid range with plain text instead of a problem document.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        wanted = Headers(scope=scope).get("x-request-id", "")
        request_id = wanted if _REQUEST_ID.fullmatch(wanted) else secrets.token_hex(8)  # it has to be harmless to log
        scope.setdefault("state", {})["request_id"] = request_id
        scope["headers"] = [header for header in scope["headers"] if header[0] != b"range"]
        with measured(scope) as measurement:

            async def send_with_headers(message: Message) -> None:
                if message["type"] == "http.response.start":
                    measurement.status = message["status"]
                    _add_headers(message, scope["path"], request_id)
                await send(message)

            try:
                await self.app(scope, receive, send_with_headers)
            except Exception as error:
                logger.exception("request failed", extra={"fields": {"request_id": request_id}})
                if not measurement.status:
                    await problem_of(error, request_id)(scope, receive, send_with_headers)
            _log(scope, measurement.status, measurement.seconds)


def _add_headers(message: Message, path: str, request_id: str) -> None:
    """Add what every answer has, in place of what it has already."""
    is_page = path in ("/", "/docs") or path.startswith("/web/")
    policy = PAGE_POLICY if is_page else DATA_POLICY
    own = dict([(b"x-request-id", request_id.encode()), (b"content-security-policy", policy.encode()), *_HEADERS])
    message["headers"] = [header for header in message.get("headers", ()) if header[0] not in own] + list(own.items())


def _log(scope: Scope, status: int, seconds: float) -> None:
    """Log one line with the route's pattern, without the path, which contains names of the user's files."""
    failure = scope["state"].get("failure")
    fields = {
        "request_id": scope["state"]["request_id"],
        **(scope["state"].get("caller") or _actor(scope)).fields(),  # refused early: the address alone
        "method": scope["method"],
        "route": getattr(scope.get("route"), "path", None),
        "status": status,
        "milliseconds": round(seconds * 1000, 1),
    }
    if failure:
        logger.error("request failed", exc_info=failure, extra={"fields": fields})
    else:
        logger.info("request", extra={"fields": fields})


class Guard:
    """Access control and rate limits of `/v1`, applied before any of the body is read, and the actor of every request.

    The actor is recorded in log lines and the audit trail. Transactions wait up to `database_seconds` for a lock.
    """

    def __init__(self, app: ASGIApp, guardian: Guardian, rates: Rates, database_seconds: float) -> None:
        self.app = app
        self.guardian = guardian
        self.rates = rates
        self.database_seconds = database_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        state = scope["state"]
        with ExitStack() as request:
            if scope["path"].startswith("/v1"):
                request.enter_context(patience(self.database_seconds))
                try:
                    connection = HTTPConnection(scope)
                    admitted = await self._admit(connection)
                    request.enter_context(self.rates.request(admitted.key or "", address_of(connection)))
                except (AnyseekError, SQLAlchemyError) as error:
                    return await problem_of(error, state["request_id"])(scope, receive, send)
                state["granted"], state["key"] = admitted.scope, admitted.key
            state["caller"] = _actor(scope)
            request.enter_context(acting(state["caller"]))
            await self.app(scope, receive, send)

    async def _admit(self, request: HTTPConnection) -> Admitted:
        """Raises as `Guardian.admit` does, and `TooManyRequests`."""
        self.rates.check_address(address_of(request))
        try:
            return await self.guardian.admit(request)
        except Unauthenticated:
            self.rates.note_wrong_key(address_of(request))
            raise


def _actor(scope: Scope) -> Caller:
    """The actor of a request: its API key, or anybody."""
    key, client = scope["state"].get("key"), scope.get("client")
    who = ANYBODY if key is None else f"key:{key}"
    return Caller(who, client[0] if client else None, scope["state"]["request_id"])


class BodyLimit:
    """Limits of request bodies: `most` bytes each, a minimum transfer rate, and the bytes held for all requests.

    The limits hold with and without a declared length.
    """

    def __init__(self, app: ASGIApp, most: int, serving: Serving) -> None:
        self.app = app
        self.most = most
        self.serving = serving
        self.room = serving.bodies_mb * 1024 * 1024

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        detail = f"the request has more than {self.most:,} bytes, which is the most that is taken at once"
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdigit() or int(declared) > self.most:
            return await problem_of(LimitExceeded(detail), scope["state"]["request_id"])(scope, receive, send)
        received, waited, whole = 0, 0.0, False

        async def receive_within_limit() -> Message:
            nonlocal received, waited, whole
            if whole:
                return await receive()  # the disconnect
            patience, started = self.serving.body_seconds + received / self.serving.body_rate, time.monotonic()
            try:
                async with asyncio.timeout(patience - waited):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, _SLOW.format(received, patience)) from None
            waited += time.monotonic() - started
            came = len(message.get("body", b""))
            received += came
            self.room -= came
            whole = not message.get("more_body", False)
            if received > self.most:
                # the only exception that the framework does not catch while it parses a body
                raise HTTPException(413, detail)
            if came and self.room < 0:
                raise HTTPException(503, _NO_ROOM)
            return message

        try:
            await self.app(scope, receive_within_limit, send)
        finally:
            self.room += received


class Budgeted:
    """Gives each request a budget of pixels and seconds; one whose client disconnects is given up at its next stage.

    So is one that the server cancels because it stops. An answer is whole or not sent at all, and nothing is
    half-written. Large pictures are decoded in other processes.
    """

    def __init__(self, app: ASGIApp, limits: Limits, decoders: Decoders | None) -> None:
        self.app = app
        self.limits = limits
        self.decoders = decoders

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        limits = self.limits
        budget = RequestBudget(limits.pixels_per_request, limits.decoding_seconds, limits.filter_seconds)
        watch = _DisconnectWatch(receive, send, budget)
        with spending(budget), decoding_apart(self.decoders):
            try:
                await self.app(scope, watch.receive, watch.send)
            except (RequestAbandoned, ClientDisconnect):
                if not watch.is_answered:
                    await Response(status_code=CLIENT_CLOSED_REQUEST)(scope, receive, send)
            except asyncio.CancelledError:
                budget.abandon()
                if not watch.is_answered:
                    await problem_of(NotReady(_STOPPING), scope["state"]["request_id"])(scope, receive, send)
                raise
            finally:
                watch.end()


class _DisconnectWatch:
    """The messages of one request; once its body is complete, a task waits for the client to disconnect."""

    def __init__(self, receive: Receive, send: Send, budget: RequestBudget) -> None:
        self._receive, self._send, self._budget = receive, send, budget
        self._watch: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()
        self.is_answered = False

    async def receive(self) -> Message:
        if self._watch is not None:
            await self._gone.wait()
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._watch = asyncio.create_task(self._await_disconnect())
        return message

    async def send(self, message: Message) -> None:
        self.is_answered = True
        await self._send(message)

    def end(self) -> None:
        """Stop watching: the request is answered."""
        if self._watch is not None:
            self._watch.cancel()

    async def _await_disconnect(self) -> None:
        """Abandon the work when the client disconnects."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone.set()
        self._budget.abandon()
