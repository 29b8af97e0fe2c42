"""`anyseek mcp`: tools for an assistant on this machine."""

import asyncio

import click

from anyseek.search.errors import AnyseekError


class McpMissing(AnyseekError):
    """The extra with the protocol's SDK is not installed."""

    code = "mcp-missing"


@click.command()
def mcp() -> None:
    """Give an assistant tools that search, over stdin and stdout (Model Context Protocol).

    They only read: from the service at ANYSEEK_URL with the key ANYSEEK_API_KEY, else from the one that runs, else from
    the data directory. Put `anyseek mcp` into the assistant's settings as a command.
    """
    from anyseek.api.client.connect import connect_async

    try:
        from anyseek.api.mcp import stdio_server
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("mcp"):
            raise
        raise McpMissing("the Model Context Protocol needs its SDK: pip install 'anyseek[mcp]'") from error

    async def serve() -> None:
        async with connect_async() as client:
            await stdio_server(client).run_stdio_async()

    asyncio.run(serve())
