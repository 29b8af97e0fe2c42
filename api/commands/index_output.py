"""What `anyseek index` shows: a bar on a terminal, plain lines otherwise, failures and a summary at the end."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Never

import click
from tqdm import tqdm

from indexer.paths import one_line
from indexer.progress import Progress
from search.catalogue import ledger
from search.catalogue.jobs import Job, JobState
from search.catalogue.ledger import Failure
from search.catalogue.session import Database

SECONDS_BETWEEN_LINES = 10.0
_PAGE = 500


@contextmanager
def watched(quiet: bool) -> Iterator[Progress]:
    """Progress on stderr: a bar if that is a terminal, else a line now and then; neither if `quiet`."""
    if sys.stderr.isatty() and not quiet:
        with tqdm(desc="looking for pictures", unit=" files", dynamic_ncols=True) as bar:
            yield Bar(bar)
    else:
        yield Lines(quiet)


class Bar:
    """Implements `Progress` with tqdm."""

    def __init__(self, bar: "tqdm[Never]") -> None:
        self._bar = bar

    def scanned(self, inputs: int) -> None:
        self._bar.update(inputs)

    def started(self, inputs: int) -> None:
        self._bar.set_description("indexing")
        self._bar.reset(total=inputs)

    def settled(self, inputs: int) -> None:
        self._bar.update(inputs)


class Lines:
    """Implements `Progress` with plain lines, one every `SECONDS_BETWEEN_LINES`."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._found = self._settled = self._total = 0
        self._last = time.monotonic()

    def scanned(self, inputs: int) -> None:
        self._found += inputs
        self._now_and_then(f"found {self._found} pictures so far")

    def started(self, inputs: int) -> None:
        self._total = inputs
        self._say(f"found {inputs} pictures")

    def settled(self, inputs: int) -> None:
        self._settled += inputs
        self._now_and_then(f"indexed {self._settled} of {self._total}")

    def _now_and_then(self, line: str) -> None:
        if time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._say(line)

    def _say(self, line: str) -> None:
        self._last = time.monotonic()
        if not self._quiet:
            click.echo(line, err=True)


def failure_line(failure: Failure) -> str:
    """One quarantined input with its reason, on one line whatever its name holds."""
    return one_line(f"{failure.uri}: {failure.reason} [{failure.code}]")


def all_failures(database: Database, job_id: int, skipped: bool = False) -> Iterator[Failure]:
    """The quarantined inputs of a job, or those that were left out as duplicates; read in pages."""
    read = ledger.skipped if skipped else ledger.failures
    after = 0
    while True:
        with database.read() as session:
            page = read(session, job_id, after, _PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].id


def echo_failures(database: Database, job_id: int, to_stderr: bool) -> None:
    for failure in all_failures(database, job_id):
        click.echo(f"quarantined {failure_line(failure)}", err=to_stderr)


def echo_summary(job: Job, seconds: float, as_json: bool) -> None:
    """The last line: numbers of inputs, seconds, and inputs a second."""
    counts = job.counts
    rate = counts.settled / seconds
    if as_json:
        members = {
            "job": job.id,
            "collection": job.collection,
            "state": job.state.value,
            "error": job.error,
            "indexed": counts.indexed,
            "unchanged": counts.unchanged,
            "quarantined": counts.quarantined,
            "skipped": counts.skipped,
            "ignored": job.ignored,
            "pruned": job.pruned,
            "seconds": round(seconds, 3),
            "items_per_second": round(rate, 1),
        }
        click.echo(json.dumps(members))
        return
    said = "" if job.state == JobState.DONE else f" ({job.state.value}: {job.error})"
    numbers = f"indexed {counts.indexed}, unchanged {counts.unchanged}, quarantined {counts.quarantined}"
    numbers += f", skipped {counts.skipped}" if counts.skipped else ""
    others = f"ignored {job.ignored}, pruned {job.pruned}"
    click.echo(f"job {job.id}{said}: {numbers}, {others} in {seconds:.1f} s ({rate:.1f} items/s)")
