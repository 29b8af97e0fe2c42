"""Connections of clients that are slow, silent or too many: uvicorn's protocol with deadlines and a limit.

uvicorn itself waits forever for the first request of a connection and for a client that does not read its answer, and
it counts a connection only once its request has arrived.
"""

import asyncio
import json
import logging
import resource
import time
from dataclasses import replace
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from anyseek.api.http.problems import MEDIA_TYPE
from anyseek.api.http.senders import PEER
from anyseek.search.settings import Serving

logger = logging.getLogger(__name__)

_REPORT_INTERVAL_SECONDS = 60.0
_RESERVED_FILES, _MIN_CONNECTIONS = 128, 16


class RateLimitedLog:
    """Logs each kind of event at most once per interval, with how often it has happened since it was last logged."""

    def __init__(self, seconds: float = _REPORT_INTERVAL_SECONDS) -> None:
        self._seconds = seconds
        self._last: dict[str, float] = {}
        self._unreported: dict[str, int] = {}

    def __call__(self, event: str) -> None:
        self._unreported[event] = self._unreported.get(event, 0) + 1
        if time.monotonic() - self._last.get(event, float("-inf")) >= self._seconds:
            logger.warning(event, extra={"fields": {"times": self._unreported.pop(event)}})
            self._last[event] = time.monotonic()


def make_protocol(serving: Serving) -> type[asyncio.Protocol]:
    """The protocol class that enforces the limits of `serving`, for uvicorn's `http` option."""
    report = RateLimitedLog()
    limited = replace(serving, connections=min(serving.connections, _max_connections()))

    class Guarded(GuardedConnection):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(limited, report, *args, **kwargs)

    return Guarded


def _max_connections() -> int:
    """The number of connections that leave file descriptors for everything else in the process."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(_MIN_CONNECTIONS, most - _RESERVED_FILES) if most != resource.RLIM_INFINITY else 1 << 20


class GuardedConnection(H11Protocol):
    """A connection with deadlines: for the complete head of the next request, and for the client to read the answer."""

    def __init__(self, serving: Serving, report: RateLimitedLog, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._serving, self._report = serving, report
        self._head_deadline: asyncio.TimerHandle | None = None
        self._send_deadline: asyncio.TimerHandle | None = None
        self.waiting_since: float | None = None  # for the head of a request

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, PEER: self.client[0] if self.client else ""}
        if len(self.connections) > self._serving.connections and not self._make_room():
            self._report("too many connections: a new one is refused")
            self._refuse(503, "Service Unavailable", "busy", "too many connections; try again in a moment")
            return
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._head_deadline)
        _cancel(self._send_deadline)
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        self._update_head_timer()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._update_head_timer()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._send_deadline = self.loop.call_later(self._serving.send_seconds, self._stop_sending)

    def resume_writing(self) -> None:
        super().resume_writing()
        _cancel(self._send_deadline)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, and a head above 16 KiB, where h11 stops reading."""
        self._refuse(400, "Bad Request", "bad-request", "this is not HTTP, or its headers are longer than 16 KiB")

    def _update_head_timer(self) -> None:
        """Start the head's timer when a connection becomes idle; cancel it when the head is complete."""
        if self.conn.their_state is not h11.IDLE:
            _cancel(self._head_deadline)
            self._head_deadline = self.waiting_since = None
        elif self.waiting_since is None and not self.transport.is_closing():
            self._start_head_timer()

    def _start_head_timer(self) -> None:
        self.waiting_since = self.loop.time()
        self._head_deadline = self.loop.call_later(self._serving.head_seconds, self._time_out)

    def _time_out(self) -> None:
        self._report("a connection sent no whole request in time")
        seconds = self._serving.head_seconds
        self._refuse(408, "Request Timeout", "request-timeout", f"no whole request came within {seconds:g} s")

    def _make_room(self) -> bool:
        """Close the connection that has been idle longest; return False if every other one has a request."""
        idle = [
            other
            for other in self.connections
            if isinstance(other, GuardedConnection) and other.waiting_since is not None and other is not self
        ]
        if not idle:
            return False
        self._report("too many connections: the one that is silent for longest is closed")
        min(idle, key=lambda other: other.waiting_since or 0.0).drop()
        return True

    def drop(self) -> None:
        """Close at once and discard unsent data."""
        self.connections.discard(self)
        self.transport.abort()

    def _stop_sending(self) -> None:
        self._report("a client did not read its answer")
        self.drop()

    def _refuse(self, status: int, phrase: str, code: str, detail: str) -> None:
        """Send a problem document without the application, and close the connection."""
        problem = {"type": f"urn:anyseek:{code}", "title": phrase, "status": status, "detail": detail}
        body = json.dumps(problem).encode()
        head = (
            f"HTTP/1.1 {status} {phrase}\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
            "connection: close\r\nretry-after: 1\r\n\r\n"
        )
        self.connections.discard(self)
        self.transport.write(head.encode() + body)
        self.transport.close()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def limit_accept_errors(loop: asyncio.AbstractEventLoop) -> None:
    """Log failures to accept connections at most once per interval: the loop retries for each waiting connection."""
    report = RateLimitedLog()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if isinstance(context.get("exception"), OSError) and "accept" in context["message"]:
            report(f"no connection can be accepted: {context['exception'].strerror}")
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)
