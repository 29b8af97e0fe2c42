"""The progress of a job, run by this process or by others, as a bar on a terminal or as plain lines."""

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
# A process that indexes polls less often than one that only watches, which spends at most a fiftieth of its time on it.
POLL_INTERVAL_FACTOR = 5.0


@contextmanager
def progress_display(quiet: bool) -> "Iterator[ProgressDisplay]":
    """A display on stderr: a bar on a terminal, else occasional lines; nothing if `quiet`."""
    if sys.stderr.isatty() and not quiet:
        with tqdm(desc="looking for pictures", unit=" files", dynamic_ncols=True) as bar:
            yield Bar(bar)
    else:
        yield Lines(quiet)


class Bar:
    """A tqdm bar with the job's own estimate of the time left, because tqdm's counts unchanged inputs as fast ones."""

    def __init__(self, bar: "tqdm[Never]") -> None:
        self._bar = bar

    def scanned(self, inputs: int) -> None:
        self._bar.update(inputs - self._bar.n)

    def started(self, inputs: int, unchanged: int) -> None:
        self._bar.set_description("indexing", refresh=False)
        self._bar.bar_format = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"
        self._bar.set_postfix_str(time_left(None), refresh=False)
        self._bar.reset(total=inputs - unchanged)

    def progressed(self, progress: JobProgress) -> None:
        done, self._bar.total = _done_and_total(progress)
        self._bar.n = done
        self._bar.set_postfix_str(time_left(progress.seconds_left) if progress.job.active else "")


class Lines:
    """Progress as plain lines, at most one every `SECONDS_BETWEEN_LINES`."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._last = time.monotonic()

    def scanned(self, inputs: int) -> None:
        self._say_throttled(f"found {inputs} pictures so far")

    def started(self, inputs: int, unchanged: int) -> None:
        self._say(f"found {inputs} pictures" + (f", {unchanged} unchanged" if unchanged > 0 else ""))

    def progressed(self, progress: JobProgress) -> None:
        done, total = _done_and_total(progress)
        estimate = f", {time_left(progress.seconds_left)}" if progress.job.active else ""
        self._say_throttled(f"indexed {done} of {total}{estimate}")

    def _say_throttled(self, line: str) -> None:
        if time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._say(line)

    def _say(self, line: str) -> None:
        self._last = time.monotonic()
        if not self._quiet:
            say(line, err=True)


ProgressDisplay = Bar | Lines
"""Its `scanned` is called while inputs are listed, `started` once all are, and `progressed` while the job runs."""


def _done_and_total(progress: JobProgress) -> tuple[int, int]:
    """The numbers of processed and of all inputs, both without unchanged ones."""
    counts = progress.job.counts
    done = counts.settled - counts.unchanged
    return done, done + counts.open


class PollingProgress:
    """The `Progress` of a job that runs here; it polls the job's counts, which other processes may advance too."""

    def __init__(
        self, display: ProgressDisplay, monitor: ProgressMonitor, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._display, self._monitor, self._clock = display, monitor, clock
        self._scanned_count = 0
        self._wait, self._next = MIN_WAIT, clock()

    def scanned(self, inputs: int) -> None:
        self._scanned_count += inputs
        self._display.scanned(self._scanned_count)

    def started(self, inputs: int) -> None:
        self._display.started(max(self._scanned_count, inputs), max(0, self._scanned_count - inputs))

    def settled(self, inputs: int) -> None:
        if self._clock() >= self._next:
            self._poll()

    def ended(self) -> None:
        """Show the final counts, once the job has ended: its last inputs may have settled between two polls."""
        self._poll()

    def _poll(self) -> None:
        """Show the current counts. A failure, as of a deleted collection or a busy catalogue, ends no work."""
        try:
            progress = self._monitor.measure()
        except (AnyseekError, SQLAlchemyError) as error:
            logger.warning("the progress of this job cannot be read now: %s", error_message(error))
        else:
            self._wait = progress.wait
            self._display.progressed(progress)
        self._next = self._clock() + POLL_INTERVAL_FACTOR * self._wait


def follow(read_job: Callable[[], Job], callback: Callable[[JobProgress], None]) -> Job:
    """Pass the progress of the job to `callback`, repeatedly, until the job has ended; return the ended job."""
    monitor = ProgressMonitor(read_job)
    while True:
        progress = monitor.measure()
        callback(progress)
        if not progress.job.active:
            return progress.job
        time.sleep(progress.wait)


class ProgressReporter:
    """A callback that passes the polled progress of a job on to a display."""

    def __init__(self, display: ProgressDisplay) -> None:
        self._display = display
        self._has_started = False

    def __call__(self, progress: JobProgress) -> None:
        counts = progress.job.counts
        if progress.job.state == JobState.SCANNING:
            self._display.scanned(counts.open + counts.settled)
            return
        if not self._has_started:
            self._has_started = True
            self._display.started(counts.open + counts.settled, counts.unchanged)
        self._display.progressed(progress)
