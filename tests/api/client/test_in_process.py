"""`anyseek.connect()`: the methods, answers and errors of a service, over a data directory in this process."""

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import anyseek
from anyseek import ApiError, AsyncClient, BadInput, Client, Part, Refusal, ServiceUnreachable
from anyseek.api.service import Service
from anyseek.search.actor import current_actor
from tests.api.conftest import picture
from tests.indexer.pictures import png


@pytest.fixture
def local(shared_service: tuple[str, Service]) -> Iterator[Client]:
    """Another way to the collections of the shared service."""
    with anyseek.connect(shared_service[1].runtime.settings.home, model="hashing") as client:
        yield client


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Client]:
    """A data directory of its own, with an empty collection."""
    with anyseek.connect(tmp_path / "home", model="hashing") as client:
        client.create_collection("words")
        yield client


@pytest.mark.parametrize(
    "members",
    [
        {"parts": ["disc", {"text": "red", "weight": -1}], "k": 3},
        {"parts": Part(item="green box"), "vectors": True, "facets": ["colour"]},
        {"parts": "a green box", "where": "@key starts with red", "explain": 2},
    ],
)
def test_answers_are_those_of_a_service(
    shared_service: tuple[str, Service], local: Client, shapes: str, members: dict[str, Any]
) -> None:
    with Client(shared_service[0]) as client:
        assert client.query(shapes, **members) == local.query(shapes, **members)
        assert client.collection(shapes) == local.collection(shapes)
        assert list(client.items(shapes, 2)) == list(local.items(shapes, 2))


def test_errors_are_those_of_a_service(local: Client, shapes: str, tmp_path: Path) -> None:
    for ask, status, code in [
        (lambda: local.query("none", "a"), 404, "collection-not-found"),
        (lambda: local.get_item(shapes, "nobody"), 404, "item-not-found"),
        (lambda: local.query(shapes, "a", where="width >"), 422, "bad-filter"),
        (lambda: local.create_collection(shapes), 409, "collection-exists"),
    ]:
        with pytest.raises(ApiError) as caught:
            ask()
        assert (caught.value.status, caught.value.code) == (status, code)
        assert caught.value.type == f"urn:anyseek:{code}"
    found, refused = local.query_batch(shapes, ["a red disc", {"parts": []}])
    assert not isinstance(found, Refusal)
    assert isinstance(refused, Refusal)
    with pytest.raises(BadInput, match=r"gone\.png"):
        local.query(shapes, Part("rgb", file=tmp_path / "gone.png"))


def test_any_folder_is_indexed_and_watched_as_it_goes(own: Client, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        (tmp_path / "pictures" / f"{number}.png").write_bytes(png(number))
    job = own.index_folder("words", tmp_path / "pictures")
    *_, last = own.watch(job.id)
    assert (last.job.state, last.done, own.collection("words").items) == ("done", 3, 3)
    assert own.get_item("words", "0.png").path == str(tmp_path / "pictures" / "0.png")
    with pytest.raises(ApiError, match="no job"):
        list(own.watch(job.id + 1))


def test_the_audit_records_the_user_even_with_api_keys(own: Client, tmp_path: Path) -> None:
    from anyseek.api.http.security import Scope, create_key
    from anyseek.search.catalogue.upgrade import open_database
    from anyseek.search.settings import Settings

    database = open_database(Settings(tmp_path / "home"))
    create_key(database, "reader", Scope.READ)
    own.put_item("words", "a", caption="a")
    answer = own._http.get("/v1/audit?action=item.put").json()["entries"]
    assert [entry["who"] for entry in answer] == [current_actor().who]
    database.close()


def test_a_collection_is_searched_with_its_own_model(
    own: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.put_item("words", "a", caption="a red disc")
    own.close()
    monkeypatch.setenv("ANYSEEK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ANYSEEK_MODEL", "4m-tiny")
    with anyseek.connect() as client:
        assert client.query("words", "a red disc").hits[0].key == "a"


def test_the_asynchronous_client_is_the_same(own: Client, tmp_path: Path) -> None:
    own.put_item("words", "a", caption="a red disc")
    own.put_item("words", "b", caption="a box")

    async def ask() -> list[Any]:
        async with AsyncClient(tmp_path / "home", model="hashing") as client:
            several = await asyncio.gather(*(client.query("words", "a box", k=1) for _ in range(8)))
            with pytest.raises(ApiError, match="no collection"):
                await client.collection("none")
            return [
                *{results.hits[0].key for results in several},
                *[item.key async for item in client.items("words", 1)],
            ]

    assert asyncio.run(ask()) == ["b", "a", "b"]


def test_garbage_collection_and_exit_close_the_data_directory(tmp_path: Path) -> None:
    client = anyseek.connect(tmp_path, model="hashing")
    assert [thread.name for thread in threading.enumerate()].count("anyseek") == 1
    del client
    gc.collect()
    assert "anyseek" not in [thread.name for thread in threading.enumerate()]
    (tmp_path / "pictures").mkdir()
    for number in range(100):
        (tmp_path / "pictures" / f"{number}.png").write_bytes(png(number))
    program = (
        "import anyseek, sys; client = anyseek.connect(sys.argv[1], model='hashing'); client.create_collection('a')\n"
        "job = client.index_folder('a', sys.argv[1] + '/pictures')"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout, done.stderr) == ("", "")
    with anyseek.connect(tmp_path, model="hashing") as client:
        assert [job.error for job in client.jobs()] == [None]


def test_a_notebook_shows_thumbnails(own: Client) -> None:
    own.put_item("words", "<b>", {"rgb": picture("red", "disc")}, "a red disc")
    own.put_item("words", "words alone", caption="a red disc")
    shown = own.query("words", "a red disc")._repr_html_()
    assert shown.count("<figure") == 2
    assert shown.count("<img") == 1
    assert "&lt;b&gt;" in shown


@pytest.mark.parametrize("location", ["localhost:8765", "ftp://x"])
def test_what_is_neither_a_folder_nor_a_service_is_refused(location: str) -> None:
    with pytest.raises(ServiceUnreachable, match="http://127"):
        anyseek.connect(location)
