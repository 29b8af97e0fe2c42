"""`anyseek index SOURCE --collection NAME`."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from api.commands.following import Teller, follow
from api.commands.index_output import echo_failures, echo_summary, watched
from indexer.errors import JobStopped, ModelMismatch
from indexer.indexing import IndexRun, open_collection, open_job
from indexer.owner import Owner
from indexer.sources.base import Source
from indexer.sources.opening import is_remote, open_source
from search.catalogue import collections
from search.catalogue.jobs import Job, JobState
from search.errors import CollectionNotFound
from search.settings import read_settings
from search.types import Collection, OnDuplicate
from workers.runtime import Runtime

DONE, FAILED, SOME_QUARANTINED, INTERRUPTED = 0, 1, 3, 130


def _there(context: click.Context, parameter: click.Parameter, name: str) -> str:
    """A path that is there, a pattern of shards, or an address."""
    if not is_remote(name) and not set(name) & set("*?{") and not os.path.lexists(name):
        raise click.BadParameter(f"{name!r} does not exist")
    return name


@click.command()
@click.argument("source", callback=_there)
@click.option("--collection", required=True, help="Where the pictures go; made if there is none of that name.")
@click.option("--model", help="The model of a collection that is made; an existing one keeps its own.")
@click.option("--prune", is_flag=True, help="Take out items of this source that it no longer has.")
@click.option(
    "--on-duplicate",
    type=click.Choice([one.value for one in OnDuplicate]),
    default=OnDuplicate.LINK.value,
    show_default=True,
    help="What to do with content that another key has: keep both, skip the later one, or refuse it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON at the end instead of words.")
def index(source: str, collection: str, model: str | None, prune: bool, on_duplicate: str, as_json: bool) -> int:
    """Put the pictures of SOURCE into a collection.

    SOURCE is a folder, with the folders in it; a table (.jsonl, .csv, .parquet) whose column "file" or "url" says
    which pictures; a list of URLs (.txt); shards in tar archives ('shards-{000..010}.tar'); or a bucket
    (s3://bucket/prefix), where any of these may lie too.

    Files that have not changed since the last time are skipped. What cannot be taken in is named with its reason and
    listed by `anyseek jobs failures`. A run that was interrupted goes on when it is started again. Where
    ANYSEEK_BROKER_URL is set, workers do it, and this command watches them.

    A file NAME.json beside NAME.jpg, or lines of a manifest.jsonl in a folder that name their "file", can give an
    item's "key", "caption", "attributes" and further files: "modalities": {"depth": "NAME.depth.png"}.

    Exits with 0 if everything is in, 3 if some files could not be taken in, 1 if it failed, 2 for wrong usage.
    """
    settings = read_settings()
    try:
        with Runtime.open_for(settings, collection, model) as runtime:
            return index_folder(runtime, source, collection, prune, as_json, OnDuplicate(on_duplicate))
    except ModelMismatch as error:
        raise click.UsageError(str(error)) from error


def index_folder(
    runtime: Runtime,
    name: str | Path,
    collection: str,
    prune: bool,
    as_json: bool,
    on_duplicate: OnDuplicate = OnDuplicate.LINK,
) -> int:
    """Bring a collection in line with a source, saying how far it is; returns the exit code."""
    started = time.monotonic()
    source = open_source(runtime.settings, name)
    into = _held_or_made(runtime, collection)
    with Owner(runtime.database, runtime.settings) as owner:
        adopt = not runtime.settings.broker_url
        job = open_job(runtime.database, into, source, owner, prune, adopt, on_duplicate)
        return finish(runtime, job, source, owner, started, as_json)


def finish(
    runtime: Runtime, job: Job, source: Source, owner: Owner, started: float, as_json: bool, once: bool = True
) -> int:
    """Run a job here, or watch the workers that do; say what became of it, and return the exit code.

    A job that is to run `once` is cancelled by Ctrl-C; another one may be gone on with.
    """
    try:
        if runtime.settings.broker_url:
            job = _watch_workers(runtime, job, as_json)
        else:
            job = _run_here(runtime, job, source, owner, as_json, once)
    except JobStopped as error:
        click.echo(str(error), err=True)
        return INTERRUPTED
    finally:
        echo_failures(runtime.database, job.id, to_stderr=as_json)
    echo_summary(job, time.monotonic() - started, as_json)
    if job.state != JobState.DONE:
        return FAILED
    return SOME_QUARANTINED if job.counts.quarantined else DONE


def _held_or_made(runtime: Runtime, name: str) -> Collection:
    """The collection; where workers do the work, the model is loaded here only to make a new one."""
    if runtime.settings.broker_url:
        try:
            with runtime.database.read() as session:
                return collections.get(session, name)
        except CollectionNotFound:
            pass
    return open_collection(runtime.tools(), name)


def _run_here(runtime: Runtime, job: Job, source: Source, owner: Owner, as_json: bool, once: bool) -> Job:
    tools = runtime.tools()
    try:
        with watched(as_json) as progress, stopped_by_ctrl_c(owner):
            return IndexRun(tools, open_collection(tools, job.collection), source, owner, progress).run(job)
    except JobStopped as error:
        if once:
            runtime.queue.cancel(job.id)
        raise JobStopped("interrupted; run the same command again to go on from here") from error


def _watch_workers(runtime: Runtime, job: Job, as_json: bool) -> Job:
    runtime.queue.submit(job.id)
    try:
        with watched(as_json) as progress:
            return follow(lambda: runtime.queue.status(job.id), Teller(progress))
    except KeyboardInterrupt as error:
        raise JobStopped(f"the workers go on; `anyseek jobs watch {job.id}` shows how far they are") from error


@contextmanager
def stopped_by_ctrl_c(owner: Owner) -> Iterator[None]:
    """The first Ctrl-C has the run end at its next step, the second kills the process, which loses nothing either.

    An interrupt in the middle of a transaction would leave it open, and what cleans up would wait for it for ever.
    """

    def stop(number: int, frame: object) -> None:
        owner.stop()
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
