"""`anyseek worker`: takes tasks of bulk jobs from the broker."""

import platform
import re
from dataclasses import replace

import click

from anyseek.search.errors import BadInput
from anyseek.search.settings import read_settings
from anyseek.search.telemetry import spans as telemetry

_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
READY, NOT_READY = 0, 1


@click.command()
@click.option(
    "--queues", help="The queues to take from, separated by commas: ingest, embed, index, maintenance; all by default."
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
    """Work on the index jobs that services and `anyseek index` hand to the broker at ANYSEEK_BROKER_URL, until stopped.

    A worker is ready when each of its processes has loaded the model and embedded something with it; it then logs
    "ready". On SIGTERM its processes end their tasks at the next step and leave the rest to other workers. A machine
    with a GPU may take only `--queues embed`; then some other worker must take the other queues.
    """
    settings = read_settings()
    called = _checked_name(name or platform.node())
    if ready:
        return _tell_whether_ready(called)
    if not settings.broker_url:
        raise BadInput("ANYSEEK_BROKER_URL is not set; without a broker a job runs in the process that starts it")
    from anyseek.api.http.logs import configure_logs
    from anyseek.workers.worker import Options, run_worker

    configure_logs(settings.logs)
    telemetry.wanted_tracer(settings)  # its processes begin to trace, and could only log that they cannot
    options = Options(called, _queues(queues), concurrency or settings.work.concurrency)
    work = settings.work if metrics_port is None else replace(settings.work, metrics_port=metrics_port)
    return run_worker(replace(settings, model=model or settings.model, work=work), options)


def _tell_whether_ready(name: str) -> int:
    from anyseek.workers.readiness import is_ready

    found = is_ready(read_settings(), name)
    click.echo(f"the worker {name} is {'ready' if found else 'not ready'}")
    return READY if found else NOT_READY


def _queues(text: str | None) -> tuple[str, ...]:
    from anyseek.workers.app import QUEUES

    wanted = tuple(dict.fromkeys(text.split(","))) if text else QUEUES
    if unknown := [queue for queue in wanted if queue not in QUEUES]:
        raise BadInput(f"{unknown[0]!r} is not a queue; the queues are {', '.join(QUEUES)}")
    return wanted


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise BadInput(f"{name!r} cannot be a worker's name; use 1 to 100 of the characters A-Z a-z 0-9 . _ -")
    return name
