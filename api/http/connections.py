"""Connections of clients that are slow, silent or too many: uvicorn's protocol with deadlines and a limit.

uvicorn itself waits for ever for the first request of a connection and for a client that does not read its answer, and
it counts connections only when their requests have come.
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

_REPORTED_SECONDS = 60.0
_OTHER_FILES, _FEWEST = 128, 16


class Reported:
    """Says what happens often once in a while, with how often it happened meanwhile."""

    def __init__(self, seconds: float = _REPORTED_SECONDS) -> None:
        self._seconds = seconds
        self._last: dict[str, float] = {}
        self._untold: dict[str, int] = {}

    def __call__(self, event: str) -> None:
        self._untold[event] = self._untold.get(event, 0) + 1
        if time.monotonic() - self._last.get(event, float("-inf")) >= self._seconds:
            logger.warning(event, extra={"fields": {"times": self._untold.pop(event)}})
            self._last[event] = time.monotonic()


def protocol(serving: Serving) -> type[asyncio.Protocol]:
    """The protocol that keeps the limits of `serving`, for uvicorn's `http`."""
    report = Reported()
    kept = replace(serving, connections=min(serving.connections, _openable()))

    class Guarded(GuardedConnection):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(kept, report, *args, **kwargs)

    return Guarded


def _openable() -> int:
    """How many connections leave the process some of the files that it may open."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(_FEWEST, most - _OTHER_FILES) if most != resource.RLIM_INFINITY else 1 << 20


class GuardedConnection(H11Protocol):
    """A connection whose next request must be whole in its head, and whose answer must be read, within a time."""

    def __init__(self, serving: Serving, report: Reported, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._serving, self._report = serving, report
        self._head_deadline: asyncio.TimerHandle | None = None
        self._send_deadline: asyncio.TimerHandle | None = None
        self.waits_since: float | None = None  # for the head of a request

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, PEER: self.client[0] if self.client else ""}
        if len(self.connections) > self._serving.connections and not self._make_room():
            self._report("too many connections: a new one is refused")
            self._refuse(503, "Service Unavailable", "busy", "too many connections; try again in a moment")
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._head_deadline)
        _cancel(self._send_deadline)
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        self._watch_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_head()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._send_deadline = self.loop.call_later(self._serving.send_seconds, self._stop_sending)

    def resume_writing(self) -> None:
        super().resume_writing()
        _cancel(self._send_deadline)

    def send_400_response(self, msg: str) -> None:
        """Also for a head above 16 KiB, which h11 reads no further."""
        self._refuse(400, "Bad Request", "bad-request", "this is not HTTP, or its headers are longer than 16 KiB")

    def _watch_head(self) -> None:
        """A request's head is awaited from the first byte, or from the end of the request before, until it is whole."""
        if self.conn.their_state is not h11.IDLE:
            _cancel(self._head_deadline)
            self._head_deadline = self.waits_since = None
        elif self.waits_since is None and not self.transport.is_closing():
            self._await_head()

    def _await_head(self) -> None:
        self.waits_since = self.loop.time()
        self._head_deadline = self.loop.call_later(self._serving.head_seconds, self._give_up)

    def _give_up(self) -> None:
        self._report("a connection sent no whole request in time")
        seconds = self._serving.head_seconds
        self._refuse(408, "Request Timeout", "request-timeout", f"no whole request came within {seconds:g} s")

    def _make_room(self) -> bool:
        """Close the connection that has waited longest for a request; false if all others have requests."""
        waiting = [
            other
            for other in self.connections
            if isinstance(other, GuardedConnection) and other.waits_since is not None and other is not self
        ]
        if not waiting:
            return False
        self._report("too many connections: the one that is silent for longest is closed")
        min(waiting, key=lambda other: other.waits_since or 0.0).drop()
        return True

    def drop(self) -> None:
        """Close at once, with what is not sent yet."""
        self.connections.discard(self)
        self.transport.abort()

    def _stop_sending(self) -> None:
        self._report("a client did not read its answer")
        self.drop()

    def _refuse(self, status: int, phrase: str, code: str, detail: str) -> None:
        """Answer without a request, in the same form as any error, and close."""
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


def report_rarely(loop: asyncio.AbstractEventLoop) -> None:
    """Have the loop say that connections cannot be accepted once in a while: it fails again for each that waits."""
    report = Reported()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if isinstance(context.get("exception"), OSError) and "accept" in context["message"]:
            report(f"no connection can be accepted: {context['exception'].strerror}")
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)
