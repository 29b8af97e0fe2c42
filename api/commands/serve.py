"""`anyseek serve`: the HTTP API and the web page."""

import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click

from anyseek.search.errors import AnyseekError, BadInput
from anyseek.search.settings import Serving, read_settings
from anyseek.search.telemetry import spans as telemetry

_BACKLOG = 256


class CannotListen(AnyseekError):
    code = "cannot-listen"


@click.command()
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="The address to listen on; other machines need an API key."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    help="The port to listen on; 0 picks a free one.",
)
@click.option("--model", help="The model, see `anyseek models list`; by default ANYSEEK_MODEL, else 4m-tiny.")
def serve(host: str, port: int, model: str | None) -> None:
    """Serve the HTTP API and the web page until interrupted.

    Over HTTP, index jobs can be started only for folders below ANYSEEK_ROOTS (separated by colons). If
    ANYSEEK_BROKER_URL is set, `anyseek worker` runs them, otherwise this process does.
    """
    from anyseek.api.app import create_app
    from anyseek.api.client.connect import recorded
    from anyseek.api.http.security import is_loopback, require_key
    from anyseek.api.service import Service, ServiceSettings
    from anyseek.workers.runtime import Runtime

    installation = read_settings()
    telemetry.start_tracing(installation, "anyseek")
    settings = ServiceSettings(is_loopback(host), checked_roots(installation.roots))
    with Runtime.open(installation, model) as runtime:
        if not settings.loopback:
            require_key(runtime.database, host)
        with listen(host, port) as listener, recorded(runtime.settings, address(listener)) as unrecorded:
            click.echo(f"Anyseek is at {address(listener)}")
            if unrecorded:
                click.echo(unrecorded, err=True)
            run(create_app(Service(runtime, settings)), listener, installation.serving)


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to the address. Raises `CannotListen` if the address is taken or not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends an answer's last bytes at once (TCP_NODELAY) only where the socket says that it is TCP.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise CannotListen(f"cannot listen on {host} port {port}: {error.strerror}; choose another --port") from error
    return listener


def address(listener: socket.socket) -> str:
    """The URL at which this machine reaches the socket."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def checked_roots(roots: Sequence[Path]) -> tuple[Path, ...]:
    """The folders of ANYSEEK_ROOTS, links followed. Raises `BadInput` for one that does not exist."""
    for root in roots:
        if not root.is_dir():
            raise BadInput(f"ANYSEEK_ROOTS names {root}, which is not a folder")
    return tuple(root.resolve() for root in roots)


def run(app: object, listener: socket.socket, serving: Serving) -> None:
    """Serve until the process is told to stop; open requests get a few seconds to end."""
    import uvicorn

    from anyseek.api.http.connections import protocol
    from anyseek.api.http.logs import configure_logs

    configure_logs(read_settings().logs)
    # uvicorn raises the signal that stopped it again when it is done; the record must still be removed then.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        http=protocol(serving),
        backlog=_BACKLOG,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        lifespan="on",
    )
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])
