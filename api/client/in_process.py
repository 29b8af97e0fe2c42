"""The service without a network: the same application over a data directory, in this process."""

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import httpx
from anyio import to_thread
from starlette.types import ASGIApp, Message

from anyseek.api.app import create_app
from anyseek.api.http.security import Scope
from anyseek.api.service import Service, ServiceSettings
from anyseek.model.compute.threads import prepare_process
from anyseek.search.settings import read_settings
from anyseek.workers.runtime import Runtime

Messages = SimpleQueue[Message | BaseException]

_OPEN: "weakref.WeakSet[InProcess]" = weakref.WeakSet()


def _close_all() -> None:
    for transport in list(_OPEN):
        transport.close()


# Jobs must stop before Python refuses to start their threads, which is before it runs `atexit` callbacks.
threading._register_atexit(_close_all)  # type: ignore[attr-defined]


class InProcess(httpx.BaseTransport):
    """Sends the requests of an httpx client to the application, on an event loop in a thread of its own.

    Requests have the scope admin. `model` is the model of new collections. The transport is closed with the client,
    when the client is garbage-collected, or when the process ends. Raises `AnyseekError` or `ModelError` if the data
    directory cannot be opened.
    """

    def __init__(self, home: Path | None, model: str | None) -> None:
        settings = read_settings(os.environ if home is None else {**os.environ, "ANYSEEK_HOME": str(home)})
        prepare_process(settings.threads)
        self.runtime = Runtime.open(settings, model, loads_any=True)
        self.home = settings.home
        self._app = create_app(Service(self.runtime, ServiceSettings(in_process=True)))
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._loop.run_forever, name="anyseek", daemon=True)
        thread.start()
        lifespan = self._app.router.lifespan_context(self._app)
        asyncio.run_coroutine_threadsafe(lifespan.__aenter__(), self._loop).result()
        self._finalizer = weakref.finalize(self, _shut_down, lifespan, self._loop, thread, self.runtime)
        _OPEN.add(self)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        messages: Messages = SimpleQueue()
        request_task = _run_request(self._app, _scope(request), request.read(), messages)
        body = _Body(messages, asyncio.run_coroutine_threadsafe(request_task, self._loop))
        try:
            start = body.next()
        except BaseException:  # interrupted, too
            body.close()
            raise
        return httpx.Response(start["status"], headers=start["headers"], stream=body)

    def close(self) -> None:
        self._finalizer()


class AsyncInProcess(httpx.AsyncBaseTransport):
    """`InProcess` for an asynchronous client: a thread waits, because the application has its own event loop."""

    def __init__(self, transport: InProcess) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        response = await to_thread.run_sync(self._transport.handle_request, request, abandon_on_cancel=True)
        assert isinstance(response.stream, _Body)
        return httpx.Response(response.status_code, headers=response.headers, stream=_AsyncBody(response.stream))

    async def aclose(self) -> None:
        await to_thread.run_sync(self._transport.close)


class _Body(httpx.SyncByteStream):
    """A response body, streamed as the application sends it."""

    def __init__(self, messages: Messages, request_future: "Future[None]") -> None:
        self._messages, self._request_future = messages, request_future

    def next(self) -> Message:
        """The next message of the application. Raises the exception that it raised."""
        message = self._messages.get()
        if isinstance(message, BaseException):
            raise message
        return message

    def __iter__(self) -> Iterator[bytes]:
        more = True
        while more:
            message = self.next()
            more = message.get("more_body", False)
            yield message.get("body", b"")

    def close(self) -> None:
        self._request_future.cancel()


class _AsyncBody(httpx.AsyncByteStream):
    def __init__(self, body: _Body) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        blocks = iter(self._body)
        while (block := await to_thread.run_sync(next, blocks, None, abandon_on_cancel=True)) is not None:
            yield block

    async def aclose(self) -> None:
        self._body.close()


def _scope(request: httpx.Request) -> dict[str, Any]:
    url = request.url
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": url.path,
        "raw_path": url.raw_path.partition(b"?")[0],
        "query_string": url.query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": None,
        "server": (url.host, url.port),
        "state": {"granted": Scope.ADMIN, "key": None},
    }


async def _run_request(app: ASGIApp, scope: dict[str, Any], body: bytes, messages: Messages) -> None:
    """Run the application for one request; put its messages, or its exception, into the queue."""
    unread = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if not unread:
            await asyncio.Event().wait()  # a client that disconnects cancels this task
        return unread.pop()

    async def send(message: Message) -> None:
        messages.put(message)

    try:
        await app(scope, receive, send)
    except BaseException as error:
        messages.put(error)
        raise


def _shut_down(lifespan: Any, loop: asyncio.AbstractEventLoop, thread: threading.Thread, runtime: Runtime) -> None:
    if threading.current_thread() is thread:  # garbage-collected on the loop's thread, which cannot wait for itself
        threading.Thread(target=_shut_down, args=(lifespan, loop, thread, runtime)).start()
        return
    asyncio.run_coroutine_threadsafe(lifespan.__aexit__(None, None, None), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    runtime.close()
