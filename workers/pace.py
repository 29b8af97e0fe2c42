"""The rate of a job and its time left, estimated from its counts."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from search.catalogue.jobs import Job, JobState

WINDOW_SECONDS = 30.0
# Counting a job's inputs reads its whole ledger, so large ledgers are counted less often.
SHORTEST_WAIT, LONGEST_WAIT, WAIT_PER_COUNT = 0.5, 30.0, 10.0


@dataclass(frozen=True)
class Seen:
    """A job at one moment: recently settled inputs per second, and the seconds left; None while unknown."""

    job: Job
    rate: float | None
    seconds_left: float | None


class Observer:
    """Looks at one job repeatedly; `wait` is the number of seconds to wait before the next look."""

    def __init__(self, look: Callable[[], Job], clock: Callable[[], float] = time.monotonic) -> None:
        self._look = look
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque()
        self.wait = SHORTEST_WAIT

    def see(self) -> Seen:
        """Raises `JobNotFound`."""
        started = self._clock()
        job = self._look()
        now = self._clock()
        self.wait = min(LONGEST_WAIT, max(SHORTEST_WAIT, WAIT_PER_COUNT * (now - started)))
        rate = self._rate(now, job)
        is_told = rate and job.state == JobState.RUNNING
        return Seen(job, rate, job.counts.open / rate if rate and is_told else None)

    def _rate(self, now: float, job: Job) -> float | None:
        """The recent rate; None at first, and after a new scan, which resets the job's counts."""
        if self._samples and job.counts.settled < self._samples[-1][1]:
            self._samples.clear()
        self._samples.append((now, job.counts.settled))
        while len(self._samples) > 2 and now - self._samples[1][0] >= WINDOW_SECONDS:
            self._samples.popleft()
        since, before = self._samples[0]
        return (job.counts.settled - before) / (now - since) if now > since else None
