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
from anyseek.api.http.metrics import measure_request
from anyseek.api.http.problems import problem_of
from anyseek.api.http.security import Authenticator, Grant, RateLimits
from anyseek.api.http.senders import address_of
from anyseek.api.service import RequestAbandoned, RequestBudget
from anyseek.model.modalities.reading.budget import use_budget
from anyseek.model.modalities.reading.decoders import DecoderPool, use_decoders
from anyseek.search.actor import ANYBODY, Actor, acting_as
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
_SLOW = "the body arrived too slowly: {:,} bytes in {:.0f} s"
_BODIES_FULL = "the bodies of other requests fill the service's memory limit; try again in a moment"
_STOPPING = "the service is stopping, and this request took too long; send it again in a moment"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestContext:
    """The outermost middleware: request id, metrics, one log line, security headers, and a 500 problem for a crash.

    It removes the `Range` header, which a server may ignore, from requests of the page's files: the framework would
    answer an invalid range with plain text instead of a problem document. Routes of `/v1` read it themselves.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        client_id = Headers(scope=scope).get("x-request-id", "")
        request_id = client_id if _REQUEST_ID.fullmatch(client_id) else secrets.token_hex(8)  # safe to log
        scope.setdefault("state", {})["request_id"] = request_id
        if not scope["path"].startswith("/v1/"):
            scope["headers"] = [header for header in scope["headers"] if header[0] != b"range"]
        with measure_request(scope) as measurement:

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
    """Set the headers of every response, replacing existing ones of the same name."""
    is_page = path in ("/", "/docs") or path.startswith("/web/")
    policy = PAGE_POLICY if is_page else DATA_POLICY
    headers = dict([(b"x-request-id", request_id.encode()), (b"content-security-policy", policy.encode()), *_HEADERS])
    kept = [header for header in message.get("headers", ()) if header[0] not in headers]
    message["headers"] = [*kept, *headers.items()]


def _log(scope: Scope, status: int, seconds: float) -> None:
    """Log one line with the route's pattern; the path is left out, since it has names of the user's files."""
    failure = scope["state"].get("failure")
    fields = {
        "request_id": scope["state"]["request_id"],
        **(scope["state"].get("actor") or _actor(scope)).fields(),  # a request refused early has no actor yet
        "method": scope["method"],
        "route": getattr(scope.get("route"), "path", None),
        "status": status,
        "milliseconds": round(seconds * 1000, 1),
    }
    if failure:
        logger.error("request failed", exc_info=failure, extra={"fields": fields})
    else:
        logger.info("request", extra={"fields": fields})


class AccessControl:
    """Access control and rate limits of `/v1`, applied before any of the body is read, and the actor of every request.

    The actor is recorded in log lines and the audit trail. Transactions wait up to `database_seconds` for a lock.
    """

    def __init__(self, app: ASGIApp, authenticator: Authenticator, limits: RateLimits, database_seconds: float) -> None:
        self.app = app
        self.authenticator = authenticator
        self.rate_limits = limits
        self.database_seconds = database_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        state = scope["state"]
        with ExitStack() as stack:
            if scope["path"].startswith("/v1"):
                stack.enter_context(patience(self.database_seconds))
                try:
                    connection = HTTPConnection(scope)
                    grant = await self._authenticate(connection)
                    stack.enter_context(self.rate_limits.count_request(grant.key or "", address_of(connection)))
                except (AnyseekError, SQLAlchemyError) as error:
                    return await problem_of(error, state["request_id"])(scope, receive, send)
                state["granted"], state["key"] = grant.scope, grant.key
            state["actor"] = _actor(scope)
            stack.enter_context(acting_as(state["actor"]))
            await self.app(scope, receive, send)

    async def _authenticate(self, request: HTTPConnection) -> Grant:
        """The grant of the sender. Raises as `Authenticator.authenticate` does, and `TooManyRequests`."""
        self.rate_limits.check_address(address_of(request))
        try:
            return await self.authenticator.authenticate(request)
        except Unauthenticated:
            self.rate_limits.record_wrong_key(address_of(request))
            raise


def _actor(scope: Scope) -> Actor:
    """The actor of a request: its API key, or anybody."""
    key, client = scope["state"].get("key"), scope.get("client")
    who = ANYBODY if key is None else f"key:{key}"
    return Actor(who, client[0] if client else None, scope["state"]["request_id"])


class BodyLimit:
    """Limits of request bodies: `max_bytes` each, a minimum transfer rate, and the bytes of all open requests.

    The limits hold with and without a declared length.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, serving: Serving) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.serving = serving
        self.free_bytes = serving.bodies_mb * 1024 * 1024

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        detail = f"the request has more than {self.max_bytes:,} bytes, the maximum for one request"
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdigit() or int(declared) > self.max_bytes:
            return await problem_of(LimitExceeded(detail), scope["state"]["request_id"])(scope, receive, send)
        received, waited, is_complete = 0, 0.0, False

        async def receive_within_limit() -> Message:
            nonlocal received, waited, is_complete
            if is_complete:
                return await receive()  # the disconnect
            timeout, started = self.serving.body_seconds + received / self.serving.body_rate, time.monotonic()
            try:
                async with asyncio.timeout(timeout - waited):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, _SLOW.format(received, timeout)) from None
            waited += time.monotonic() - started
            size = len(message.get("body", b""))
            received += size
            self.free_bytes -= size
            is_complete = not message.get("more_body", False)
            if received > self.max_bytes:
                # the only exception that the framework does not catch while it parses a body
                raise HTTPException(413, detail)
            if size and self.free_bytes < 0:
                raise HTTPException(503, _BODIES_FULL)
            return message

        try:
            await self.app(scope, receive_within_limit, send)
        finally:
            self.free_bytes += received


class RequestBudgets:
    """Gives each request a budget of pixels and seconds, and abandons it at its next stage if its client disconnects.

    A request that the shutdown cancels is abandoned too. A response is complete or not sent at all, and nothing is
    half-written. Large pictures are decoded in other processes.
    """

    def __init__(self, app: ASGIApp, limits: Limits, decoders: DecoderPool | None) -> None:
        self.app = app
        self.limits = limits
        self.decoders = decoders

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        limits = self.limits
        budget = RequestBudget(limits.pixels_per_request, limits.decoding_seconds, limits.filter_seconds)
        watch = _DisconnectWatch(receive, send, budget)
        with use_budget(budget), use_decoders(self.decoders):
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
                watch.stop()


class _DisconnectWatch:
    """The messages of one request; once its body is complete, a task waits for the client to disconnect."""

    def __init__(self, receive: Receive, send: Send, budget: RequestBudget) -> None:
        self._receive, self._send, self._budget = receive, send, budget
        self._watcher: asyncio.Task[None] | None = None
        self._disconnected = asyncio.Event()
        self.is_answered = False

    async def receive(self) -> Message:
        if self._watcher is not None:
            await self._disconnected.wait()
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._watcher = asyncio.create_task(self._await_disconnect())
        return message

    async def send(self, message: Message) -> None:
        self.is_answered = True
        await self._send(message)

    def stop(self) -> None:
        """Stop watching, once the request is answered."""
        if self._watcher is not None:
            self._watcher.cancel()

    async def _await_disconnect(self) -> None:
        """Abandon the request when the client disconnects."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._disconnected.set()
        self._budget.abandon()
