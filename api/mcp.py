"""Tools of the Model Context Protocol, with which an assistant searches collections and looks at their items.

They only read. Over stdio (`anyseek mcp`) they ask any `AsyncClient`. Under a service, at `/v1/mcp`, they ask
that service with the API key of the assistant's request, so the key's scope and limits hold.
"""

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from http import HTTPStatus
from typing import Annotated, Any

import httpx
from fastapi import FastAPI
from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field
from starlette.types import ASGIApp

from anyseek.api.client.async_client import AsyncClient
from anyseek.api.errors import ApiError
from anyseek.search.errors import AnyseekError
from anyseek.search.query.query import Part

PATH = "/v1/mcp"
MAX_HITS = 20  # each has a thumbnail
_HIT_MEMBERS = ("key", "score", "probability", "caption", "attributes")
_READS = ToolAnnotations(read_only_hint=True)
_INSTRUCTIONS = """Search collections of pictures by words, by a picture, or by an item that they have.
Begin with `collections`; then `search`; `show_item` has all that is known of an item."""

Connect = Callable[[Context[Any, Any]], AbstractAsyncContextManager[AsyncClient]]


class _SameService(AsyncClient):
    """The service `app` itself, asked with the credentials of the assistant's request."""

    def __init__(self, app: ASGIApp, request: Any) -> None:
        credentials = {name: request.headers[name] for name in ("authorization", "host") if name in request.headers}
        transport = httpx.ASGITransport(app, client=tuple(request.client or ("127.0.0.1", 0)))
        self._patience, self.url = 0.0, "the service"
        self._http = httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=credentials)


def stdio_server(client: AsyncClient) -> MCPServer:
    """The server for an assistant on this machine, which may name pictures by their paths."""
    return _create_server(lambda context: nullcontext(client), reads_files=True)


def add_tools(app: FastAPI) -> None:
    """Answer at `PATH` of a service's application."""
    server = _create_server(lambda context: _SameService(app, context.request_context.request), reads_files=False)
    # Access control checks hosts and origins before, as for all of `/v1`.
    inner = server.streamable_http_app(streamable_http_path=PATH, stateless_http=True, json_response=True, host="")
    app.router.routes.extend(inner.routes)
    app.state.extra_lifespan = server.session_manager.run


def _create_server(connect: Connect, reads_files: bool) -> MCPServer:
    server = MCPServer("anyseek", instructions=_INSTRUCTIONS)
    tool = server.tool(structured_output=False, annotations=_READS)

    async def collections(context: Context[Any, Any]) -> str:
        """List the collections: their names, numbers of items, and models."""
        async with connect(context) as client:
            return _text([each.model_dump(mode="json") for each in await _answer(client.collections())])

    async def search(
        context: Context[Any, Any],
        collection: str,
        words: Annotated[str | None, Field(description="what pictures should show, such as: a red bicycle")] = None,
        picture: Annotated[str | None, Field(description="the path of a picture on this machine")] = None,
        item: Annotated[str | None, Field(description="the key of an item: more like this")] = None,
        filter: Annotated[str | None, Field(description="such as: width >= 1000 and label in (dog, wolf)")] = None,  # noqa: A002
        k: Annotated[int, Field(ge=1, le=MAX_HITS)] = 8,
    ) -> list[Any]:
        """Find items by words, a picture, an item, or several of them together; best first, each with a thumbnail."""
        parts = _parts(words, picture, item, reads_files)
        async with connect(context) as client:
            results = await _answer(client.query(collection, parts, k, where=filter))
            thumbnails = [await _thumbnail(client, collection, hit.key, hit.assets) for hit in results.hits]
        hits = [{name: getattr(hit, name) for name in _HIT_MEMBERS} for hit in results.hits]
        answer: list[Any] = [_text({"hits": hits, "note": results.note})]
        return answer + [image for image in thumbnails if image]

    async def show_item(context: Context[Any, Any], collection: str, key: str) -> list[Any]:
        """Show one item: its caption, attributes, files and thumbnail."""
        async with connect(context) as client:
            found = await _answer(client.get_item(collection, key))
            image = await _thumbnail(client, collection, key, found.assets)
        return [_text(found.model_dump(mode="json")), *([image] if image else [])]

    for function in (collections, search, show_item):
        tool(function)
    return server


def _parts(words: str | None, picture: str | None, item: str | None, reads_files: bool) -> list[Part]:
    if picture and not reads_files:
        raise ToolError("the service reads no files by path; give the key of an item, or words")
    parts = [
        *([Part("caption", text=words)] if words else []),
        *([Part("rgb", file=picture)] if picture else []),
        *([Part(item=item)] if item else []),
    ]
    if not parts:
        raise ToolError("give words, a picture or the key of an item to search for")
    return parts


async def _answer(call: Any) -> Any:
    """The answer of a client's method. Raises `ToolError`, whose sentence the assistant reads."""
    try:
        return await call
    except (AnyseekError, OSError) as error:
        raise ToolError(str(error)) from error


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


async def _thumbnail(client: AsyncClient, collection: str, key: str, assets: Any) -> Image | None:
    """A small JPEG of an item; None for an item without a picture, or whose file is gone."""
    try:
        return Image(data=await client.thumbnail(collection, key), format="jpeg") if assets else None
    except ApiError as error:
        if error.status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
            return None
        raise ToolError(str(error)) from error
