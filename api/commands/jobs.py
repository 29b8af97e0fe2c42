"""`anyseek jobs` and `anyseek sources`: the progress and failures of jobs, and the sources of collections.

Only `retry` imports what runs jobs, so that the other commands start quickly.
"""

import json
import os
import time
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from anyseek.api.commands.output import printable, say
from anyseek.indexer.paths import from_uri, is_remote, to_uri
from anyseek.search.catalogue import collections, sources
from anyseek.search.catalogue import jobs as catalogue_jobs
from anyseek.search.catalogue.jobs import Job
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.upgrade import open_database
from anyseek.search.settings import Settings, read_settings
from anyseek.workers.catalogue_jobs import CatalogueJobs

if TYPE_CHECKING:
    from anyseek.workers.job_rate import JobProgress

INTERRUPTED = "interrupted"  # active, but the process that ran it is gone: indexing the folder again continues it
_OF_COLLECTION = click.option("--collection", required=True, help="The collection that the source belongs to.")


@click.group()
def jobs() -> None:
    """List, show and stop jobs, and retry the inputs that they could not index."""


@jobs.command("list")
@click.option("--collection", help="Only jobs of this collection.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="The most jobs to list.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def list_jobs(collection: str | None, limit: int, as_json: bool) -> None:
    """List the newest jobs, newest first."""
    settings = read_settings()
    with closing(open_database(settings)) as database:
        with database.read() as session:
            page = catalogue_jobs.list_page(session, None, limit, collection)
        for job in page:
            _echo(database, settings, CatalogueJobs(database).status(job.id), as_json)


@jobs.command()
@click.argument("job", type=int)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(job: int, as_json: bool) -> None:
    """Show the progress of JOB, or how it ended. `anyseek jobs watch` also estimates the time left."""
    settings = read_settings()
    with closing(open_database(settings)) as database:
        _echo(database, settings, CatalogueJobs(database).status(job), as_json)


@jobs.command()
@click.argument("job", type=int)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line, one for each update.")
def watch(job: int, as_json: bool) -> None:
    """Show the progress of JOB until it ends, wherever it runs. Ctrl-C stops watching, not the job."""
    from anyseek.api.commands.progress import ProgressReporter, follow, progress_display

    settings = read_settings()
    with closing(open_database(settings)) as database:
        job_store = CatalogueJobs(database)
        if as_json:

            def echo(progress: "JobProgress") -> None:
                times = {"rate": progress.rate, "seconds_left": progress.seconds_left}
                say(json.dumps({**_members(progress.job), **times}))

            follow(lambda: job_store.status(job), echo)
            return
        with progress_display(quiet=False) as display:
            ended = follow(lambda: job_store.status(job), ProgressReporter(display))
        _echo(database, settings, ended, as_json=False)


@jobs.command()
@click.argument("job", type=int)
@click.option(
    "--skipped", is_flag=True, help="List the inputs that were skipped because another key has the same content."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def failures(job: int, skipped: bool, as_json: bool) -> None:
    """List the quarantined inputs of JOB, each on a line with its reason."""
    from anyseek.api.commands.index import all_failures, failure_line

    with closing(open_database(read_settings())) as database:
        CatalogueJobs(database).status(job)
        for failure in all_failures(database, job, skipped):
            members = {"uri": failure.uri, "key": failure.key, "code": failure.code, "reason": failure.reason}
            say(json.dumps(members) if as_json else failure_line(failure))


@jobs.command()
@click.argument("job", type=int)
def cancel(job: int) -> None:
    """Stop JOB, wherever it runs. What it has indexed stays."""
    settings = read_settings()
    with closing(open_database(settings)) as database:
        _echo(database, settings, CatalogueJobs(database).cancel(job), as_json=False)


@jobs.command()
@click.argument("job", type=int)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON at the end instead of text.")
def retry(job: int, as_json: bool) -> int:
    """Retry the quarantined inputs of JOB, such as files that have been repaired, and show the progress.

    Inputs that were refused while the folder was listed need `anyseek index` instead, which has the same exit codes.
    After Ctrl-C, run the command again to retry the rest.
    """
    from anyseek.api.commands.index import finish
    from anyseek.indexer.runs import Owner
    from anyseek.indexer.sources.opening import open_source
    from anyseek.workers.runtime import Runtime

    started, settings = time.monotonic(), read_settings()
    with closing(open_database(settings)) as database:
        collection = CatalogueJobs(database).status(job).collection
    with Runtime.open_for(settings, collection, None) as runtime:
        with runtime.database.write() as session:
            catalogue_jobs.reopen(session, job)
        reopened_job = runtime.queue.status(job)
        if not as_json:
            say(f"{reopened_job.counts.open} inputs will be retried", err=True)
        assert reopened_job.root is not None
        source = open_source(settings, from_uri(reopened_job.root))
        with Owner(runtime.database, settings) as owner:
            return finish(runtime, reopened_job, source, owner, started, as_json, keep_job=True)


def _echo(database: Database, settings: Settings, job: Job, as_json: bool) -> None:
    """Print the job as a line or as JSON."""
    state = INTERRUPTED if _is_interrupted(database, settings, job) else job.state.value
    if as_json:
        say(json.dumps({**_members(job), "state": state}))
        return
    counts, error = job.counts, f", {job.error}" if job.error else ""
    source = job.root or ("a forgotten source" if job.kind == catalogue_jobs.INDEX else "its items")
    seconds = max(0, round(((job.ended_at or datetime.now(UTC)) - job.created_at).total_seconds()))
    duration = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    timing = f"began {job.created_at.astimezone():%Y-%m-%d %H:%M:%S}, {'took' if job.ended_at else 'for'} {duration}"
    say(
        f"{job.id} {job.kind} {source} -> {job.collection}: {state}{error}; indexed {counts.indexed}, "
        f"unchanged {counts.unchanged}, quarantined {counts.quarantined}, open {counts.open}, "
        f"ignored {job.ignored}, pruned {job.pruned}; {timing}"
    )


def _members(job: Job) -> dict[str, Any]:
    ended = job.ended_at.isoformat() if job.ended_at else None
    return {**asdict(job), "created_at": job.created_at.isoformat(), "ended_at": ended}


def _is_interrupted(database: Database, settings: Settings, job: Job) -> bool:
    """Whether the process that owns an active job has died. A job without an owner belongs to the workers."""
    if not job.active or job.owner is None:
        return False
    from anyseek.indexer.runs import Owner

    with database.read() as session:
        return not Owner(database, settings).liveness_check(session)(job.owner)


@click.group("sources")
def source_commands() -> None:
    """List, move and forget the sources of a collection."""


@source_commands.command("list")
@click.option("--collection", help="Only the sources of this collection.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def list_sources(collection: str | None, as_json: bool) -> None:
    """List the sources of every collection, or of one, with their number of items."""
    with closing(open_database(read_settings())) as database, database.read() as session:
        rows = collections.list_all(session) if collection is None else [collections.get(session, collection)]
        for row in rows:
            for source in sources.list_sources(session, row):
                if as_json:
                    say(json.dumps({"collection": row.name, **asdict(source)}))
                    continue
                prefix = f", keys begin with {source.key_prefix}" if source.key_prefix else ""
                predicted = ", with predicted attributes" if source.predicts else ""
                gone = ", gone" if _is_gone(source.root) else ""
                say(f"{row.name}  {source.root}  {source.items:,} items{prefix}{predicted}{gone}")


@source_commands.command()
@click.argument("source")
@click.argument("to", type=click.Path(exists=True))
@_OF_COLLECTION
def move(source: str, to: str, collection: str) -> None:
    """Record that the files of SOURCE are now at TO. Nothing is read again; items keep their keys and vectors.

    `anyseek index TO --collection NAME` detects a moved folder itself, if its old path no longer exists.
    """
    from anyseek.indexer.placing import move_source

    settings = read_settings()
    with closing(open_database(settings)) as database:
        moved_source = move_source(database, settings, collection, root_of(source), to)
    say(f"{moved_source.root}: {moved_source.items:,} items of {collection} are there now")


@source_commands.command()
@click.argument("source")
@_OF_COLLECTION
@click.option("--items/--keep-items", "with_items", default=False, show_default=True, help="Delete its items too.")
@click.option("--yes", is_flag=True, help="Do not ask before items are deleted.")
def forget(source: str, collection: str, with_items: bool, yes: bool) -> None:
    """Forget SOURCE. Its items stay and can still be found, unless --items deletes them. Files are never deleted."""
    with closing(open_database(read_settings())) as database:
        with database.read() as session:
            row = collections.get(session, collection)
            source_row = sources.find(session, row, root_of(source))
        if with_items and not yes:
            what = printable(f"the {source_row.items:,} items of {source_row.root} from {collection}")
            click.confirm(f"Delete {what}?", abort=True, err=True)
        sources.forget(database, row, source_row.id, with_items)
    what = "deleted" if with_items else f"kept in {collection}"
    say(f"{source_row.root} is forgotten; its {source_row.items:,} items are {what}")


def root_of(name: str) -> str:
    """The root of a source as the catalogue has it: a URL, or a file URI of the absolute path, which need not exist."""
    return name.rstrip("/") if is_remote(name) else to_uri(os.path.realpath(Path(name)))


def _is_gone(root: str) -> bool:
    path = from_uri(root)
    return not (is_remote(root) or os.path.lexists(path) or set(path) & set("*?{"))
