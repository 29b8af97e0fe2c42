"""`anyseek serve` and `anyseek worker`, the processes of an installation, and `anyseek config`, their settings."""

import json
import os
import platform
import re
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from anyseek.api.commands.output import say
from anyseek.search.errors import AnyseekError, BadInput
from anyseek.search.settings import Serving, displayed_value, read_settings, variables
from anyseek.search.telemetry import spans as telemetry

if TYPE_CHECKING:
    from fastapi import FastAPI

_BACKLOG = 256
_WORKER_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


class CannotListen(AnyseekError):
    """The address to listen on is taken or not this machine's."""

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
    from anyseek.api.client.connect import record_url
    from anyseek.api.http.security import is_loopback, require_key
    from anyseek.api.service import Service, ServiceSettings
    from anyseek.workers.runtime import Runtime

    installation = read_settings()
    telemetry.start_tracing(installation, "anyseek")
    settings = ServiceSettings(is_loopback(host), resolve_roots(installation.roots))
    with Runtime.open(installation, model) as runtime:
        if not settings.loopback:
            require_key(runtime.database, host)
        with listen(host, port) as listener, record_url(runtime.settings, address(listener)) as warning:
            say(f"Anyseek is at {address(listener)}")
            if warning:
                say(warning, err=True)
            app = create_app(Service(runtime, settings))
            _add_assistants_tools(app)
            run(app, listener, installation.serving)


def _add_assistants_tools(app: "FastAPI") -> None:
    """Add the tools for assistants, if the extra `mcp` is installed."""
    try:
        from anyseek.api.mcp import add_tools
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("mcp"):
            raise
    else:
        add_tools(app)


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


def resolve_roots(roots: Sequence[Path]) -> tuple[Path, ...]:
    """The folders of ANYSEEK_ROOTS, with symbolic links resolved. Raises `BadInput` for one that does not exist."""
    for root in roots:
        if not root.is_dir():
            raise BadInput(f"ANYSEEK_ROOTS names {root}, which is not a folder")
    return tuple(root.resolve() for root in roots)


def run(app: object, listener: socket.socket, serving: Serving) -> None:
    """Serve until SIGINT or SIGTERM; open requests get a few seconds to end."""
    import uvicorn

    from anyseek.api.http.connections import make_protocol
    from anyseek.api.http.logs import configure_logs
    from anyseek.api.http.shutdown import GRACE_SECONDS, GracefulServer

    configure_logs(read_settings().logs)
    # uvicorn raises the signal that stopped it again when it is done; the service's record must be removed then too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        http=make_protocol(serving),
        backlog=_BACKLOG,
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=[str(network) for network in serving.proxy_networks],
        timeout_graceful_shutdown=GRACE_SECONDS,
        lifespan="on",
    )
    with suppress(KeyboardInterrupt):
        GracefulServer(config).run(sockets=[listener])


@click.command()
@click.option(
    "--queues", help="The queues to consume, separated by commas: ingest, embed, index, maintenance; all by default."
)
@click.option("--concurrency", type=click.IntRange(1, 256), help="Number of processes; each may load the model.")
@click.option("--name", help="This worker's name, unique on its machine; by default the machine's name.")
@click.option("--model", help="The model to load at the start; ANYSEEK_MODEL by default.")
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    help="Where to serve metrics for Prometheus; by default ANYSEEK_WORK_METRICS_PORT, else nowhere.",
)
@click.option("--ready", is_flag=True, help="Only check whether the worker of that name is ready: exit with 0 or 1.")
def worker(
    queues: str | None,
    concurrency: int | None,
    name: str | None,
    model: str | None,
    metrics_port: int | None,
    ready: bool,
) -> int:
    """Run the index jobs that services and `anyseek index` hand to the broker at ANYSEEK_BROKER_URL, until stopped.

    A worker is ready when each of its processes has loaded the model and embedded something with it; it then logs
    "ready". On SIGTERM its processes stop their tasks at the next step and leave the rest to other workers. A machine
    with a GPU may consume only `--queues embed`; another worker must then consume the other queues.
    """
    settings = read_settings()
    name = name or platform.node()
    if not _WORKER_NAME.fullmatch(name):
        raise BadInput(f"{name!r} cannot be a worker's name; use 1 to 100 of the characters A-Z a-z 0-9 . _ -")
    if ready:
        from anyseek.workers.readiness import is_ready

        worker_ready = is_ready(settings, name)
        say(f"the worker {name} is {'ready' if worker_ready else 'not ready'}")
        return 0 if worker_ready else 1
    if not settings.broker_url:
        raise BadInput("ANYSEEK_BROKER_URL is not set; without a broker a job runs in the process that starts it")
    from anyseek.api.http.logs import configure_logs
    from anyseek.workers.app import QUEUES
    from anyseek.workers.worker import Options, run_worker

    queue_names = tuple(dict.fromkeys(queues.split(","))) if queues else QUEUES
    if unknown := [queue for queue in queue_names if queue not in QUEUES]:
        raise BadInput(f"{unknown[0]!r} is not a queue; the queues are {', '.join(QUEUES)}")
    configure_logs(settings.logs)
    telemetry.tracer_class(settings)  # fail here: the processes that trace could only log it
    work = settings.work if metrics_port is None else replace(settings.work, metrics_port=metrics_port)
    options = Options(name, queue_names, concurrency or settings.work.concurrency)
    return run_worker(replace(settings, model=model or settings.model, work=work), options)


@click.group()
def config() -> None:
    """Show the settings, and check that they work."""


@config.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(as_json: bool) -> None:
    """Print every setting as the variable that sets it, with passwords masked. A * marks the variables that are set."""
    values = {name: displayed_value(name, value) for name, value in variables(read_settings())}
    if as_json:
        say(*json.dumps(values, indent=2).split("\n"))
        return
    for name, value in values.items():
        say(f"{'*' if os.environ.get(name) else ' '} {name}={value}")


@config.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def check(as_json: bool) -> int:
    """Connect to everything that the settings name, and say what is wrong and how to repair it.

    Exits with 0 if all is well and 1 if not.
    """
    from anyseek.workers.checks import check_all

    is_fine = True
    for finding in check_all(read_settings(), dict(os.environ)):
        is_fine &= finding.is_fine
        if as_json:
            members = {"what": finding.what, "fine": finding.is_fine, "found": finding.found, "remedy": finding.remedy}
            say(json.dumps(members))
        else:
            mark, remedy = ("ok   ", "") if finding.is_fine else ("WRONG", f"; {finding.remedy}")
            say(f"{mark} {finding.what}: {finding.found}{remedy}")
    return 0 if is_fine else 1
