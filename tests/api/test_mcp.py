"""Assistants' tools, called by the SDK's own client: over stdio, and under a service with and without keys."""

import asyncio
import base64
import io
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import mcp
import pytest
from mcp.client.streamable_http import streamable_http_client
from PIL import Image

from anyseek import Client
from anyseek.api.http.security import Scope, create_key
from anyseek.api.service import Service
from tests.api.conftest import StartService, bearer, picture

Ask = Callable[[mcp.Client], Awaitable[Any]]


def _over_http(url: str, ask: Ask, headers: dict[str, str] | None = None) -> Any:
    async def run() -> Any:
        async with (
            httpx2.AsyncClient(headers=headers or {}, timeout=60) as http,
            mcp.Client(streamable_http_client(f"{url}/v1/mcp", http_client=http)) as client,
        ):
            return await ask(client)

    return asyncio.run(run())


def _call(tool: str, **arguments: Any) -> Ask:
    return lambda client: client.call_tool(tool, arguments)


def _texts(result: Any) -> list[Any]:
    return [json.loads(each.text) for each in result.content if each.type == "text"]


def _pictures(result: Any) -> list[Image.Image]:
    images = [each for each in result.content if each.type == "image"]
    assert {each.mime_type for each in images} <= {"image/jpeg"}
    return [Image.open(io.BytesIO(base64.b64decode(each.data))) for each in images]


def _sentence(result: Any) -> str:
    assert result.is_error
    return str(result.content[0].text)


class TestUnderAService:
    def test_three_tools_that_read(self, shared_service: tuple[str, Service]) -> None:
        tools = _over_http(shared_service[0], lambda client: client.list_tools()).tools
        assert {tool.name for tool in tools} == {"collections", "search", "show_item"}
        assert all(tool.annotations.read_only_hint for tool in tools)

    def test_collections_are_listed(self, shared_service: tuple[str, Service], shapes: str) -> None:
        (listed,) = _texts(_over_http(shared_service[0], _call("collections")))
        assert {each["name"]: each["items"] for each in listed}[shapes] == 9

    def test_hits_come_best_first_each_with_a_thumbnail(self, shared_service: tuple[str, Service], shapes: str) -> None:
        ask = _call("search", collection=shapes, words="a red disc", k=3)
        result = _over_http(shared_service[0], ask)
        (answer,) = _texts(result)
        assert (answer["hits"][0]["key"], answer["hits"][0]["attributes"]["colour"]) == ("red disc", "red")
        pictures = _pictures(result)
        assert len(pictures) == 3
        assert all(max(image.size) <= 512 for image in pictures)
        red, green, blue = pictures[0].convert("RGB").getpixel((48, 48))
        assert red > 150 > max(green, blue)

    def test_an_item_and_a_filter_together(self, shared_service: tuple[str, Service], shapes: str) -> None:
        ask = _call("search", collection=shapes, item="red disc", filter="colour = blue", k=20)
        (answer,) = _texts(_over_http(shared_service[0], ask))
        assert {hit["attributes"]["colour"] for hit in answer["hits"]} == {"blue"}

    def test_one_item_is_shown(self, shared_service: tuple[str, Service], shapes: str) -> None:
        result = _over_http(shared_service[0], _call("show_item", collection=shapes, key="blue bar"))
        (item,) = _texts(result)
        assert (item["key"], item["caption"]) == ("blue bar", "a blue bar")
        assert len(_pictures(result)) == 1

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ({"collection": "nowhere", "words": "x"}, "nowhere"),
            ({"collection": "shapes"}, "give words, a picture or the key of an item"),
            ({"collection": "shapes", "picture": "/etc/passwd"}, "reads no files by path"),
            ({"collection": "shapes", "words": "x", "filter": "width >="}, "width"),
            ({"collection": "shapes", "words": "x", "k": 21}, "20"),
        ],
    )
    def test_bad_input_is_one_sentence(
        self, arguments: dict[str, Any], sentence: str, shared_service: tuple[str, Service], shapes: str
    ) -> None:
        assert sentence in _sentence(_over_http(shared_service[0], _call("search", **arguments)))

    def test_the_key_of_the_request_decides(self, start_service: StartService) -> None:
        url, service = start_service()
        with Client(url, patience=60) as client:
            client.create_collection("a")
        keys = {
            scope: create_key(service.runtime.database, scope.value, scope) for scope in (Scope.READ, Scope.METRICS)
        }
        (listed,) = _texts(_over_http(url, _call("collections"), bearer(keys[Scope.READ])))
        assert [each["name"] for each in listed] == ["a"]
        refusal = _over_http(url, _call("collections"), bearer(keys[Scope.METRICS]))
        assert "scope read" in _sentence(refusal)
        with pytest.raises(BaseExceptionGroup):  # 401
            _over_http(url, _call("collections"), bearer("wrong"))


def _over_stdio(home: Path, ask: Ask) -> Any:
    environment = {**os.environ, "ANYSEEK_HOME": str(home), "ANYSEEK_MODEL": "hashing"}
    parameters = mcp.StdioServerParameters(
        command=sys.executable, args=["-c", "from anyseek.api.cli import main; main()", "mcp"], env=environment
    )

    async def run() -> Any:
        async with mcp.Client(mcp.stdio_client(parameters)) as client:
            return await ask(client)

    return asyncio.run(run())


class TestOverStdio:
    def test_a_data_directory_is_searched_by_a_file(self, tmp_path: Path) -> None:
        with Client(tmp_path / "home", model="hashing") as client:
            client.create_collection("shapes")
            for colour in ("red", "blue"):
                client.put_item("shapes", colour, {"rgb": picture(colour, "disc")})
        (tmp_path / "query.png").write_bytes(picture("blue", "disc"))

        async def ask(client: mcp.Client) -> list[Any]:
            found = await client.call_tool(
                "search", {"collection": "shapes", "picture": str(tmp_path / "query.png"), "k": 1}
            )
            missing = await client.call_tool("search", {"collection": "shapes", "picture": "/nowhere.png"})
            return [found, missing]

        found, missing = _over_stdio(tmp_path / "home", ask)
        assert [hit["key"] for hit in _texts(found)[0]["hits"]] == ["blue"]
        assert len(_pictures(found)) == 1
        assert "/nowhere.png" in _sentence(missing)
