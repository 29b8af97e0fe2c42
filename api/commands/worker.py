"""`anyseek worker`: takes tasks of bulk jobs from the broker."""

import platform
import re
from dataclasses import replace

import click

from search.errors import BadInput
from search.settings import read_settings

_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
READY, NOT_READY = 0, 1


@click.command()
@click.option("--queues", help="What to take, by commas: ingest, embed, index, maintenance; all unless set.")
@click.option("--concurrency", type=click.IntRange(1, 256), help="How many processes; each may load the model.")
@click.option("--name", help="Of this worker, one of a kind on its machine; the machine's own name unless set.")
@click.option("--model", help="The model to load at the start; ANYSEEK_MODEL unless set.")
@click.option("--ready", is_flag=True, help="Only tell whether the worker of that name is ready: exit with 0 or 1.")
def worker(queues: str | None, concurrency: int | None, name: str | None, model: str | None, ready: bool) -> int:
    """Work on index jobs that services and `anyseek index` hand to the broker at ANYSEEK_BROKER_URL, until stopped.

    A worker is ready when each of its processes has loaded the model and embedded something with it; it logs "ready"
    then. On SIGTERM its processes end their tasks at the next step, and what is left of them goes to other workers.
    A machine with a GPU may take `--queues embed` only; some worker must take each of the others.
    """
    settings = read_settings()
    called = _checked_name(name or platform.node())
    if ready:
        return _tell_whether_ready(called)
    if not settings.broker_url:
        raise BadInput("ANYSEEK_BROKER_URL is not set; without a broker a job runs in the process that starts it")
    from api.logs import configure_logs
    from workers.worker import Options, run_worker

    configure_logs()
    options = Options(called, _queues(queues), concurrency or settings.work.concurrency)
    return run_worker(replace(settings, model=model or settings.model), options)


def _tell_whether_ready(name: str) -> int:
    from workers.readiness import is_ready

    found = is_ready(read_settings(), name)
    click.echo(f"the worker {name} is {'ready' if found else 'not ready'}")
    return READY if found else NOT_READY


def _queues(text: str | None) -> tuple[str, ...]:
    from workers.app import QUEUES

    wanted = tuple(dict.fromkeys(text.split(","))) if text else QUEUES
    if unknown := [queue for queue in wanted if queue not in QUEUES]:
        raise BadInput(f"there is no queue {unknown[0]!r}; the queues are {', '.join(QUEUES)}")
    return wanted


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise BadInput(f"{name!r} cannot name a worker; use 1 to 100 of the characters A-Z a-z 0-9 . _ -")
    return name
