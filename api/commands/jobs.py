"""`anyseek jobs …`: shows jobs, their progress and the inputs that could not be indexed, and retries those.

What works on jobs is imported by `retry` alone, so that looking at them starts at once.
"""

import json
import os
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from anyseek.api.client.connect import recorded_url
from anyseek.api.commands.catalogue import opened_catalogue
from anyseek.search.catalogue import jobs as catalogue_jobs
from anyseek.search.catalogue.jobs import Job
from anyseek.search.catalogue.session import Database
from anyseek.search.settings import Settings, read_settings
from anyseek.workers.catalogue_jobs import CatalogueJobs

if TYPE_CHECKING:
    from anyseek.workers.pace import Seen

INTERRUPTED = "interrupted"  # active, but the process that ran it is gone: indexing the folder again continues it
_ANSWER_SECONDS = 5.0  # a service that is this busy is not waited for


@click.group()
def jobs() -> None:
    """Look at jobs, stop them, and retry the inputs that they could not index."""


@jobs.command("list")
@click.option("--collection", help="Only jobs of this collection.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="The most jobs to list.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def list_jobs(collection: str | None, limit: int, as_json: bool) -> None:
    """List the newest jobs, newest first."""
    settings = read_settings()
    with opened_catalogue(settings) as database:
        with database.read() as session:
            found = catalogue_jobs.list_page(session, None, limit, collection)
        for job in found:
            _echo(database, settings, CatalogueJobs(database).status(job.id), as_json)


@jobs.command()
@click.argument("job", type=int)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(job: int, as_json: bool) -> None:
    """Show the progress of JOB, or how it ended."""
    settings = read_settings()
    with opened_catalogue(settings) as database:
        found = CatalogueJobs(database).status(job)
        runs = found.active and not _is_interrupted(database, settings, found)
        seconds = _seconds_left(settings, job) if runs else None
        _echo(database, settings, found, as_json, seconds_left=seconds)
        if runs and not as_json:
            click.echo(_left(job, seconds))


@jobs.command()
@click.argument("job", type=int)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line, one for each update.")
def watch(job: int, as_json: bool) -> None:
    """Show the progress of JOB until it ends, wherever it runs. Ctrl-C stops the watching, not the job."""
    from anyseek.api.commands.progress import Teller, follow, watched

    settings = read_settings()
    with opened_catalogue(settings) as database:
        held = CatalogueJobs(database)
        if as_json:
            follow(lambda: held.status(job), _echo_seen)
            return
        with watched(quiet=False) as shown:
            ended = follow(lambda: held.status(job), Teller(shown))
        _echo(database, settings, ended, as_json=False)


@jobs.command()
@click.argument("job", type=int)
@click.option(
    "--skipped", is_flag=True, help="List the inputs that were left out because another key has the same content."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def failures(job: int, skipped: bool, as_json: bool) -> None:
    """List the quarantined inputs of JOB, each on a line with its reason."""
    from anyseek.api.commands.index import all_failures, failure_line

    with opened_catalogue(read_settings()) as database:
        CatalogueJobs(database).status(job)
        for failure in all_failures(database, job, skipped):
            members = {"uri": failure.uri, "key": failure.key, "code": failure.code, "reason": failure.reason}
            click.echo(json.dumps(members) if as_json else failure_line(failure))


@jobs.command()
@click.argument("job", type=int)
def cancel(job: int) -> None:
    """Stop JOB, wherever it runs. What it has indexed stays."""
    settings = read_settings()
    with opened_catalogue(settings) as database:
        _echo(database, settings, CatalogueJobs(database).cancel(job), as_json=False)


@jobs.command()
@click.argument("job", type=int)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON at the end instead of text.")
def retry(job: int, as_json: bool) -> int:
    """Retry the quarantined inputs of JOB, such as files that have been repaired, and show the progress.

    Inputs that were refused while the folder was listed need `anyseek index` instead. The exit codes are those of that
    command. After Ctrl-C, run the same command again to go on with the rest.
    """
    from anyseek.api.commands.index import finish
    from anyseek.indexer.paths import from_uri
    from anyseek.indexer.runs import Owner
    from anyseek.indexer.sources.opening import open_source
    from anyseek.workers.runtime import Runtime

    started, settings = time.monotonic(), read_settings()
    with opened_catalogue(settings) as database:
        collection = CatalogueJobs(database).status(job).collection
    with Runtime.open_for(settings, collection, None) as runtime:
        with runtime.database.write() as session:
            catalogue_jobs.reopen(session, job)
        found = runtime.queue.status(job)
        if not as_json:
            click.echo(f"{found.counts.open} inputs will be tried again", err=True)
        assert found.root is not None
        source = open_source(settings, from_uri(found.root))
        with Owner(runtime.database, settings) as owner:
            return finish(runtime, found, source, owner, started, as_json, once=False)


def _seconds_left(settings: Settings, job: int) -> float | None:
    """What the running service of this data directory has seen to be left; None where it cannot tell.

    It takes several looks, so a command that looks once can only ask.
    """
    url = recorded_url(settings)
    if url is None:
        return None
    from anyseek.api.client.client import Client
    from anyseek.api.errors import ApiError, ServiceUnreachable

    try:
        with Client(url, os.environ.get("ANYSEEK_API_KEY"), timeout=_ANSWER_SECONDS) as client:
            left = client.job(job).seconds_left
    except (ApiError, ServiceUnreachable):  # it wants a key, or is busy: what it knows is not needed to show the job
        return None
    return left


def _left(job: int, seconds: float | None) -> str:
    if seconds is None:
        return f"the time left is not known here; estimate it by `anyseek jobs watch {job}`"
    from anyseek.workers.pace import time_left

    return time_left(seconds)


def _echo(database: Database, settings: Settings, job: Job, as_json: bool, **more: Any) -> None:
    """Print the job as a line, or as JSON with `more` members."""
    state = INTERRUPTED if _is_interrupted(database, settings, job) else job.state.value
    if as_json:
        click.echo(json.dumps({**_members(job), "state": state, **more}))
        return
    counts = job.counts
    said = f", {job.error}" if job.error else ""
    click.echo(
        f"{job.id} {job.kind} {_source(job)} -> {job.collection}: {state}{said}; indexed {counts.indexed}, "
        f"unchanged {counts.unchanged}, quarantined {counts.quarantined}, open {counts.open}, "
        f"ignored {job.ignored}, pruned {job.pruned}; {_times(job)}"
    )


def _source(job: Job) -> str:
    return job.root or ("a forgotten source" if job.kind == catalogue_jobs.INDEX else "its items")


def _times(job: Job) -> str:
    """When a job began, in the time of this machine, and how long it took or has taken so far."""
    lasted = (job.ended_at or datetime.now(UTC)) - job.created_at
    seconds = max(0, round(lasted.total_seconds()))
    took = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"began {job.created_at.astimezone():%Y-%m-%d %H:%M:%S}, {'took' if job.ended_at else 'for'} {took}"


def _echo_seen(seen: "Seen") -> None:
    members = {**_members(seen.job), "rate": seen.rate, "seconds_left": seen.seconds_left}
    click.echo(json.dumps(members))


def _members(job: Job) -> dict[str, Any]:
    ended = job.ended_at.isoformat() if job.ended_at else None
    return {**asdict(job), "created_at": job.created_at.isoformat(), "ended_at": ended}


def _is_interrupted(database: Database, settings: Settings, job: Job) -> bool:
    """Whether the owner of an active job has died; a job without an owner waits for workers or is in work."""
    if not job.active or job.owner is None:
        return False
    from anyseek.indexer.runs import Owner

    with database.read() as session:
        return not Owner(database, settings).living(session)(job.owner)
