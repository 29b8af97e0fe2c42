from collections.abc import Iterator
from dataclasses import fields
from inspect import signature
from pathlib import Path

import pytest

from anyseek import ApiError, Client, Part, Query, Results, ServiceUnreachable
from anyseek.api.service import Service
from anyseek.model.modalities.reading.errors import BadText
from anyseek.search.errors import BadQuery
from tests.api.conftest import picture


@pytest.fixture
def client(shared_service: tuple[str, Service]) -> Iterator[Client]:
    with Client(shared_service[0]) as client:
        yield client


def test_a_query_takes_every_member_as_a_keyword() -> None:
    assert {member.name for member in fields(Query)} == set(signature(Client.query).parameters) - {"self", "collection"}


def test_parts_of_every_kind_are_sent(client: Client, shapes: str, tmp_path: Path) -> None:
    file = tmp_path / "red.png"
    file.write_bytes(picture("red", "disc"))
    parts = [
        Part("rgb", file=file),
        Part("rgb", data=picture("red", "disc"), weight=0.5),
        Part("caption", text="a red disc"),
        Part("color_palette", data=["#d92d2d"]),
        Part(item="red disc"),
        Part("caption", text="blue", weight=-0.2),
    ]
    results = client.query(shapes, parts, k=2)
    assert results.space == "hashing"
    assert results.fusion == "late"
    assert client.query(shapes, [parts[0], parts[2]], fusion="joint").fusion == "joint"
    with pytest.raises(ApiError, match="two parts of rgb"):
        client.query(shapes, parts[:2], fusion="joint")
    assert [hit.rank for hit in results.hits] == [1, 2]
    best = results.hits[0]
    assert (best.key, best.caption, best.attributes["colour"]) == ("red disc", "a red disc", "red")
    assert best.assets == ("rgb", "thumbnail")


def test_an_item_goes_there_and_back(client: Client, collection: str, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(picture("red", "box"))
    put = client.put_item(collection, "a/ü", {"rgb": file}, "a box", {"n": [1, None]})
    assert client.get_item(collection, "a/ü") == put
    assert put.attributes["n"] == [1, None]
    assert client.asset(collection, "a/ü", "rgb") == file.read_bytes()
    assert client.thumbnail(collection, "a/ü")[:2] == b"\xff\xd8"
    client.put_item(collection, "b", {"rgb": str(file)})
    assert [item.key for item in client.items(collection)] == ["a/ü", "b"]
    client.delete_item(collection, "b")
    assert [item.key for item in client.items(collection)] == ["a/ü"]


def test_collections_models_and_jobs(client: Client, collection: str) -> None:
    assert collection in [row["name"] for row in client.collections()]
    assert client.collection(collection)["items"] == 0
    assert client.models()[0]["name"] == "hashing"
    assert isinstance(client.jobs(), list)
    for ask in (client.job, client.job_failures, client.cancel_job):
        with pytest.raises(ApiError) as caught:
            ask(99_999)
        assert caught.value.type == "urn:anyseek:job-not-found"
    with pytest.raises(ApiError, match="roots"):
        client.index_folder(collection, "/")
    client.delete_collection(collection)
    client.create_collection(collection)


def test_a_string_is_words_and_a_dict_is_a_part(client: Client, shapes: str) -> None:
    words = client.query(shapes, [Part("caption", text="a red disc")])
    for parts in ("a red disc", ["a red disc"], {"text": "a red disc"}, Part(text="a red disc")):
        assert client.query(shapes, parts) == words
    both = client.query(shapes, ["disc", {"modality": "color_palette", "text": "#d92d2d", "weight": 0.5}])
    assert both.hits[0].key == "red disc"
    with pytest.raises(BadQuery, match="unknown member `words`; it takes modality, text"):
        client.query(shapes, {"words": "a red disc"})


def test_the_text_in_a_file_is_sent_as_words(client: Client, shapes: str, tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("a red disc\n")
    assert client.query(shapes, [Part("caption", file=file)]) == client.query(shapes, "a red disc")
    file.write_bytes(b"\xff")
    with pytest.raises(BadText, match=r"words\.txt is not UTF-8"):
        client.query(shapes, [Part("caption", file=file)])


def test_an_unreachable_service(tmp_path: Path) -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(ServiceUnreachable, match=r"127\.0\.0\.1:9"):
        client.models()
    with pytest.raises(ServiceUnreachable, match="ftp"):
        Client("ftp://x")


def test_words_are_a_query_and_a_part(client: Client, shapes: str) -> None:
    wanted = client.query(shapes, "a red disc", k=10).hits
    brief = [(hit.key, hit.rank) for hit in wanted]
    given = ["a red disc", {"parts": "a red disc"}, {"parts": ["a red disc"]}, {"parts": {"text": "a red disc"}}]
    for answer in client.query_batch(shapes, given):
        assert isinstance(answer, Results)
        assert [(hit.key, hit.rank) for hit in answer.hits] == brief
    for wrong in (7, None, ["a red disc"]):
        with pytest.raises(BadQuery, match="a query must be words"):
            client.query_batch(shapes, [wrong])
    with pytest.raises(BadQuery, match="a part is words"):
        client.query(shapes, [7])
