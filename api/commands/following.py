"""Watching a job that others run, as if it ran here."""

import time
from collections.abc import Callable

from indexer.progress import Progress
from search.catalogue.jobs import Job, JobState
from workers.pace import Observer, Seen


def follow(look: Callable[[], Job], see: Callable[[Seen], None]) -> Job:
    """Show `see` the job that `look` gives, again and again, until it has ended; return it as it ended."""
    observer = Observer(look)
    while True:
        seen = observer.see()
        see(seen)
        if not seen.job.active:
            return seen.job
        time.sleep(observer.wait)


class Teller:
    """Turns looks at a job into what a `Progress` is told."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._found = self._settled = 0
        self._has_started = False

    def __call__(self, seen: Seen) -> None:
        counts = seen.job.counts
        if seen.job.state == JobState.SCANNING:
            found = counts.open + counts.settled
            self._progress.scanned(max(0, found - self._found))
            self._found, self._settled = found, counts.settled
            return
        if not self._has_started:
            self._has_started = True
            self._progress.started(counts.open + counts.settled - self._settled)
        self._progress.settled(max(0, counts.settled - self._settled))
        self._settled = counts.settled
