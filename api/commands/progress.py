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
from anyseek.workers.job_rate import MIN_WAIT, JobProgress, ProgressMonitor, time_left

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 10.0
# A process that indexes looks less often than one that only watches, which takes a fiftieth of its time at most.
POLL_INTERVAL_FACTOR = 5.0


@contextmanager
def progress_display(quiet: bool) -> "Iterator[ProgressDisplay]":
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

    def scanned(self, inputs: int) -> None:
        self._bar.update(inputs - self._bar.n)

    def started(self, inputs: int, unchanged: int) -> None:
        self._bar.set_description("indexing", refresh=False)
        self._bar.bar_format = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"
        self._bar.set_postfix_str(time_left(None), refresh=False)
        self._bar.reset(total=inputs - unchanged)

    def progressed(self, seen: JobProgress) -> None:
        done, self._bar.total = _done_and_total(seen)
        self._bar.n = done
        self._bar.set_postfix_str(time_left(seen.seconds_left) if seen.job.active else "")


class Lines:
    """Shows progress by plain lines, one every `SECONDS_BETWEEN_LINES`."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._last = time.monotonic()

    def scanned(self, inputs: int) -> None:
        self._say_throttled(f"found {inputs} pictures so far")

    def started(self, inputs: int, unchanged: int) -> None:
        self._say(f"found {inputs} pictures" + (f", {unchanged} unchanged" if unchanged > 0 else ""))

    def progressed(self, seen: JobProgress) -> None:
        done, total = _done_and_total(seen)
        left = f", {time_left(seen.seconds_left)}" if seen.job.active else ""
        self._say_throttled(f"indexed {done} of {total}{left}")

    def _say_throttled(self, line: str) -> None:
        if time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._say(line)

    def _say(self, line: str) -> None:
        self._last = time.monotonic()
        if not self._quiet:
            say(line, err=True)


ProgressDisplay = Bar | Lines
"""Told `scanned` while inputs are listed, `started` once all are, and `progressed` while the job runs."""


def _done_and_total(seen: JobProgress) -> tuple[int, int]:
    """How many inputs have been worked on, and of how many: unchanged ones are in neither."""
    counts = seen.job.counts
    done = counts.settled - counts.unchanged
    return done, done + counts.open


class PollingProgress:
    """Implements `Progress` for a job that runs here, perhaps beside other processes: it looks what all have done."""

    def __init__(
        self, display: ProgressDisplay, monitor: ProgressMonitor, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._display, self._monitor, self._clock = display, monitor, clock
        self._found = 0
        self._wait, self._next = MIN_WAIT, clock()

    def scanned(self, inputs: int) -> None:
        self._found += inputs
        self._display.scanned(self._found)

    def started(self, inputs: int) -> None:
        self._display.started(max(self._found, inputs), max(0, self._found - inputs))

    def settled(self, inputs: int) -> None:
        if self._clock() >= self._next:
            self._poll()

    def ended(self) -> None:
        """Once the job has ended: show the last inputs, which may have been settled too soon after others."""
        self._poll()

    def _poll(self) -> None:
        """A look that fails, as at a collection that is being deleted or a catalogue that is busy, ends no work."""
        try:
            seen = self._monitor.measure()
        except (AnyseekError, SQLAlchemyError) as error:
            logger.warning("the progress of this job cannot be told now: %s", error_message(error))
        else:
            self._wait = seen.wait
            self._display.progressed(seen)
        self._next = self._clock() + POLL_INTERVAL_FACTOR * self._wait


def follow(read_job: Callable[[], Job], callback: Callable[[JobProgress], None]) -> Job:
    """Pass the progress of the job to `callback`, repeatedly, until the job has ended; return the ended job."""
    monitor = ProgressMonitor(read_job)
    while True:
        seen = monitor.measure()
        callback(seen)
        if not seen.job.active:
            return seen.job
        time.sleep(seen.wait)


class ProgressReporter:
    """Turns repeated views of a job into what is shown of it."""

    def __init__(self, display: ProgressDisplay) -> None:
        self._display = display
        self._has_started = False

    def __call__(self, seen: JobProgress) -> None:
        counts = seen.job.counts
        if seen.job.state == JobState.SCANNING:
            self._display.scanned(counts.open + counts.settled)
            return
        if not self._has_started:
            self._has_started = True
            self._display.started(counts.open + counts.settled, counts.unchanged)
        self._display.progressed(seen)
