"""`AsyncClient` gives what `Client` does: the same verbs, answers and refusals."""

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from anyseek import ApiError, AsyncClient, Client, Job, JobEvent, Part, ServiceUnreachable
from anyseek.api.service import Service
from tests.api.conftest import StartService, picture
from tests.indexer.pictures import png


def _run(url: str, use: Callable[[AsyncClient], Coroutine[Any, Any, Any]], **how: Any) -> Any:
    async def run() -> Any:
        async with AsyncClient(url, **how) as client:
            return await use(client)

    return asyncio.run(run())


def _verbs(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_both_clients_have_the_same_verbs_with_the_same_parameters() -> None:
    assert _verbs(Client) == _verbs(AsyncClient)
    for name in _verbs(Client):
        here, there = getattr(Client, name), getattr(AsyncClient, name)
        assert list(inspect.signature(here).parameters) == list(inspect.signature(there).parameters)
        assert here.__doc__, name


def test_both_find_the_same(shared_service: tuple[str, Service], shapes: str, tmp_path: Path) -> None:
    url, _ = shared_service
    file = tmp_path / "red.png"
    file.write_bytes(picture("red", "disc"))
    parts = ["a red disc", Part("rgb", file=file, weight=0.5), {"item": "red disc"}]
    queries = [{"parts": [{"text": "blue bar"}], "k": 1}, {"parts": []}]
    with Client(url) as client:
        expected: list[Any] = [
            client.query(shapes, parts, k=3),
            client.query_batch(shapes, queries),
            client.collection(shapes),
            client.collections(),
            client.models(),
            client.get_item(shapes, "red disc"),
            client.thumbnail(shapes, "red disc"),
            list(client.items(shapes, page_size=4)),
        ]

    async def ask(client: AsyncClient) -> list[Any]:
        return [
            await client.query(shapes, parts, k=3),
            await client.query_batch(shapes, queries),
            await client.collection(shapes),
            await client.collections(),
            await client.models(),
            await client.get_item(shapes, "red disc"),
            await client.thumbnail(shapes, "red disc"),
            [item async for item in client.items(shapes, page_size=4)],
        ]

    assert _run(url, ask) == expected
    assert len(expected[-1]) == 9


def test_items_are_put_and_jobs_watched(shared_service: tuple[str, Service], collection: str, root: Path) -> None:
    folder = root / "async"
    folder.mkdir(exist_ok=True)
    for number in range(5):
        (folder / f"{number}.png").write_bytes(png(number))

    async def use(client: AsyncClient) -> list[Any]:
        put = await client.put_item(collection, "a/ü", {"rgb": picture("red", "box")}, "a box", {"n": 1})
        assert await client.get_item(collection, "a/ü") == put
        await client.delete_item(collection, "a/ü")
        job = await client.index_folder(collection, str(folder))
        seen = [event async for event in client.watch(job.id)]
        assert (await client.job(job.id))["state"] == "done"
        assert await client.job_failures(job.id) == []
        with pytest.raises(ApiError, match="no job"):
            _ = [event async for event in client.watch(99_999)]
        return seen

    last = _run(shared_service[0], use)[-1]
    assert (last["job"]["state"], last["done"]) == ("done", 5)


def test_many_queries_at_once(shared_service: tuple[str, Service], shapes: str) -> None:
    async def ask(client: AsyncClient) -> list[Any]:
        return await asyncio.gather(*(client.query(shapes, "a red disc", k=1) for _ in range(20)))

    assert {results.hits[0].key for results in _run(shared_service[0], ask)} == {"red disc"}


def test_refusals_and_unreachable_services(shared_service: tuple[str, Service], tmp_path: Path) -> None:
    with pytest.raises(ApiError, match="no collection called 'none'") as caught:
        _run(shared_service[0], lambda client: client.query("none", "a"))
    assert (caught.value.status, caught.value.type) == (404, "urn:anyseek:collection-not-found")
    with pytest.raises(ServiceUnreachable, match=r"127\.0\.0\.1:9"):
        _run("http://127.0.0.1:9", lambda client: client.models())
    with pytest.raises(ServiceUnreachable, match="ftp"):
        AsyncClient("ftp://x")


def test_it_waits_for_a_service_that_loads_its_model(start_service: StartService) -> None:
    url, service = start_service(lifespan="off")
    with pytest.raises(ApiError, match="still being loaded"):
        _run(url, lambda client: client.models())
    threading.Timer(0.3, service.start).start()
    assert _run(url, lambda client: client.models(), patience=20)[0]["name"] == "hashing"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_stream_that_stops_before_its_end_is_told(asynchronous: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    counts = dict.fromkeys(("indexed", "unchanged", "quarantined", "skipped", "open", "ignored", "pruned"), 0)
    members = {"folder": "/a", "error": None, "created_at": now, "ended_at": None, "seconds_left": None}
    job = Job(id=7, kind="index", collection="a", state="running", **members, **counts)
    event = JobEvent(job=job, done=1, quarantined=0, rate=None, seconds_left=None)

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text=f"event: progress\ndata: {event.model_dump_json()}\n\n: nothing new\n\n")

    seen: list[Any] = []

    async def watch() -> None:
        client = AsyncClient("http://x")
        client._http = httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://x")
        async for event in client.watch(7):
            seen.append(event)

    def watch_here() -> None:
        client = Client("http://x")
        client._http = httpx.Client(transport=httpx.MockTransport(answer), base_url="http://x")
        for event in client.watch(7):
            seen.append(event)

    with pytest.raises(ServiceUnreachable, match="stopped reporting the progress of job 7"):
        asyncio.run(watch()) if asynchronous else watch_here()
    assert seen == [event]
