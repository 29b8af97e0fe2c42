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
    response_error,
    service_options,
    translate_errors,
)
from anyseek.api.client.client import Client
from anyseek.api.client.connection import POLL_SECONDS
from anyseek.api.client.notebook import NotebookResults
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
        return NotebookResults.of(results, None)  # a notebook does not await thumbnails


class _LoopSender(_CallRecorder):
    """A client whose methods run in a worker thread and send on the event loop."""

    def __init__(self, send: Callable[[Call[Any]], Coroutine[Any, Any, Any]]) -> None:
        self._send_on_loop = send

    def _send(self, call: Call[T]) -> T:
        return cast(T, from_thread.run(self._send_on_loop, call))


def _as_coroutine(
    method: Callable[Concatenate[Client, P], T],
) -> Callable[Concatenate["AsyncClient", P], Coroutine[Any, Any, T]]:
    """The asynchronous version of a method that sends one call, which a thread builds, since it may read files."""

    @wraps(method)
    async def send_call(client: "AsyncClient", *args: P.args, **kwargs: P.kwargs) -> T:
        call = await to_thread.run_sync(partial(method, _CallRecorder(), *args, **kwargs))
        return await client._send(cast(Call[T], call))

    return send_call  # type: ignore[return-value]  # mypy does not take a wrapped function for one


def _as_async_iterator(
    method: Callable[Concatenate[Client, P], Iterator[T]],
) -> Callable[Concatenate["AsyncClient", P], AsyncIterator[T]]:
    """The asynchronous version of a method that sends calls while it is iterated over."""

    @wraps(method)
    async def iterate(client: "AsyncClient", *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        values = method(_LoopSender(client._send), *args, **kwargs)
        while (value := await to_thread.run_sync(next, values, _END)) is not _END:
            yield cast(T, value)

    return iterate  # type: ignore[return-value]


class AsyncClient:
    """A data directory opened in this process, or a service, for asyncio and trio.

        async with anyseek.AsyncClient("http://127.0.0.1:8765") as client:
            results = await client.query("photos", "a red bicycle")

    It has the parameters and methods of `Client`. The methods are awaited, and those that return an iterator are used
    with `async for`.
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
        """Close the connections, and the data directory if it is open in this process, as leaving `async with` does."""
        await self._http.aclose()

    query = _as_coroutine(Client.query)
    query_pages = _as_async_iterator(Client.query_pages)
    query_batch = _as_coroutine(Client.query_batch)
    predict = _as_coroutine(Client.predict)
    collections = _as_coroutine(Client.collections)
    collection = _as_coroutine(Client.collection)
    create_collection = _as_coroutine(Client.create_collection)
    delete_collection = _as_coroutine(Client.delete_collection)
    reembed = _as_coroutine(Client.reembed)
    rollback = _as_coroutine(Client.rollback)
    switch = _as_coroutine(Client.switch)
    forget_old = _as_coroutine(Client.forget_old)
    tune = _as_coroutine(Client.tune)
    reset_tuning = _as_coroutine(Client.reset_tuning)
    facets = _as_coroutine(Client.facets)
    teach = _as_coroutine(Client.teach)
    taught_facets = _as_coroutine(Client.taught_facets)
    suggest_examples = _as_coroutine(Client.suggest_examples)
    explain_taught = _as_coroutine(Client.explain_taught)
    forget_taught = _as_coroutine(Client.forget_taught)
    duplicates = _as_coroutine(Client.duplicates)
    map = _as_coroutine(Client.map)
    items = _as_async_iterator(Client.items)
    get_item = _as_coroutine(Client.get_item)
    put_item = _as_coroutine(Client.put_item)
    patch_item = _as_coroutine(Client.patch_item)
    delete_item = _as_coroutine(Client.delete_item)
    asset = _as_coroutine(Client.asset)
    thumbnail = _as_coroutine(Client.thumbnail)
    index_folder = _as_coroutine(Client.index_folder)
    jobs = _as_coroutine(Client.jobs)
    job = _as_coroutine(Client.job)
    job_failures = _as_coroutine(Client.job_failures)
    cancel_job = _as_coroutine(Client.cancel_job)
    retry_job = _as_coroutine(Client.retry_job)
    models = _as_coroutine(Client.models)
    quota = _as_coroutine(Client.quota)

    async def watch(self, number: int) -> AsyncIterator["JobEvent"]:
        """Iterate over the progress of a job, a new value whenever it changes, until it ends."""
        events = EventReader()
        with translate_errors(self.url):
            async with self._http.stream("GET", events_path(number)) as response:
                if not response.is_success:
                    await response.aread()
                    raise response_error(response)
                async for line in response.aiter_lines():
                    for name, members in events.read(line):
                        yield answers.JobEvent.model_validate(members)
                        if name == "end":
                            return
        raise ServiceUnreachable(f"{self.url} stopped reporting the progress of job {number}")

    async def wait_until_ready(self, seconds: float) -> None:
        """Wait until the model is loaded. Raises `ApiError` if it cannot be loaded, or not within `seconds`."""
        remaining = seconds
        while True:
            try:
                return await self._send_once(Call("GET", "/readyz", no_body))
            except ApiError as error:
                if error.code != NOT_READY or remaining <= 0:
                    raise
            await sleep(POLL_SECONDS)
            remaining -= POLL_SECONDS

    async def _send(self, call: Call[T]) -> T:
        try:
            return await self._send_once(call)
        except ApiError as error:
            if error.code != NOT_READY or not self._patience:
                raise
        await self.wait_until_ready(self._patience)
        return await self._send_once(call)

    async def _send_once(self, call: Call[T]) -> T:
        with translate_errors(self.url):
            response = await self._http.request(call.method, call.path, **call.options)
        return call.answer(response)
