"""Clients of the service, with the words of its API: `Client`, and `AsyncClient` for asyncio and trio.

with Client("http://127.0.0.1:8765") as client:
    results = client.query("photos", ["a red bicycle", Part("sketch", file=Path("bike.png"))])

async with AsyncClient("http://127.0.0.1:8765") as client:
    results = await client.query("photos", "a red bicycle")
"""

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, partial, wraps
from inspect import Parameter, signature
from types import TracebackType
from typing import Any, Generic, ParamSpec, TypeVar, Unpack, overload
from urllib.parse import urlsplit

import httpx

from anyseek.api.client import calls
from anyseek.api.client.calls import Call
from anyseek.api.errors import ApiError, ServiceUnreachable
from anyseek.api.queries.wire import DEFAULT_HITS, More, Parts, Rest, Results, parts_of
from anyseek.model.spelling import unknown

P = ParamSpec("P")
T = TypeVar("T")

NOT_READY = "urn:anyseek:not-ready"
_LOOK_SECONDS = 0.1


class _Verb(Generic[P, T]):
    """A method of both clients for one call of `api.calls`: `Client` returns its answer, `AsyncClient` awaits it."""

    def __init__(self, make: Callable[P, Call[T]]) -> None:
        self._make = make

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @cached_property
    def _keywords(self) -> set[str]:
        """Every keyword that the method takes, the members of a query included."""
        parameters = signature(self._make).parameters.values()
        names = {parameter.name for parameter in parameters if parameter.kind is not Parameter.VAR_KEYWORD}
        takes_members = len(names) < len(parameters)
        return names | (set(More.__annotations__) if takes_members else set())

    def _check(self, given: Mapping[str, Any]) -> None:
        """Raise `TypeError` for an unknown keyword; its message names the method and the nearest keyword."""
        for keyword in given.keys() - self._keywords:
            raise TypeError(f"{self._name}(): {unknown('keyword', keyword, sorted(self._keywords))}")

    @overload
    def __get__(self, client: "Client", owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: "AsyncClient", owner: type) -> Callable[P, Awaitable[T]]: ...
    @overload
    def __get__(self, client: None, owner: type) -> Callable[P, Call[T]]: ...
    def __get__(self, client: "Client | AsyncClient | None", owner: type) -> Callable[P, Any]:
        make = self._make
        if client is None:
            return make  # so that `help` shows its parameters and what it does
        ask = client.ask

        @wraps(make)
        def verb(*args: P.args, **kwargs: P.kwargs) -> Any:
            self._check(kwargs)
            return ask(lambda: make(*args, **kwargs))

        return verb


class _EventReader:
    """Parser of server-sent events: an `event:` line, a `data:` line of JSON, an empty line. Comments are skipped."""

    def __init__(self) -> None:
        self._name = ""

    def read(self, line: str) -> Iterator[tuple[str, Any]]:
        """The (name, data) of the event that `line` completes, if it does."""
        field, _, value = line.partition(": ")
        if field == "event":
            self._name = value
        elif field == "data":
            yield self._name, json.loads(value)


class _Service:
    """One service, with a method for every request that it takes.

    Every verb is declared to return a `Call[T]`: `Client` returns the T, `AsyncClient` returns it when awaited. Every
    verb raises `ApiError` if the service refuses, and `ServiceUnreachable` if nobody answers.

    `timeout`: seconds to wait for an answer. `patience`: seconds that a request waits for a service that is still
    loading its model.
    """

    def __init__(self, url: str, api_key: str | None = None, timeout: float = 120.0, patience: float = 0.0) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise ServiceUnreachable(f"{url!r} is not the address of a service, such as http://127.0.0.1:8765")
        self.url = url.rstrip("/")
        self._patience = patience
        # Certificates take 20 ms to load, and proxies are for other machines.
        local = urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
        self._transport: dict[str, Any] = {
            "base_url": self.url,
            "headers": {"authorization": f"Bearer {api_key}"} if api_key else {},
            "timeout": httpx.Timeout(timeout, connect=5.0),
            "verify": url.startswith("https:"),
            "trust_env": not local,
        }

    query = _Verb(calls.query)
    query_batch = _Verb(calls.query_batch)
    predict = _Verb(calls.predict)
    collections = _Verb(calls.collections)
    collection = _Verb(calls.collection)
    create_collection = _Verb(calls.create_collection)
    delete_collection = _Verb(calls.delete_collection)
    reembed = _Verb(calls.reembed)
    rollback = _Verb(calls.rollback)
    switch = _Verb(calls.switch)
    forget_old = _Verb(calls.forget_old)
    tune = _Verb(calls.tune)
    reset_tuning = _Verb(calls.reset_tuning)
    duplicates = _Verb(calls.duplicates)
    map = _Verb(calls.map_of)
    put_item = _Verb(calls.put_item)
    patch_item = _Verb(calls.patch_item)
    get_item = _Verb(calls.get_item)
    delete_item = _Verb(calls.delete_item)
    facets = _Verb(calls.facets)
    asset = _Verb(calls.asset)
    thumbnail = _Verb(calls.thumbnail)
    index_folder = _Verb(calls.index_folder)
    jobs = _Verb(calls.jobs)
    job = _Verb(calls.job)
    job_failures = _Verb(calls.job_failures)
    cancel_job = _Verb(calls.cancel_job)
    retry_job = _Verb(calls.retry_job)
    models = _Verb(calls.models)
    quota = _Verb(calls.quota)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Turn failures to connect into `ServiceUnreachable`."""
        try:
            yield
        except httpx.TimeoutException as error:
            raise ServiceUnreachable(f"the service at {self.url} did not answer in time") from error
        except httpx.TransportError as error:
            raise ServiceUnreachable(f"nothing answers at {self.url}: {error}") from error

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """Turn a stream of events that broke off into a client error."""
        try:
            yield
        except httpx.TransportError as error:
            raise ServiceUnreachable(f"the service at {self.url} is gone: {error}") from error

    def _stopped_telling(self, number: int) -> ServiceUnreachable:
        return ServiceUnreachable(f"the service at {self.url} stopped reporting the progress of job {number}")

    def _must_wait(self, error: ApiError, ends: float) -> bool:
        return error.type == NOT_READY and time.monotonic() <= ends


class Client(_Service):
    __doc__ = _Service.__doc__

    def __init__(self, url: str, api_key: str | None = None, timeout: float = 120.0, patience: float = 0.0) -> None:
        super().__init__(url, api_key, timeout, patience)
        self._http = httpx.Client(**self._transport)

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections; leaving the `with` block does this too."""
        self._http.close()

    def ask(self, make: Callable[[], Call[T]]) -> T:
        """Send a call and read its answer, as every verb does."""
        call = make()
        try:
            return self._send(call)
        except ApiError as error:
            if error.type != NOT_READY or not self._patience:
                raise
        self.wait_until_ready(self._patience)
        return self._send(call)

    def wait_until_ready(self, seconds: float) -> None:
        """Return once the model is loaded. Raises `ApiError` if it cannot be, or is not in time."""
        ends = time.monotonic() + seconds
        while True:
            try:
                return self._send(calls.ready())
            except ApiError as error:
                if not self._must_wait(error, ends):
                    raise
            time.sleep(_LOOK_SECONDS)

    def query_pages(
        self, collection: str, parts: Parts, k: int = DEFAULT_HITS, **more: Unpack[Rest]
    ) -> Iterator[Results]:
        """The pages of a query, `k` hits each, up to 10,000 hits; no hit comes twice, whatever is written meanwhile.

        Takes what `query` takes.
        """
        given = parts_of(parts)
        while True:
            results = self.ask(partial(calls.query, collection, given, k, **more))
            yield results
            if results.next is None:
                return
            more = {**more, "cursor": results.next}

    def items(self, collection: str, page_size: int = 500, where: str | None = None) -> Iterator[dict[str, Any]]:
        """Every item by key, or those that pass the filter `where`, asked for page by page."""
        after: str | None = None
        while True:
            page = self.ask(partial(calls.items_page, collection, page_size, after, where))
            yield from page["items"]
            after = page["next"]
            if after is None:
                return

    def watch(self, number: int) -> Iterator[dict[str, Any]]:
        """How far a job is (`job`, `done`, `quarantined`, `rate`, `seconds_left`) whenever that changes, to its end."""
        call, events = calls.job_events(number), _EventReader()
        with self._watching(), self._http.stream(call.method, call.path) as response:
            if not response.is_success:
                response.read()
                raise calls.refusal(response)
            for line in response.iter_lines():
                for name, members in events.read(line):
                    yield members
                    if name == "end":
                        return
        raise self._stopped_telling(number)

    def _send(self, call: Call[T]) -> T:
        with self._reaching():
            response = self._http.request(call.method, call.path, **call.options)
        return call.answer(response)


class AsyncClient(_Service):
    __doc__ = _Service.__doc__

    def __init__(self, url: str, api_key: str | None = None, timeout: float = 120.0, patience: float = 0.0) -> None:
        super().__init__(url, api_key, timeout, patience)
        self._http = httpx.AsyncClient(**self._transport)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close its connections; leaving the `async with` block does this too."""
        await self._http.aclose()

    async def ask(self, make: Callable[[], Call[T]]) -> T:
        """Send a call and read its answer, as every verb does; files are read in a thread."""
        from anyio import to_thread  # imported here, so that commands start faster

        call = await to_thread.run_sync(make)
        try:
            return await self._send(call)
        except ApiError as error:
            if error.type != NOT_READY or not self._patience:
                raise
        await self.wait_until_ready(self._patience)
        return await self._send(call)

    async def wait_until_ready(self, seconds: float) -> None:
        """Return once the model is loaded. Raises `ApiError` if it cannot be, or is not in time."""
        from anyio import sleep

        ends = time.monotonic() + seconds
        while True:
            try:
                return await self._send(calls.ready())
            except ApiError as error:
                if not self._must_wait(error, ends):
                    raise
            await sleep(_LOOK_SECONDS)

    async def query_pages(
        self, collection: str, parts: Parts, k: int = DEFAULT_HITS, **more: Unpack[Rest]
    ) -> AsyncIterator[Results]:
        """The pages of a query, `k` hits each, up to 10,000 hits; no hit comes twice, whatever is written meanwhile.

        Takes what `query` takes.
        """
        given = parts_of(parts)
        while True:
            results = await self.ask(partial(calls.query, collection, given, k, **more))
            yield results
            if results.next is None:
                return
            more = {**more, "cursor": results.next}

    async def items(
        self, collection: str, page_size: int = 500, where: str | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """Every item by key, or those that pass the filter `where`, asked for page by page."""
        after: str | None = None
        while True:
            page = await self.ask(partial(calls.items_page, collection, page_size, after, where))
            for item in page["items"]:
                yield item
            after = page["next"]
            if after is None:
                return

    async def watch(self, number: int) -> AsyncIterator[dict[str, Any]]:
        """How far a job is (`job`, `done`, `quarantined`, `rate`, `seconds_left`) whenever that changes, to its end."""
        call, events = calls.job_events(number), _EventReader()
        with self._watching():
            async with self._http.stream(call.method, call.path) as response:
                if not response.is_success:
                    await response.aread()
                    raise calls.refusal(response)
                async for line in response.aiter_lines():
                    for name, members in events.read(line):
                        yield members
                        if name == "end":
                            return
        raise self._stopped_telling(number)

    async def _send(self, call: Call[T]) -> T:
        with self._reaching():
            response = await self._http.request(call.method, call.path, **call.options)
        return call.answer(response)
