"""`anyseek index FOLDER --collection NAME`."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from api.commands.index_output import echo_failures, echo_summary, watched
from indexer.errors import JobStopped, ModelMismatch
from indexer.indexing import IndexRun, open_collection, open_job, open_source
from indexer.owner import Owner
from search.catalogue.jobs import JobState
from search.settings import read_settings
from workers.runtime import Runtime

DONE, FAILED, SOME_QUARANTINED, INTERRUPTED = 0, 1, 3, 130


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, readable=False, path_type=Path))
@click.option("--collection", required=True, help="Where the pictures go; made if there is none of that name.")
@click.option("--model", help="The model of a collection that is made; an existing one keeps its own.")
@click.option("--prune", is_flag=True, help="Take out items of this folder whose files are gone.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON at the end instead of words.")
def index(folder: Path, collection: str, model: str | None, prune: bool, as_json: bool) -> int:
    """Put the pictures of FOLDER, and of the folders in it, into a collection.

    Files that have not changed since the last time are skipped. What cannot be taken in is named with its reason and
    listed by `anyseek jobs failures`. A run that was interrupted goes on when it is started again.

    A file NAME.json beside NAME.jpg, or lines of a manifest.jsonl in FOLDER that name their "file", can give an item's
    "key", "caption", "attributes" and further files: "modalities": {"depth": "NAME.depth.png"}.

    Exits with 0 if everything is in, 3 if some files could not be taken in, 1 if it failed, 2 for wrong usage.
    """
    settings = read_settings()
    try:
        with Runtime.open_for(settings, collection, model) as runtime:
            return index_folder(runtime, folder, collection, prune, as_json)
    except ModelMismatch as error:
        raise click.UsageError(str(error)) from error


def index_folder(runtime: Runtime, folder: Path, collection: str, prune: bool, as_json: bool) -> int:
    """Bring a collection in line with a folder, saying how far it is; returns the exit code."""
    started = time.monotonic()
    source = open_source(runtime.settings, folder)
    tools = runtime.tools()
    into = open_collection(tools, collection)
    with Owner(runtime.settings.locks) as owner:
        job = open_job(tools, into, source, owner, prune)
        try:
            with watched(as_json) as progress, stopped_by_ctrl_c(owner):
                job = IndexRun(tools, into, source, owner, progress).run(job)
        except JobStopped:
            runtime.queue.cancel(job.id)
            click.echo("interrupted; run the same command again to go on from here", err=True)
            return INTERRUPTED
        finally:
            echo_failures(runtime.database, job.id, to_stderr=as_json)
    echo_summary(job, time.monotonic() - started, as_json)
    if job.state != JobState.DONE:
        return FAILED
    return SOME_QUARANTINED if job.counts.quarantined else DONE


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
