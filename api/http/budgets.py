"""Request budgets, and clients that disconnect: their work is given up at its next stage.

An answer is a query's hits or an item's row, whole or not at all: no stage is interrupted, and nothing is half-written.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from anyseek.model.modalities.reading.budget import Budget, current_budget, spending
from anyseek.model.modalities.reading.decoders import Decoders, decoding_apart
from anyseek.search.settings import Limits

CLIENT_CLOSED_REQUEST = 499  # in logs and metrics, as nginx has it; no client receives it


class RequestAbandoned(Exception):
    """Nobody waits for the answer any more. No `AnyseekError`, since no sentence of it reaches anybody."""


class RequestBudget(Budget):
    """What the files of one request may cost together, and whether its client still waits for the answer."""

    def __init__(self, pixels: int, seconds: float) -> None:
        super().__init__(pixels, seconds)
        self._abandoned = threading.Event()
        self._when_abandoned: list[Callable[[], object]] = []

    def abandon(self) -> None:
        """The client has left; `check` says so from now on, in any thread."""
        self._abandoned.set()
        for call in self._when_abandoned:
            call()

    @contextmanager
    def calling(self, call: Callable[[], object]) -> Iterator[None]:
        """Have `abandon` call something if the client leaves during the block, on the event loop."""
        self._when_abandoned.append(call)
        try:
            yield
        finally:
            self._when_abandoned.remove(call)

    def check(self) -> None:
        """Raises `RequestAbandoned` once the client has left."""
        if self._abandoned.is_set():
            raise RequestAbandoned


def budget_of_request() -> RequestBudget | None:
    """The budget of the request that is answered here; None outside of requests."""
    budget = current_budget()
    return budget if isinstance(budget, RequestBudget) else None


class Budgeted:
    """ASGI middleware that gives each request a budget of pixels and seconds, abandoned when its client disconnects.

    Large pictures are decoded in other processes.
    """

    def __init__(self, app: ASGIApp, limits: Limits, decoders: Decoders | None) -> None:
        self.app = app
        self.limits = limits
        self.decoders = decoders

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        budget = RequestBudget(self.limits.pixels_per_request, self.limits.decoding_seconds)
        with spending(budget), decoding_apart(self.decoders):
            await _answer_while_connected(self.app, scope, receive, send, budget)


def allow_batch(limits: Limits) -> None:
    """Raise the budget of the current request to that of a batch of queries."""
    budget = budget_of_request()
    if budget is not None:
        budget.allow(limits.pixels_per_batch, limits.decoding_seconds_per_batch)


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


async def _answer_while_connected(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send, budget: RequestBudget
) -> None:
    """Answer the request unless its client disconnects first."""
    watch = _DisconnectWatch(receive, send, budget)
    try:
        await app(scope, watch.receive, watch.send)
    except (RequestAbandoned, ClientDisconnect):
        if not watch.is_answered:
            await Response(status_code=CLIENT_CLOSED_REQUEST)(scope, receive, send)
    finally:
        watch.end()
