"""How far a job is, as a bar on a terminal or plain lines: of a job that runs here, and of one that others run."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Never

from sqlalchemy.exc import SQLAlchemyError
from tqdm import tqdm

from anyseek.api.commands.output import say
from anyseek.search.catalogue.failures import error_message
from anyseek.search.catalogue.jobs import Job, JobState
from anyseek.search.errors import AnyseekError
from anyseek.workers.job_rate import SHORTEST_WAIT, JobProgress, ProgressMonitor, time_left

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 10.0
# A process that indexes looks less often than one that only watches, which takes a fiftieth of its time at most.
LOOKING_SHARE = 5.0


@contextmanager
def watched(quiet: bool) -> "Iterator[Shown]":
    """Progress on stderr: a bar if that is a terminal, else a line now and then; neither if `quiet`."""
    if sys.stderr.isatty() and not quiet:
        with tqdm(desc="looking for pictures", unit=" files", dynamic_ncols=True) as bar:
            yield Bar(bar)
    else:
        yield Lines(quiet)


class Bar:
    """Shows progress by tqdm, but for the time left: tqdm's own takes unchanged inputs for fast ones."""

    def __init__(self, bar: "tqdm[Never]") -> None:
        self._bar = bar

    def scanned(self, found: int) -> None:
        self._bar.update(found - self._bar.n)

    def started(self, found: int, unchanged: int) -> None:
        self._bar.set_description("indexing", refresh=False)
        self._bar.bar_format = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"
        self._bar.set_postfix_str(time_left(None), refresh=False)
        self._bar.reset(total=found - unchanged)

    def progressed(self, seen: JobProgress) -> None:
        done, self._bar.total = _worked(seen)
        self._bar.n = done
        self._bar.set_postfix_str(time_left(seen.seconds_left) if seen.job.active else "")


class Lines:
    """Shows progress by plain lines, one every `SECONDS_BETWEEN_LINES`."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._last = time.monotonic()

    def scanned(self, found: int) -> None:
        self._now_and_then(f"found {found} pictures so far")

    def started(self, found: int, unchanged: int) -> None:
        self._say(f"found {found} pictures" + (f", {unchanged} unchanged" if unchanged > 0 else ""))

    def progressed(self, seen: JobProgress) -> None:
        done, total = _worked(seen)
        left = f", {time_left(seen.seconds_left)}" if seen.job.active else ""
        self._now_and_then(f"indexed {done} of {total}{left}")

    def _now_and_then(self, line: str) -> None:
        if time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._say(line)

    def _say(self, line: str) -> None:
        self._last = time.monotonic()
        if not self._quiet:
            say(line, err=True)


Shown = Bar | Lines
"""Told `scanned` while inputs are listed, `started` once all are, and `progressed` while the job runs."""


def _worked(seen: JobProgress) -> tuple[int, int]:
    """How many inputs have been worked on, and of how many: unchanged ones are in neither."""
    counts = seen.job.counts
    done = counts.settled - counts.unchanged
    return done, done + counts.open


class Looking:
    """Implements `Progress` for a job that runs here, perhaps beside other processes: it looks what all have done."""

    def __init__(self, shown: Shown, monitor: ProgressMonitor, clock: Callable[[], float] = time.monotonic) -> None:
        self._shown, self._monitor, self._clock = shown, monitor, clock
        self._found = 0
        self._wait, self._next = SHORTEST_WAIT, clock()

    def scanned(self, inputs: int) -> None:
        self._found += inputs
        self._shown.scanned(self._found)

    def started(self, inputs: int) -> None:
        self._shown.started(max(self._found, inputs), max(0, self._found - inputs))

    def settled(self, inputs: int) -> None:
        if self._clock() >= self._next:
            self._see()

    def ended(self) -> None:
        """Once the job has ended: show the last inputs, which may have been settled too soon after others."""
        self._see()

    def _see(self) -> None:
        """A look that fails, as at a collection that is being deleted or a catalogue that is busy, ends no work."""
        try:
            seen = self._monitor.measure()
        except (AnyseekError, SQLAlchemyError) as error:
            logger.warning("the progress of this job cannot be told now: %s", error_message(error))
        else:
            self._wait = seen.wait
            self._shown.progressed(seen)
        self._next = self._clock() + LOOKING_SHARE * self._wait


def follow(look: Callable[[], Job], see: Callable[[JobProgress], None]) -> Job:
    """Pass the job that `look` returns to `see`, repeatedly, until it has ended; return the ended job."""
    monitor = ProgressMonitor(look)
    while True:
        seen = monitor.measure()
        see(seen)
        if not seen.job.active:
            return seen.job
        time.sleep(seen.wait)


class Teller:
    """Turns repeated views of a job into what is shown of it."""

    def __init__(self, shown: Shown) -> None:
        self._shown = shown
        self._has_started = False

    def __call__(self, seen: JobProgress) -> None:
        counts = seen.job.counts
        if seen.job.state == JobState.SCANNING:
            self._shown.scanned(counts.open + counts.settled)
            return
        if not self._has_started:
            self._has_started = True
            self._shown.started(counts.open + counts.settled, counts.unchanged)
        self._shown.progressed(seen)
