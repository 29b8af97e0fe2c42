"""`AsyncClient`: the methods of `Client` for asyncio and trio."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from functools import partial, wraps
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

import httpx
from anyio import from_thread, sleep, to_thread

from anyseek.api.client import answers
from anyseek.api.client.calls import (
    NOT_READY,
    Call,
    EventReader,
    events_path,
    is_address,
    no_body,
    refusal,
    service_options,
    translated_errors,
)
from anyseek.api.client.client import Client
from anyseek.api.client.connection import POLL_SECONDS
from anyseek.api.client.notebook import ShownResults
from anyseek.api.errors import ApiError, ServiceUnreachable

if TYPE_CHECKING:
    from anyseek.api.client.answers import JobEvent
    from anyseek.search.answers.results import Results

P = ParamSpec("P")
T = TypeVar("T")

_END = object()


class _CallRecorder(Client):
    """A client whose methods return their `Call` instead of sending it."""

    def __init__(self) -> None:
        pass

    def _send(self, call: Call[T]) -> T:
        return cast(T, call)

    def _for_notebook(self, collection: str | Sequence[str], results: "Results") -> "Results":
        return ShownResults.of(results, None)  # a notebook does not await thumbnails


class _LoopSender(_CallRecorder):
    """A client whose methods, called in a thread, send by the event loop that waits for it."""

    def __init__(self, send: Callable[[Call[Any]], Coroutine[Any, Any, Any]]) -> None:
        self._by_loop = send

    def _send(self, call: Call[T]) -> T:
        return cast(T, from_thread.run(self._by_loop, call))


def _awaited(
    method: Callable[Concatenate[Client, P], T],
) -> Callable[Concatenate["AsyncClient", P], Coroutine[Any, Any, T]]:
    """The asynchronous twin of a method that sends one call. The call is made in a thread, since it may read files."""

    @wraps(method)
    async def awaited(client: "AsyncClient", *args: P.args, **kwargs: P.kwargs) -> T:
        call = await to_thread.run_sync(partial(method, _CallRecorder(), *args, **kwargs))
        return await client._send(cast(Call[T], call))

    return awaited  # type: ignore[return-value]  # mypy does not take a wrapped function for one


def _iterated(
    method: Callable[Concatenate[Client, P], Iterator[T]],
) -> Callable[Concatenate["AsyncClient", P], AsyncIterator[T]]:
    """The asynchronous twin of a method that sends calls as it is iterated over."""

    @wraps(method)
    async def iterated(client: "AsyncClient", *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        values = method(_LoopSender(client._send), *args, **kwargs)
        while (value := await to_thread.run_sync(next, values, _END)) is not _END:
            yield cast(T, value)

    return iterated  # type: ignore[return-value]


class AsyncClient:
    """A data directory opened in this process, or a service, for asyncio and trio.

        async with anyseek.AsyncClient("http://127.0.0.1:8765") as client:
            results = await client.query("photos", "a red bicycle")

    It is made like `Client` and has the same methods, which are awaited; those that iterate are iterated over with
    `async for`.
    """

    def __init__(
        self,
        location: str | Path | None = None,
        key: str | None = None,
        timeout: float = 120.0,
        patience: float = 0.0,
        *,
        model: str | None = None,
    ) -> None:
        self._patience = patience
        if is_address(location):
            self.url = str(location).rstrip("/")
            self._http = httpx.AsyncClient(**service_options(self.url, key, timeout))
        else:
            from anyseek.api.client.in_process import AsyncInProcess, InProcess  # imports the service

            transport = InProcess(None if location is None else Path(location), model)
            self.url = str(transport.home)
            self._http = httpx.AsyncClient(transport=AsyncInProcess(transport), base_url="http://in-process")

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close its connections, and what is open in this process; leaving the `async with` block does this too."""
        await self._http.aclose()

    query = _awaited(Client.query)
    query_pages = _iterated(Client.query_pages)
    query_batch = _awaited(Client.query_batch)
    predict = _awaited(Client.predict)
    collections = _awaited(Client.collections)
    collection = _awaited(Client.collection)
    create_collection = _awaited(Client.create_collection)
    delete_collection = _awaited(Client.delete_collection)
    reembed = _awaited(Client.reembed)
    rollback = _awaited(Client.rollback)
    switch = _awaited(Client.switch)
    forget_old = _awaited(Client.forget_old)
    tune = _awaited(Client.tune)
    reset_tuning = _awaited(Client.reset_tuning)
    facets = _awaited(Client.facets)
    duplicates = _awaited(Client.duplicates)
    map = _awaited(Client.map)
    items = _iterated(Client.items)
    get_item = _awaited(Client.get_item)
    put_item = _awaited(Client.put_item)
    patch_item = _awaited(Client.patch_item)
    delete_item = _awaited(Client.delete_item)
    asset = _awaited(Client.asset)
    thumbnail = _awaited(Client.thumbnail)
    index_folder = _awaited(Client.index_folder)
    jobs = _awaited(Client.jobs)
    job = _awaited(Client.job)
    job_failures = _awaited(Client.job_failures)
    cancel_job = _awaited(Client.cancel_job)
    retry_job = _awaited(Client.retry_job)
    models = _awaited(Client.models)
    quota = _awaited(Client.quota)

    async def watch(self, number: int) -> AsyncIterator["JobEvent"]:
        """Iterate over the progress of a job, a new value whenever it changes, until it ends."""
        events = EventReader()
        with translated_errors(self.url):
            async with self._http.stream("GET", events_path(number)) as response:
                if not response.is_success:
                    await response.aread()
                    raise refusal(response)
                async for line in response.aiter_lines():
                    for name, members in events.read(line):
                        yield answers.JobEvent.model_validate(members)
                        if name == "end":
                            return
        raise ServiceUnreachable(f"{self.url} stopped reporting the progress of job {number}")

    async def wait_until_ready(self, seconds: float) -> None:
        """Return once the model is loaded. Raises `ApiError` if it cannot be, or is not in time."""
        left = seconds
        while True:
            try:
                return await self._send_once(Call("GET", "/readyz", no_body))
            except ApiError as error:
                if error.code != NOT_READY or left <= 0:
                    raise
            await sleep(POLL_SECONDS)
            left -= POLL_SECONDS

    async def _send(self, call: Call[T]) -> T:
        try:
            return await self._send_once(call)
        except ApiError as error:
            if error.code != NOT_READY or not self._patience:
                raise
        await self.wait_until_ready(self._patience)
        return await self._send_once(call)

    async def _send_once(self, call: Call[T]) -> T:
        with translated_errors(self.url):
            response = await self._http.request(call.method, call.path, **call.options)
        return call.answer(response)
