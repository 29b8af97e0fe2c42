"""`anyseek mcp`: tools for an assistant on this machine."""

import asyncio
import os

import click

from anyseek.search.errors import AnyseekError
from anyseek.search.settings import read_settings

_PATIENCE_SECONDS = 120.0


class McpMissing(AnyseekError):
    """The extra with the protocol's SDK is not installed."""

    code = "mcp-missing"


@click.command()
def mcp() -> None:
    """Give an assistant tools that search, over stdin and stdout (Model Context Protocol).

    They only read: from the service at ANYSEEK_URL with the key ANYSEEK_API_KEY, else from the one that runs, else from
    the data directory. Put `anyseek mcp` into the assistant's settings as a command.
    """
    from anyseek.api.client.async_client import AsyncClient
    from anyseek.api.client.connect import recorded_url

    try:
        from anyseek.api.mcp import stdio_server
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("mcp"):
            raise
        raise McpMissing("the Model Context Protocol needs its SDK: pip install 'anyseek[mcp]'") from error
    url = os.environ.get("ANYSEEK_URL") or recorded_url(read_settings())

    async def serve() -> None:
        async with AsyncClient(url, os.environ.get("ANYSEEK_API_KEY"), patience=_PATIENCE_SECONDS) as client:
            await stdio_server(client).run_stdio_async()

    asyncio.run(serve())
