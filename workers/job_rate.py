"""The rate of a job and its time left, estimated from its counts."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from anyseek.search.catalogue.jobs import Job, JobState
from anyseek.search.catalogue.ledger import Counts

# The rate is that of the last so many seconds, or of so many batches if these take longer, up to the longest window.
WINDOW_SECONDS, LEAST_STEPS, LONGEST_WINDOW = 30.0, 16, 600.0
# No rate before that: a model is loaded, workers begin, and their first batches come all at once.
SECONDS_UNTIL_KNOWN, STEPS_UNTIL_KNOWN = 5.0, 4
# Counting a job's inputs reads its whole ledger, so large ledgers are counted less often.
SHORTEST_WAIT, LONGEST_WAIT, WAIT_PER_COUNT = 0.5, 30.0, 10.0


@dataclass(frozen=True)
class Seen:
    """A job at one moment. `rate` is of inputs that took work, a second, recently: unchanged ones are not among them.

    `seconds_left` is that of all open inputs. Both are None while they are unknown. Looking again is worth what it
    costs after `wait` seconds.
    """

    job: Job
    rate: float | None
    seconds_left: float | None
    wait: float


class Observer:
    """Looks at one job repeatedly. Safe for threads."""

    def __init__(self, look: Callable[[], Job], clock: Callable[[], float] = time.monotonic) -> None:
        self._look = look
        self._clock = clock
        self._rate = _Rate()
        self._looking = threading.Lock()
        self._last: tuple[float, Seen] | None = None  # the clock when it was seen

    def see(self) -> Seen:
        """Look now. Raises `JobNotFound`."""
        with self._looking:
            return self._see()

    def latest(self) -> Seen:
        """The last look of any thread, or a new one if that is older than its `wait`. Raises `JobNotFound`."""
        with self._looking:
            if self._last is not None and self._clock() - self._last[0] < self._last[1].wait:
                return self._last[1]
            return self._see()

    def _see(self) -> Seen:
        started = self._clock()
        job = self._look()
        now = self._clock()
        if job.state != JobState.RUNNING or not self._rate.add(now, job.counts):
            self._rate = _Rate()  # a scan resets the counts, and passes over unchanged inputs very fast
        wait = min(LONGEST_WAIT, max(SHORTEST_WAIT, WAIT_PER_COUNT * (now - started)))
        seen = Seen(job, self._rate.per_second(), self._rate.seconds_for(job.counts.open), wait)
        self._last = now, seen
        return seen


class Observers:
    """The observers of a service's active jobs, shared by all requests.

    One that nobody has asked for `LONGEST_WINDOW` has no rate left, and is dropped.
    """

    def __init__(self, look: Callable[[int], Job], clock: Callable[[], float] = time.monotonic) -> None:
        self._look = look
        self._clock = clock
        # Observers and the clock when each was asked for last, in that order.
        self._observers: dict[int, tuple[Observer, float]] = {}
        self._choosing = threading.Lock()

    def see(self, job_id: int, now: bool = False) -> Seen:
        """As `Observer.latest`, or as `Observer.see` if `now`. Raises `JobNotFound`."""
        observer = self._observer(job_id)
        is_active = False
        try:
            seen = observer.see() if now else observer.latest()
            is_active = seen.job.active
            return seen
        finally:
            if not is_active:
                with self._choosing:
                    self._observers.pop(job_id, None)

    def _observer(self, job_id: int) -> Observer:
        requested = self._clock()
        with self._choosing:
            observer, _ = self._observers.pop(job_id, (Observer(lambda: self._look(job_id), self._clock), 0.0))
            self._observers[job_id] = observer, requested
            while requested - next(iter(self._observers.values()))[1] > LONGEST_WINDOW:
                del self._observers[next(iter(self._observers))]
        return observer


class _Rate:
    """The speed of a running job, from its counts at several looks.

    Time in which only unchanged inputs were passed over is left out: it says nothing about the others.
    """

    def __init__(self) -> None:
        self._last: tuple[float, int, int] | None = None  # the clock, inputs worked on, all settled ones
        self._spent = 0.0
        self._steps: deque[tuple[float, int, int]] = deque()  # looks with more work done: time spent, worked, settled

    def add(self, now: float, counts: Counts) -> bool:
        """Take in a look; false if it has less than the last one."""
        worked = counts.settled - counts.unchanged
        before, self._last = self._last or (now, worked, counts.settled), (now, worked, counts.settled)
        if worked < before[1] or counts.settled - worked < before[2] - before[1]:
            return False
        if worked > before[1] or counts.settled == before[2]:
            self._spent += now - before[0]
        if worked > before[1]:
            self._steps.append((self._spent, worked, counts.settled))
        while len(self._steps) > LEAST_STEPS and self._spent - self._steps[1][0] >= WINDOW_SECONDS:
            self._steps.popleft()
        while len(self._steps) > 1 and self._spent - self._steps[1][0] >= LONGEST_WINDOW:
            self._steps.popleft()
        return True

    def per_second(self) -> float | None:
        """Inputs worked on in the window; None while too little is known, or if none has been for a long time."""
        if len(self._steps) < STEPS_UNTIL_KNOWN or self._spent < SECONDS_UNTIL_KNOWN:
            return None
        return (self._steps[-1][1] - self._steps[0][1]) / (self._spent - self._steps[0][0])

    def seconds_for(self, waiting: int) -> float | None:
        """The time for so many inputs, if as many of them are unchanged as of those in the window."""
        if self.per_second() is None:
            return None
        return waiting * (self._spent - self._steps[0][0]) / (self._steps[-1][2] - self._steps[0][2])


def time_left(seconds: float | None) -> str:
    """The rounded time for people: `about 12 minutes left`; what is not known yet is being estimated."""
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
    """Halves go up, as on the page."""
    return step * math.floor(number / step + 0.5)
