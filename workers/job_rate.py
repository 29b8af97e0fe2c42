"""Throughput and remaining time of a job, estimated from its counts."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from anyseek.search.catalogue.jobs import Job, JobState
from anyseek.search.catalogue.ledger import Counts

# The rate covers the last WINDOW_SECONDS, or MIN_STEPS batches if these take longer, up to MAX_WINDOW.
WINDOW_SECONDS, MIN_STEPS, MAX_WINDOW = 30.0, 16, 600.0
# No rate before this: while models are loaded and workers start, the first batches arrive all at once.
SECONDS_UNTIL_KNOWN, STEPS_UNTIL_KNOWN = 5.0, 4
# Counting inputs reads the whole ledger, so large ledgers are counted less often.
MIN_WAIT, MAX_WAIT, WAIT_PER_COUNT = 0.5, 30.0, 10.0


@dataclass(frozen=True)
class JobProgress:
    """Progress of a job at one moment.

    `rate` is the recent throughput in inputs per second, without unchanged inputs; `seconds_left` is the time for all
    open inputs. Both are None while unknown. Callers should measure again after `wait` seconds.
    """

    job: Job
    rate: float | None
    seconds_left: float | None
    wait: float


class ProgressMonitor:
    """Measures the progress of one job repeatedly. Thread-safe."""

    def __init__(self, look: Callable[[], Job], clock: Callable[[], float] = time.monotonic) -> None:
        self._look = look
        self._clock = clock
        self._rate = _Rate()
        self._lock = threading.Lock()
        self._last: tuple[float, JobProgress] | None = None  # time of the measurement, and its result

    def measure(self) -> JobProgress:
        """Measure the progress now. Raises `JobNotFound`."""
        with self._lock:
            return self._measure()

    def latest(self) -> JobProgress:
        """The last measurement by any thread, or a new one if it is older than its `wait`. Raises `JobNotFound`."""
        with self._lock:
            if self._last is not None and self._clock() - self._last[0] < self._last[1].wait:
                return self._last[1]
            return self._measure()

    def _measure(self) -> JobProgress:
        started = self._clock()
        job = self._look()
        now = self._clock()
        if job.state != JobState.RUNNING or not self._rate.add(now, job.counts):
            self._rate = _Rate()  # a scan resets the counts and skips unchanged inputs very fast
        wait = min(MAX_WAIT, max(MIN_WAIT, WAIT_PER_COUNT * (now - started)))
        progress = JobProgress(job, self._rate.per_second(), self._rate.seconds_for(job.counts.open), wait)
        self._last = now, progress
        return progress


class ProgressMonitors:
    """Progress monitors of a service's active jobs, shared by all requests.

    A monitor that has not been used for `MAX_WINDOW` no longer has a rate and is dropped.
    """

    def __init__(self, look: Callable[[int], Job], clock: Callable[[], float] = time.monotonic) -> None:
        self._look = look
        self._clock = clock
        # Monitor and time of last use by job id, least recently used first.
        self._monitors: dict[int, tuple[ProgressMonitor, float]] = {}
        self._lock = threading.Lock()

    def progress(self, job_id: int, fresh: bool = False) -> JobProgress:
        """The latest progress of a job, measured now if `fresh`. Raises `JobNotFound`."""
        monitor = self._monitor(job_id)
        is_active = False
        try:
            progress = monitor.measure() if fresh else monitor.latest()
            is_active = progress.job.active
            return progress
        finally:
            if not is_active:
                with self._lock:
                    self._monitors.pop(job_id, None)

    def _monitor(self, job_id: int) -> ProgressMonitor:
        now = self._clock()
        with self._lock:
            monitor, _ = self._monitors.pop(job_id, (ProgressMonitor(lambda: self._look(job_id), self._clock), 0.0))
            self._monitors[job_id] = monitor, now
            while now - next(iter(self._monitors.values()))[1] > MAX_WINDOW:
                del self._monitors[next(iter(self._monitors))]
        return monitor


class _Rate:
    """Throughput of a running job, estimated from successive counts.

    Time in which only unchanged inputs were skipped is left out, because it does not predict the others.
    """

    def __init__(self) -> None:
        self._last: tuple[float, int, int] | None = None  # time, inputs processed, inputs settled
        self._spent = 0.0
        self._steps: deque[tuple[float, int, int]] = deque()  # progress steps: time spent, processed, settled

    def add(self, now: float, counts: Counts) -> bool:
        """Add counts; False if they are lower than the last ones."""
        worked = counts.settled - counts.unchanged
        before, self._last = self._last or (now, worked, counts.settled), (now, worked, counts.settled)
        if worked < before[1] or counts.settled - worked < before[2] - before[1]:
            return False
        if worked > before[1] or counts.settled == before[2]:
            self._spent += now - before[0]
        if worked > before[1]:
            self._steps.append((self._spent, worked, counts.settled))
        while len(self._steps) > MIN_STEPS and self._spent - self._steps[1][0] >= WINDOW_SECONDS:
            self._steps.popleft()
        while len(self._steps) > 1 and self._spent - self._steps[1][0] >= MAX_WINDOW:
            self._steps.popleft()
        return True

    def per_second(self) -> float | None:
        """Inputs processed per second in the window; None while unknown."""
        if len(self._steps) < STEPS_UNTIL_KNOWN or self._spent < SECONDS_UNTIL_KNOWN:
            return None
        return (self._steps[-1][1] - self._steps[0][1]) / (self._spent - self._steps[0][0])

    def seconds_for(self, inputs: int) -> float | None:
        """Seconds for `inputs` more inputs, assuming the window's share of unchanged ones; None while unknown."""
        if self.per_second() is None:
            return None
        return inputs * (self._spent - self._steps[0][0]) / (self._steps[-1][2] - self._steps[0][2])


def time_left(seconds: float | None) -> str:
    """The remaining time, rounded, as text: `about 12 minutes left`; None gives `estimating the time left`."""
    if seconds is None:
        return "estimating the time left"
    if seconds < 10:
        return "a few seconds left"
    if seconds < 90:
        return f"about {_rounded(seconds, 10)} seconds left"
    minutes = seconds / 60
    if minutes < 90:
        return f"about {_rounded(minutes, 1 if minutes < 30 else 5)} minutes left"
    hours = minutes / 60
    return f"about {_rounded(hours, 1)} hours left" if hours < 48 else f"about {_rounded(hours / 24, 1)} days left"


def _rounded(number: float, step: int) -> int:
    """`number` rounded to a multiple of `step`, half up as in the web page."""
    return step * math.floor(number / step + 0.5)
