"""Clients that leave before they are answered: what is done for them is given up at its next stage.

An answer is a query's hits or an item's row, whole or not at all: no stage is broken off, and nothing is half-written.
"""

import asyncio

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from anyseek.model.modalities.reading.budget import Budget, RequestAbandoned

LEFT = 499  # the status in logs and metrics, as in nginx's; nobody is sent it


class Watched:
    """The messages of one request, of which the last is watched for once its body is whole."""

    def __init__(self, receive: Receive, send: Send, budget: Budget) -> None:
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
            self._watch = asyncio.create_task(self._await_leaving())
        return message

    async def send(self, message: Message) -> None:
        self.is_answered = True
        await self._send(message)

    def end(self) -> None:
        """Watch no longer, as the request is answered."""
        if self._watch is not None:
            self._watch.cancel()

    async def _await_leaving(self) -> None:
        """Abandon the work when the client leaves."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone.set()
        self._budget.abandon()


async def answer_while_connected(app: ASGIApp, scope: Scope, receive: Receive, send: Send, budget: Budget) -> None:
    """Have the request answered, for as long as its client waits."""
    watched = Watched(receive, send, budget)
    try:
        await app(scope, watched.receive, watched.send)
    except (RequestAbandoned, ClientDisconnect):
        if not watched.is_answered:
            await Response(status_code=LEFT)(scope, receive, send)
    finally:
        watched.end()
