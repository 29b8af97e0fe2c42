"""`anyseek index SOURCE --collection NAME`: starts a job and shows its progress, as a bar on a terminal or plain lines.

`anyseek jobs` prints failures and results with the same functions.
"""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from anyseek.api.commands.output import say
from anyseek.api.commands.progress import PollingProgress, ProgressReporter, follow, progress_display
from anyseek.indexer.errors import JobStopped, ModelMismatch
from anyseek.indexer.indexing import IndexRun, ensure_collection, open_job
from anyseek.indexer.paths import is_remote, one_line
from anyseek.indexer.placing import parse_prefix, place_source
from anyseek.indexer.runs import NoProgress, Owner
from anyseek.indexer.sources.base import Source
from anyseek.indexer.sources.opening import open_source
from anyseek.search.catalogue import collections, ledger
from anyseek.search.catalogue.jobs import Job, JobState
from anyseek.search.catalogue.ledger import Failure
from anyseek.search.catalogue.session import Database
from anyseek.search.errors import CollectionNotFound
from anyseek.search.settings import DEFAULT_MODEL, read_settings
from anyseek.search.types import Collection, OnDuplicate
from anyseek.workers.catalogue_jobs import CatalogueJobs
from anyseek.workers.job_rate import ProgressMonitor
from anyseek.workers.runtime import Runtime

DONE, FAILED, SOME_QUARANTINED, INTERRUPTED = 0, 1, 3, 130
_PAGE = 500
_BUNDLED_MODEL_NOTE = (
    "using {}, the bundled model: good for icons, clip art, everyday objects and rooms. For photos use a stronger one "
    "with --model; docs/models.md lists them"
)


def _existing_source(context: click.Context, parameter: click.Parameter, name: str) -> str:
    """A click callback: an existing path, a pattern of shards, or a URL. Raises `click.BadParameter`."""
    if not is_remote(name) and not set(name) & set("*?{") and not os.path.lexists(name):
        raise click.BadParameter(f"{name!r} does not exist")
    return name


@click.command()
@click.argument("source", callback=_existing_source)
@click.option("--collection", required=True, help="The collection to put the pictures into; made if it does not exist.")
@click.option("--model", help="The model for a new collection; an existing one keeps its model.")
@click.option("--prune", is_flag=True, help="Remove items that are no longer in this source.")
@click.option(
    "--key-prefix",
    metavar="PREFIX",
    help="Begin the keys of a new source with PREFIX/; by default with the folder's name if keys would clash.",
)
@click.option(
    "--on-duplicate",
    type=click.Choice([choice.value for choice in OnDuplicate]),
    default=OnDuplicate.LINK.value,
    show_default=True,
    help="What to do with content that another key already has: keep both, skip the later one, or refuse it.",
)
@click.option(
    "--predict-attributes/--no-predict-attributes",
    "predicts",
    default=None,
    help="Also give items attributes predicted from their pictures; the source keeps this choice.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON at the end instead of text.")
def index(
    source: str,
    collection: str,
    model: str | None,
    prune: bool,
    key_prefix: str | None,
    on_duplicate: str,
    predicts: bool | None,
    as_json: bool,
) -> int:
    """Put the pictures of SOURCE into a collection.

    SOURCE is a folder with its subfolders; a table (.jsonl, .csv, .parquet) whose column "file" or "url" names the
    pictures; a list of URLs (.txt); shards in tar archives ('shards-{000..010}.tar'); or a bucket (s3://bucket/prefix),
    which may also hold any of these.

    Unchanged files are skipped. If a folder has moved, index it at its new path: its items are kept and refer to that
    path. Inputs that cannot be indexed are printed with the reason and listed by `anyseek jobs failures`. Run the
    command again to resume an interrupted run. If ANYSEEK_BROKER_URL is set, workers do the work and this command
    watches them.

    A file NAME.json next to NAME.jpg, or a line of a manifest.jsonl in the folder that names the "file", can give an
    item's "key", "caption", "attributes" and further files: "modalities": {"depth": "NAME.depth.png"}.

    Exits with 0 if everything was indexed, 3 if some inputs were not, 1 if it failed, 2 for wrong usage.
    """
    settings = read_settings()
    prefix = None if key_prefix is None else parse_prefix(key_prefix)
    try:
        with Runtime.open_for(settings, collection, model) as runtime:
            if model is None and runtime.model == DEFAULT_MODEL and _find_collection(runtime, collection) is None:
                say(_BUNDLED_MODEL_NOTE.format(DEFAULT_MODEL), err=True)
            choice = OnDuplicate(on_duplicate)
            return index_folder(runtime, source, collection, prune, as_json, choice, prefix, predicts)
    except ModelMismatch as error:
        raise click.UsageError(str(error)) from error


def index_folder(
    runtime: Runtime,
    name: str | Path,
    collection: str,
    prune: bool,
    as_json: bool,
    on_duplicate: OnDuplicate = OnDuplicate.LINK,
    key_prefix: str | None = None,
    predicts: bool | None = None,
) -> int:
    """Index a source into a collection and show the progress; return the exit code."""
    started = time.monotonic()
    source = open_source(runtime.settings, name)
    target = _find_collection(runtime, collection) or ensure_collection(runtime.context(), collection)
    placed = place_source(runtime.database, target, source, key_prefix)
    if placed.moved_from is not None:
        say(f"{placed.moved_from} has moved to {source.uri}: its items are kept and refer to the new path", err=True)
    elif placed.clash is not None:
        why = f"{placed.clash!r} belongs to another item (choose with --key-prefix)"
        say(f"the keys of {source.uri} begin with {placed.key_prefix}: {why}", err=True)
    with Owner(runtime.database, runtime.settings) as owner:
        adopt = not runtime.settings.broker_url
        job = open_job(target, source, owner, prune, adopt, on_duplicate, predicts)
        return finish(runtime, job, source, owner, started, as_json)


def finish(
    runtime: Runtime, job: Job, source: Source, owner: Owner, started: float, as_json: bool, keep_job: bool = False
) -> int:
    """Run a job here, or watch the workers that do; print the result and return the exit code.

    Ctrl-C cancels the job unless `keep_job`, with which the same job can be continued.
    """
    try:
        if runtime.settings.broker_url:
            job = _watch_workers(runtime, job, as_json)
        else:
            job = _run_here(runtime, job, source, owner, as_json, keep_job)
    except JobStopped as error:
        say(str(error), err=True)
        return INTERRUPTED
    finally:
        for failure in all_failures(runtime.database, job.id):
            say(f"quarantined {failure_line(failure)}", err=as_json)
    _echo_summary(job, time.monotonic() - started, as_json)
    if job.state != JobState.DONE:
        return FAILED
    return SOME_QUARANTINED if job.counts.quarantined else DONE


def _find_collection(runtime: Runtime, name: str) -> Collection | None:
    try:
        with runtime.database.read() as session:
            return collections.get(session, name)
    except CollectionNotFound:
        return None


def _run_here(runtime: Runtime, job: Job, source: Source, owner: Owner, as_json: bool, keep_job: bool) -> Job:
    try:
        with progress_display(as_json) as display, stop_on_ctrl_c(owner):
            status = CatalogueJobs(runtime.database).status
            progress = None if as_json else PollingProgress(display, ProgressMonitor(lambda: status(job.id)))
            ended = IndexRun(runtime.context, source, owner, progress or NoProgress()).run(job)
            if progress is not None:
                progress.ended()
            return ended
    except JobStopped as error:
        if not keep_job:
            runtime.queue.cancel(job.id)
        raise JobStopped("interrupted; run the same command again to resume") from error


def _watch_workers(runtime: Runtime, job: Job, as_json: bool) -> Job:
    runtime.queue.submit(job.id)
    try:
        with progress_display(as_json) as display:
            return follow(lambda: runtime.queue.status(job.id), ProgressReporter(display))
    except KeyboardInterrupt as error:
        raise JobStopped(f"the workers continue; `anyseek jobs watch {job.id}` shows their progress") from error


@contextmanager
def stop_on_ctrl_c(owner: Owner) -> Iterator[None]:
    """Stop the run at its next step on the first Ctrl-C; a second one kills the process, which loses nothing either.

    A KeyboardInterrupt inside a transaction would leave it open, and the cleanup would wait for it forever.
    """

    def stop(number: int, frame: object) -> None:
        owner.stop()
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    previous = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def failure_line(failure: Failure) -> str:
    """A quarantined input with its reason, on one line even if its name contains line breaks."""
    return one_line(f"{failure.uri}: {failure.reason} [{failure.code}]")


def all_failures(database: Database, job_id: int, skipped: bool = False) -> Iterator[Failure]:
    """The quarantined inputs of a job, or with `skipped` its duplicates; read in pages."""
    read = ledger.list_skipped if skipped else ledger.list_failures
    after = 0
    while True:
        with database.read() as session:
            page = read(session, job_id, after, _PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].id


def _echo_summary(job: Job, seconds: float, as_json: bool) -> None:
    """Print the last line: numbers of inputs, seconds, and inputs per second."""
    counts = job.counts
    rate = counts.settled / seconds
    if as_json:
        numbers = {name: getattr(counts, name) for name in ("indexed", "unchanged", "quarantined", "skipped")}
        numbers |= {"ignored": job.ignored, "pruned": job.pruned}
        identity = {"job": job.id, "collection": job.collection, "state": job.state.value, "error": job.error}
        say(json.dumps({**identity, **numbers, "seconds": round(seconds, 3), "items_per_second": round(rate, 1)}))
        return
    state = "" if job.state == JobState.DONE else f" ({job.state.value}: {job.error})"
    skipped = f", skipped {counts.skipped}" if counts.skipped else ""
    say(
        f"job {job.id}{state}: indexed {counts.indexed}, unchanged {counts.unchanged}, quarantined {counts.quarantined}"
        f"{skipped}, ignored {job.ignored}, pruned {job.pruned} in {seconds:.1f} s ({rate:.1f} items/s)"
    )
