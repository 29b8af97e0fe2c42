"""`anyseek jobs …`: what ran, how far it is, what could not be taken in."""

import json
from dataclasses import asdict

import click

from api.commands.index_output import all_failures, failure_line
from indexer.owner import Owner
from search.catalogue import jobs as catalogue_jobs
from search.catalogue.jobs import Job
from search.settings import read_settings
from workers.runtime import Runtime

INTERRUPTED = "interrupted"  # active, but the process that ran it is gone: indexing the folder again goes on with it


@click.group()
def jobs() -> None:
    """Look at jobs, and at the inputs that they could not take in."""


@jobs.command("list")
@click.option("--collection", help="Only jobs of this collection.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many at most.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_jobs(collection: str | None, limit: int, as_json: bool) -> None:
    """The newest jobs, newest first."""
    with Runtime.open(read_settings(), None) as runtime:
        with runtime.database.read() as session:
            found = catalogue_jobs.list_page(session, None, limit, collection)
        for job in found:
            _echo(runtime, runtime.queue.status(job.id), as_json)


@jobs.command()
@click.argument("job", type=int)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show(job: int, as_json: bool) -> None:
    """How far JOB is, or how it ended."""
    with Runtime.open(read_settings(), None) as runtime:
        _echo(runtime, runtime.queue.status(job), as_json)


@jobs.command()
@click.argument("job", type=int)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def failures(job: int, as_json: bool) -> None:
    """The inputs of JOB that are quarantined, each on a line with its reason."""
    with Runtime.open(read_settings(), None) as runtime:
        runtime.queue.status(job)
        for failure in all_failures(runtime.database, job):
            members = {"uri": failure.uri, "key": failure.key, "code": failure.code, "reason": failure.reason}
            click.echo(json.dumps(members) if as_json else failure_line(failure))


@jobs.command()
@click.argument("job", type=int)
def cancel(job: int) -> None:
    """Stop JOB, wherever it runs; what it has put in stays."""
    with Runtime.open(read_settings(), None) as runtime:
        _echo(runtime, runtime.queue.cancel(job), as_json=False)


def _echo(runtime: Runtime, job: Job, as_json: bool) -> None:
    alive = job.owner is not None and Owner(runtime.settings.locks).is_alive(job.owner)
    state = job.state.value if alive or not job.active else INTERRUPTED
    if as_json:
        members = {**asdict(job), "state": state, "created_at": job.created_at.isoformat()}
        members["ended_at"] = job.ended_at.isoformat() if job.ended_at else None
        click.echo(json.dumps(members))
        return
    counts = job.counts
    said = f", {job.error}" if job.error else ""
    click.echo(
        f"{job.id} {job.kind} {job.root} -> {job.collection}: {state}{said}; indexed {counts.indexed}, "
        f"unchanged {counts.unchanged}, quarantined {counts.quarantined}, open {counts.open}, "
        f"ignored {job.ignored}, pruned {job.pruned}"
    )
