"""The contract of whoever answers a command: a service over HTTP, or this process; the same hits, the same refusals."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anyseek import AnyseekError, Client, Part
from anyseek.api.client.local import LocalClient
from anyseek.api.errors import exit_code_of
from anyseek.api.service import Service

Picture = Callable[..., bytes]
Clients = tuple[Client, LocalClient]


@pytest.fixture
def clients(shared_service: tuple[str, Service]) -> Iterator[Clients]:
    """Two ways to the same collections; the second opens the data directory itself."""
    url, service = shared_service
    with Client(url) as client, LocalClient(service.runtime.settings, "hashing") as local:
        yield client, local


@pytest.fixture
def files(picture: Picture, tmp_path: Path) -> Path:
    """A folder with a picture, words, and what is neither."""
    (tmp_path / "red.png").write_bytes(picture("red", "disc"))
    (tmp_path / "words.txt").write_text("a red disc\n")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    return tmp_path


FOUND: list[Callable[[Path], dict[str, Any]]] = [
    lambda _: {"parts": "a red disc"},
    lambda _: {"parts": ["disc", {"text": "red", "weight": -1}], "k": 3},
    lambda files: {"parts": Part("rgb", file=files / "red.png"), "k": 2},
    lambda files: {"parts": Part("image", data=(files / "red.png").read_bytes(), weight=0.5)},
    lambda files: {"parts": Part("sketch", file=files / "red.png")},
    lambda files: {"parts": Part("caption", file=files / "words.txt")},
    lambda _: {"parts": Part("palette", data=["#d92d2d", "#ffffff"])},
    lambda _: {"parts": Part("palette", text="#2f6fed")},
    lambda _: {"parts": Part(item="green box"), "space": "hashing"},
    lambda _: {"parts": ["a", Part("palette", text="#2f6fed")], "fusion": "joint"},
    lambda _: {"parts": "a green box", "where": "@key starts with red"},
    lambda _: {"parts": "a green box", "where": {"field": "@key", "in": ["blue bar"]}},
    lambda _: {"parts": "a green box", "k": 3, "offset": 2},
    lambda _: {"parts": "a green box", "min_score": 0.1},
    lambda _: {"parts": "a green box", "k": 2, "vectors": True},
    lambda _: {"parts": ["a green box", Part("words", text="red box", weight=2)], "k": 5},
    lambda _: {"parts": Part("words", text="red"), "where": "not @key = 'red box'"},
    lambda _: {"parts": "a green box", "k": 2, "group_by": "colour", "group_size": 2},
    lambda _: {"parts": "a green box", "k": 2, "where": "@key starts with red", "facets": ["colour", "width", "none"]},
    lambda _: {"parts": "a green box", "spaces": ["hashing"]},
    lambda _: {"parts": [Part(vector=np.eye(512)[3]), Part(item="red box")]},
    lambda _: {"parts": [Part("caption", vector=[0.0] * 511 + [2.0])]},
]


@pytest.mark.parametrize("number", range(len(FOUND)))
def test_the_same_is_found(clients: Clients, shapes: str, files: Path, number: int) -> None:
    asked = FOUND[number](files)
    over_http, here = (client.query(shapes, **asked) for client in clients)
    assert over_http.hits
    assert here == over_http


REFUSED: list[Callable[[Path], dict[str, Any]]] = [
    lambda _: {"parts": []},
    lambda _: {"parts": "a", "k": 0},
    lambda _: {"parts": "a", "k": 10_001},
    lambda _: {"parts": " "},
    lambda _: {"parts": "x" * 10_001},
    lambda _: {"parts": ["a"] * 17},
    lambda _: {"parts": Part()},
    lambda _: {"parts": Part("caption", text="a", item="b")},
    lambda _: {"parts": Part("smell", text="a")},
    lambda _: {"parts": Part("normal", data=b"a")},
    lambda _: {"parts": Part("rgb", text="a")},
    lambda _: {"parts": Part("rgb", data="not base64!")},
    lambda _: {"parts": Part(data=["#ffffff"])},
    lambda _: {"parts": Part("palette", text="red")},
    lambda _: {"parts": Part("rgb", data=b"x", name="x" * 4097)},
    lambda _: {"parts": {"text": "a", "weight": "heavy"}},
    lambda _: {"parts": {"text": 3}},
    lambda _: {"parts": {"text": "a", "wait": 2}},
    lambda files: {"parts": Part("rgb", file=files / "gone.png")},
    lambda files: {"parts": Part("rgb", file=files)},
    lambda files: {"parts": Part("rgb", file=files / "broken.png")},
    lambda files: {"parts": Part("rgb", file=files / "words.txt")},
    lambda files: {"parts": Part("caption", file=files / "broken.png")},
    lambda _: {"parts": ["a", "b"], "fusion": "joint"},
    lambda _: {"parts": Part(item="nobody")},
    lambda _: {"parts": "a", "space": "nowhere"},
    lambda _: {"parts": "a", "where": "width >"},
    lambda _: {"parts": Part("words", text="!!")},
    lambda _: {"parts": Part("words", text=" ")},
    lambda _: {"parts": Part("words", text="a", weight=-1)},
    lambda _: {"parts": Part("words", data=b"a")},
    lambda _: {"parts": Part("words", text="a\0")},
    lambda _: {"parts": Part("words", text="a " * 101)},
    lambda _: {"parts": "a", "spaces": ["nowhere"]},
    lambda _: {"parts": "a", "spaces": ["hashing", "hashing"]},
    lambda _: {"parts": "a", "spaces": ["hashing"], "space": "hashing"},
    lambda _: {"parts": "a", "spaces": "hashing"},
    lambda _: {"parts": "a", "cursor": "nonsense"},
    lambda _: {"parts": "a", "cursor": 3},
    lambda _: {"parts": "a", "facets": ["@key"]},
    lambda _: {"parts": "a", "facets": ["a", "a"]},
    lambda _: {"parts": "a", "facets": "a"},
    lambda _: {"parts": "a", "facets": [1]},
    lambda _: {"parts": "a", "facets": [""]},
    lambda _: {"parts": "a", "facets": [f"a{number}" for number in range(21)]},
    lambda _: {"parts": "a", "group_size": 2},
    lambda _: {"parts": "a", "group_size": 0, "group_by": "colour"},
    lambda _: {"parts": "a", "group_by": "@key"},
    lambda _: {"parts": "a", "group_by": ""},
    lambda _: {"parts": "a", "group_by": "colour", "group_size": 1001},
    lambda _: {"parts": "a", "offset": -1},
    lambda _: {"parts": "a", "offset": 9_991},
    lambda _: {"parts": "a", "min_score": 1.5},
    lambda _: {"parts": "a", "min_score": "high"},
    lambda _: {"parts": "a", "k": 1_001, "vectors": True},
    lambda _: {"parts": Part(vector=[1.0, 2.0])},
    lambda _: {"parts": Part("caption", text="a", vector=[1.0, 2.0])},
    lambda _: {"parts": {"vector": ["a"]}},
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_the_same_is_refused_in_the_same_words(clients: Clients, shapes: str, files: Path, number: int) -> None:
    asked, errors = REFUSED[number](files), []
    for client in clients:
        with pytest.raises(AnyseekError) as caught:
            client.query(shapes, **asked)
        errors.append(caught.value)
    over_http, here = errors
    assert str(here) == str(over_http)
    assert exit_code_of(here) == exit_code_of(over_http)


def test_several_collections_have_the_same_hits_and_refusals(clients: Clients, shapes: str) -> None:
    over_http, here = (client.query([shapes], "a red box", k=3, where="colour = red") for client in clients)
    assert [hit.collection for hit in here.hits] == [shapes] * 3
    assert here == over_http
    for names, more in [([], {}), ([shapes, "gone"], {}), ([shapes], {"facets": ["a"]}), ([shapes], {"offset": -1})]:
        said = []
        for client in clients:
            with pytest.raises(AnyseekError) as caught:
                client.query(names, "a", **more)  # type: ignore[arg-type]
            said.append(str(caught.value))
        assert said[0] == said[1] or not names  # the schema says of no collections that there is none


def test_a_batch_has_the_same_results_and_refusals(clients: Clients, shapes: str, picture: Picture) -> None:
    queries: list[dict[str, Any]] = [
        {"parts": [{"text": "red disc"}], "k": 1},
        {"parts": [{"modality": "rgb", "data": picture("red", "disc"), "name": "red.png"}]},
        {"parts": [{"modality": "rgb", "data": b"no picture", "name": "red.png"}]},
        {"parts": [{"item": "nobody"}]},
        {"parts": [{"text": "a", "weight": "heavy"}]},
        {"parts": "a"},
        {"parts": [], "limit": 3},
    ]
    over_http, here = (client.query_batch(shapes, queries) for client in clients)
    assert here == over_http
    assert [hasattr(outcome, "hits") for outcome in here] == [True, True, False, False, False, True, False]
