"""`anyseek jobs` and `anyseek sources`: what indexing has done, could not do, and where items came from.

What works on jobs is imported by `retry` alone, so that looking at them starts at once.
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
    """Look at jobs, stop them, and retry the inputs that they could not index."""


@jobs.command("list")
@click.option("--collection", help="Only jobs of this collection.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="The most jobs to list.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def list_jobs(collection: str | None, limit: int, as_json: bool) -> None:
    """List the newest jobs, newest first."""
    settings = read_settings()
    with closing(open_database(settings)) as database:
        with database.read() as session:
            found = catalogue_jobs.list_page(session, None, limit, collection)
        for job in found:
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
    """Show the progress of JOB until it ends, wherever it runs. Ctrl-C stops the watching, not the job."""
    from anyseek.api.commands.progress import ProgressReporter, follow, progress_display

    settings = read_settings()
    with closing(open_database(settings)) as database:
        held = CatalogueJobs(database)
        if as_json:

            def echo(seen: "JobProgress") -> None:
                say(json.dumps({**_members(seen.job), "rate": seen.rate, "seconds_left": seen.seconds_left}))

            follow(lambda: held.status(job), echo)
            return
        with progress_display(quiet=False) as display:
            ended = follow(lambda: held.status(job), ProgressReporter(display))
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

    Inputs that were refused while the folder was listed need `anyseek index` instead. The exit codes are those of that
    command. After Ctrl-C, run the same command again to go on with the rest.
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
        found = runtime.queue.status(job)
        if not as_json:
            say(f"{found.counts.open} inputs will be tried again", err=True)
        assert found.root is not None
        source = open_source(settings, from_uri(found.root))
        with Owner(runtime.database, settings) as owner:
            return finish(runtime, found, source, owner, started, as_json, once=False)


def _echo(database: Database, settings: Settings, job: Job, as_json: bool) -> None:
    """Print the job as a line or as JSON."""
    state = INTERRUPTED if _is_interrupted(database, settings, job) else job.state.value
    if as_json:
        say(json.dumps({**_members(job), "state": state}))
        return
    counts, error = job.counts, f", {job.error}" if job.error else ""
    source = job.root or ("a forgotten source" if job.kind == catalogue_jobs.INDEX else "its items")
    seconds = max(0, round(((job.ended_at or datetime.now(UTC)) - job.created_at).total_seconds()))
    lasted = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    began = f"began {job.created_at.astimezone():%Y-%m-%d %H:%M:%S}, {'took' if job.ended_at else 'for'} {lasted}"
    say(
        f"{job.id} {job.kind} {source} -> {job.collection}: {state}{error}; indexed {counts.indexed}, "
        f"unchanged {counts.unchanged}, quarantined {counts.quarantined}, open {counts.open}, "
        f"ignored {job.ignored}, pruned {job.pruned}; {began}"
    )


def _members(job: Job) -> dict[str, Any]:
    ended = job.ended_at.isoformat() if job.ended_at else None
    return {**asdict(job), "created_at": job.created_at.isoformat(), "ended_at": ended}


def _is_interrupted(database: Database, settings: Settings, job: Job) -> bool:
    """Whether the owner of an active job has died; a job without an owner waits for workers or is in work."""
    if not job.active or job.owner is None:
        return False
    from anyseek.indexer.runs import Owner

    with database.read() as session:
        return not Owner(database, settings).liveness_check(session)(job.owner)


@click.group("sources")
def source_commands() -> None:
    """Show where the items of a collection came from, tell where that is now, and forget sources."""


@source_commands.command("list")
@click.option("--collection", help="Only the sources of this collection.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def list_sources(collection: str | None, as_json: bool) -> None:
    """List the sources of every collection, or of one, with their number of items."""
    with closing(open_database(read_settings())) as database, database.read() as session:
        some = collections.list_all(session) if collection is None else [collections.get(session, collection)]
        for held in some:
            for source in sources.list_sources(session, held):
                if as_json:
                    say(json.dumps({"collection": held.name, **asdict(source)}))
                    continue
                prefix = f", keys begin with {source.key_prefix}" if source.key_prefix else ""
                predicted = ", with predicted attributes" if source.predicts else ""
                gone = ", gone" if _is_gone(source.root) else ""
                say(f"{held.name}  {source.root}  {source.items:,} items{prefix}{predicted}{gone}")


@source_commands.command()
@click.argument("source")
@click.argument("to", type=click.Path(exists=True))
@_OF_COLLECTION
def move(source: str, to: str, collection: str) -> None:
    """Record that the files of SOURCE are now at TO. Nothing is read again; keys and vectors of the items stay.

    `anyseek index TO --collection NAME` finds out by itself that a folder has moved, if it is gone from where it was.
    """
    from anyseek.indexer.placing import move_source

    settings = read_settings()
    with closing(open_database(settings)) as database:
        moved = move_source(database, settings, collection, root_of(source), to)
    say(f"{moved.root}: {moved.items:,} items of {collection} are there now")


@source_commands.command()
@click.argument("source")
@_OF_COLLECTION
@click.option("--items/--keep-items", "with_items", default=False, show_default=True, help="Delete its items too.")
@click.option("--yes", is_flag=True, help="Do not ask before items are deleted.")
def forget(source: str, collection: str, with_items: bool, yes: bool) -> None:
    """Forget SOURCE. Its items stay and can still be found, unless --items deletes them. Files are never deleted."""
    with closing(open_database(read_settings())) as database:
        with database.read() as session:
            held = collections.get(session, collection)
            found = sources.find(session, held, root_of(source))
        if with_items and not yes:
            what = printable(f"the {found.items:,} items of {found.root} from {collection}")
            click.confirm(f"Delete {what}?", abort=True, err=True)
        sources.forget(database, held, found.id, with_items)
    what = "deleted" if with_items else f"kept in {collection}"
    say(f"{found.root} is forgotten; its {found.items:,} items are {what}")


def root_of(name: str) -> str:
    """A source as the catalogue names it: an address, or the absolute path, which need not exist."""
    return name.rstrip("/") if is_remote(name) else to_uri(os.path.realpath(Path(name)))


def _is_gone(root: str) -> bool:
    path = from_uri(root)
    return not (is_remote(root) or os.path.lexists(path) or set(path) & set("*?{"))
