"""Facets taught over HTTP by both clients, filtered and counted, and what is refused."""

import asyncio
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anyseek import ApiError, AsyncClient, Client
from anyseek.api.http.security import Scope, create_key
from tests.api.conftest import StartService

COLOURS = {"red": (220, 40, 40), "blue": (40, 60, 220)}


def picture(colour: str, number: int) -> bytes:
    """A file of a picture of about this colour."""
    noise, file = np.random.default_rng(number).integers(-25, 25, (24, 24, 3)), io.BytesIO()
    Image.fromarray((np.array(COLOURS[colour]) + noise).clip(0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def url(start_service: StartService) -> str:
    """A service with the collection `mine` of ten red and ten blue pictures."""
    url, _ = start_service()
    with Client(url, patience=30) as client:
        client.create_collection("mine")
        for colour in COLOURS:
            for number in range(10):
                client.put_item("mine", f"{colour}/{number}", {"rgb": picture(colour, number)})
    return url


def labels(*numbers: int) -> dict[str, Any]:
    return {f"{colour}/{number}": colour == "red" for colour in COLOURS for number in numbers}


def test_a_facet_is_taught_filtered_corrected_and_forgotten(url: str) -> None:
    with Client(url, patience=30) as client:
        taught = client.teach("mine", "warm", labels(0, 1, 2, 3))
        assert (taught.attribute, taught.kind, len(taught.examples), taught.applied) == (
            "taught.warm.value",
            "yes-no",
            8,
            True,
        )
        assert taught.held_out is not None
        assert taught.held_out.low < taught.held_out.value <= taught.held_out.high
        assert [each.name for each in client.taught_facets("mine")] == ["warm"]
        warm = {item.key for item in client.items("mine", where="taught.warm.value = true")}
        assert warm == {f"red/{number}" for number in range(10)}
        assert {item.key for item in client.items("mine", where="taught.warm.yes < 0.5")}.isdisjoint(warm)
        assert client.query("mine", ["red"], where="taught.warm.value = false").hits[0].key.startswith("blue/")
        suggested = client.suggest_examples("mine", "warm", 3)
        assert len(set(suggested) - set(labels(0, 1, 2, 3))) == 3
        reason = client.explain_taught("mine", "warm", "red/7")
        assert reason.value is True
        assert all(key.startswith("red/") for key in reason.like)
        client.teach("mine", "warm", {"red/7": False})
        assert "red/7" not in {item.key for item in client.items("mine", where="taught.warm.value = true")}
        client.put_item("mine", "red/new", {"rgb": picture("red", 99)})
        assert client.get_item("mine", "red/new").attributes["taught"]["warm"]["value"] is True
        client.forget_taught("mine", "warm")
        assert client.taught_facets("mine") == []
        assert "taught" not in client.get_item("mine", "red/1").attributes


def test_the_asynchronous_client_teaches_too(url: str) -> None:
    async def ask() -> tuple[str, int, list[str]]:
        async with AsyncClient(url) as client:
            taught = await client.teach("mine", "hue", {"red/0": "warm", "blue/0": "cold"})
            listed = await client.taught_facets("mine")
            suggested = await client.suggest_examples("mine", "hue", 2)
            await client.explain_taught("mine", "hue", "red/1")
            await client.forget_taught("mine", "hue")
            return taught.kind, len(listed), suggested

    kind, listed, suggested = asyncio.run(ask())
    assert (kind, listed, len(suggested)) == ("classes", 1, 2)


def test_what_cannot_be_taught_is_refused_by_a_sentence(url: str) -> None:
    refusals: list[tuple[str, str, dict[str, Any], int, str]] = [
        ("nowhere", "warm", labels(0), 404, "collection-not-found"),
        ("mine", "no dots.", labels(0), 422, "bad-input"),
        ("mine", "warm", {"red/0": True, "red/77": False}, 404, "item-not-found"),
        ("mine", "warm", {"red/0": True, "blue/0": "no"}, 422, "bad-input"),
        ("mine", "warm", {"red/0": "a", "red/1": "a"}, 422, "nothing-to-learn"),
        ("mine", "warm", {}, 422, "nothing-to-learn"),
    ]
    with Client(url, patience=30) as client:
        for collection, name, examples, status, code in refusals:
            with pytest.raises(ApiError) as refused:
                client.teach(collection, name, examples)
            assert (refused.value.status, refused.value.code) == (status, code), examples
        for ask in (client.suggest_examples, client.forget_taught):
            with pytest.raises(ApiError) as refused:
                ask("mine", "warm")
            assert (refused.value.status, refused.value.code) == (404, "taught-not-found")
        with pytest.raises(ApiError) as refused:
            client.put_item("mine", "own", caption="x", attributes={"taught": {"a": 1}})
        assert "'taught'" in str(refused.value)


def test_a_key_that_reads_cannot_teach(start_service: StartService) -> None:
    url, service = start_service()
    key = create_key(service.runtime.database, "reader", Scope.READ)
    create_key(service.runtime.database, "owner", Scope.ADMIN)
    with Client(url, key, patience=30) as client, pytest.raises(ApiError) as refused:
        client.teach("mine", "warm", {"a": True})
    assert refused.value.status == 403
