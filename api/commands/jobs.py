"""`anyseek jobs …`: what ran, how far it is, what could not be taken in, and trying that again."""

import json
import time
from dataclasses import asdict
from typing import Any

import click

from api.commands.following import Teller, follow
from api.commands.index import finish
from api.commands.index_output import all_failures, failure_line, watched
from indexer.owner import Owner
from indexer.paths import from_uri
from indexer.sources.opening import open_source
from search.catalogue import jobs as catalogue_jobs
from search.catalogue.jobs import Job
from search.settings import read_settings
from workers.pace import Seen
from workers.runtime import Runtime

INTERRUPTED = "interrupted"  # active, but the process that ran it is gone: indexing the folder again goes on with it


@click.group()
def jobs() -> None:
    """Look at jobs, stop them, and try again what they could not take in."""


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
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for each look at the job.")
def watch(job: int, as_json: bool) -> None:
    """Show how far JOB is until it ends, wherever it runs; Ctrl-C stops the watching, not the job."""
    with Runtime.open(read_settings(), None) as runtime:
        if as_json:
            follow(lambda: runtime.queue.status(job), _echo_seen)
            return
        with watched(quiet=False) as progress:
            ended = follow(lambda: runtime.queue.status(job), Teller(progress))
        _echo(runtime, ended, as_json=False)


@jobs.command()
@click.argument("job", type=int)
@click.option("--skipped", is_flag=True, help="Those that were left out for having the content of another key.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def failures(job: int, skipped: bool, as_json: bool) -> None:
    """The inputs of JOB that are quarantined, each on a line with its reason."""
    with Runtime.open(read_settings(), None) as runtime:
        runtime.queue.status(job)
        for failure in all_failures(runtime.database, job, skipped):
            members = {"uri": failure.uri, "key": failure.key, "code": failure.code, "reason": failure.reason}
            click.echo(json.dumps(members) if as_json else failure_line(failure))


@jobs.command()
@click.argument("job", type=int)
def cancel(job: int) -> None:
    """Stop JOB, wherever it runs; what it has put in stays."""
    with Runtime.open(read_settings(), None) as runtime:
        _echo(runtime, runtime.queue.cancel(job), as_json=False)


@jobs.command()
@click.argument("job", type=int)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON at the end instead of words.")
def retry(job: int, as_json: bool) -> int:
    """Try the quarantined inputs of JOB again, such as files that have been mended, and show how far that is.

    Inputs that were refused while the folder was listed need `anyseek index` instead. Exits as that command does. After
    Ctrl-C the same command goes on with those that are left.
    """
    started, settings = time.monotonic(), read_settings()
    with Runtime.open(settings, None) as runtime:
        collection = runtime.queue.status(job).collection
    with Runtime.open_for(settings, collection, None) as runtime:
        with runtime.database.write() as session:
            catalogue_jobs.reopen(session, job)
        found = runtime.queue.status(job)
        if not as_json:
            click.echo(f"{found.counts.open} inputs are tried again", err=True)
        assert found.root is not None
        source = open_source(settings, from_uri(found.root))
        with Owner(runtime.database, settings) as owner:
            return finish(runtime, found, source, owner, started, as_json, once=False)


def _echo(runtime: Runtime, job: Job, as_json: bool) -> None:
    state = INTERRUPTED if _is_interrupted(runtime, job) else job.state.value
    if as_json:
        click.echo(json.dumps({**_members(job), "state": state}))
        return
    counts = job.counts
    said = f", {job.error}" if job.error else ""
    click.echo(
        f"{job.id} {job.kind} {job.root} -> {job.collection}: {state}{said}; indexed {counts.indexed}, "
        f"unchanged {counts.unchanged}, quarantined {counts.quarantined}, open {counts.open}, "
        f"ignored {job.ignored}, pruned {job.pruned}"
    )


def _echo_seen(seen: Seen) -> None:
    members = {**_members(seen.job), "rate": seen.rate, "seconds_left": seen.seconds_left}
    click.echo(json.dumps(members))


def _members(job: Job) -> dict[str, Any]:
    ended = job.ended_at.isoformat() if job.ended_at else None
    return {**asdict(job), "created_at": job.created_at.isoformat(), "ended_at": ended}


def _is_interrupted(runtime: Runtime, job: Job) -> bool:
    """A job that nobody owns waits for workers, or is worked on by them."""
    if not job.active or job.owner is None:
        return False
    with runtime.database.read() as session:
        return not Owner(runtime.database, runtime.settings).living(session)(job.owner)
