"""The rate of a job and its time left, estimated from its counts."""

import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from anyseek.search.catalogue.jobs import Job, JobState

# The rate is that of the last so many seconds. Inputs are settled in batches; with few of them in the window, it would
# swing by whether another one has just come, so the window reaches back over so many, but not for ever.
WINDOW_SECONDS, LEAST_STEPS, LONGEST_WINDOW = 30.0, 16, 600.0
# Before that, nothing is told: a model is loaded, workers begin, and their first batches come all at once.
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
        self._pace = _Pace()
        self._looking = threading.Lock()
        self._last: tuple[float, Seen] | None = None  # the clock when it was seen

    def see(self) -> Seen:
        """Look now. Raises `JobNotFound`."""
        with self._looking:
            return self._see()

    def latest(self) -> Seen:
        """What was seen last, by whichever thread, or now if that is older than its `wait`. Raises `JobNotFound`."""
        with self._looking:
            if self._last is not None and self._clock() - self._last[0] < self._last[1].wait:
                return self._last[1]
            return self._see()

    def _see(self) -> Seen:
        started = self._clock()
        job = self._look()
        now = self._clock()
        wait = min(LONGEST_WAIT, max(SHORTEST_WAIT, WAIT_PER_COUNT * (now - started)))
        seen = Seen(job, *self._reckoned(job, now), wait)
        self._last = (now, seen)
        return seen

    def _reckoned(self, job: Job, now: float) -> tuple[float | None, float | None]:
        """The rate and the seconds left."""
        if job.state != JobState.RUNNING:
            self._pace = _Pace()  # the unchanged inputs of a scan would look like a very fast beginning
            return None, None
        counts = job.counts
        if not self._pace.add(now, counts.settled - counts.unchanged, counts.unchanged):
            self._pace = _Pace()  # a new scan has reset the counts
        return self._pace.rate, self._pace.seconds_for(counts.open)


class Observers:
    """The observers of a service's active jobs, so that each look tells all who ask meanwhile and later.

    One that nobody has asked for `LONGEST_WINDOW` has no look left that counts, and is dropped; the others are as many
    as are asked for, since jobs that drove each other out would never have a rate.
    """

    def __init__(self, look: Callable[[int], Job], clock: Callable[[], float] = time.monotonic) -> None:
        self._look = look
        self._clock = clock
        # Observers and the clock when each was asked for last, in that order.
        self._held: OrderedDict[int, tuple[Observer, float]] = OrderedDict()
        self._first: dict[int, Observer] = {}  # those whose first look is not over: there may be no such active job
        self._choosing = threading.Lock()

    def see(self, job_id: int, now: bool = False) -> Seen:
        """As `Observer.latest`, or `Observer.see` if it has to be what it is `now`. Raises `JobNotFound`."""
        with self._choosing:
            observer, _ = self._held.get(job_id, (None, 0.0))
            observer = observer or self._first.setdefault(job_id, Observer(lambda: self._look(job_id), self._clock))
        is_active = False
        try:
            seen = observer.see() if now else observer.latest()
            is_active = seen.job.active
            return seen
        finally:
            with self._choosing:
                self._first.pop(job_id, None)
                self._held.pop(job_id, None)
                if is_active:
                    asked = self._clock()
                    self._held[job_id] = observer, asked
                    while next(iter(self._held.values()))[1] < asked - LONGEST_WINDOW:
                        self._held.popitem(last=False)


@dataclass(frozen=True)
class _Step:
    """A look that found more inputs worked on: `worked` so far, after `spent` seconds, `share` of this step's inputs.

    An unchanged input takes next to no time, so the share tells how many of the open ones will take any.
    """

    spent: float
    worked: int
    share: float


class _Pace:
    """What looks at a running job tell about its speed.

    Time in which only unchanged inputs were passed over is left out: it says nothing about the others.
    """

    def __init__(self) -> None:
        self._last: tuple[float, int, int] | None = None  # the clock, worked, unchanged
        self._spent = 0.0
        self._steps: deque[_Step] = deque()

    def add(self, now: float, worked: int, unchanged: int) -> bool:
        """Take in a look; false if it has less than the last one."""
        before, self._last = self._last, (now, worked, unchanged)
        if before is None:
            return True
        more, passed = worked - before[1], unchanged - before[2]
        if more < 0 or passed < 0:
            return False
        if more or not passed:
            self._spent += now - before[0]
        if more:
            self._steps.append(_Step(self._spent, worked, more / (more + passed)))
        while len(self._steps) > LEAST_STEPS and self._age(1) >= WINDOW_SECONDS:
            self._steps.popleft()
        while len(self._steps) > 2 and self._age(1) >= LONGEST_WINDOW:
            self._steps.popleft()
        return True

    @property
    def rate(self) -> float | None:
        """From the first step of the window to the last, and on if the next one is late."""
        steps = self._steps
        if len(steps) < STEPS_UNTIL_KNOWN or self._spent < SECONDS_UNTIL_KNOWN or self._age(-1) > LONGEST_WINDOW:
            return None
        between = steps[-1].spent - steps[0].spent
        late = max(0.0, self._age(-1) - between / (len(steps) - 1))
        return (steps[-1].worked - steps[0].worked) / (between + late)

    def seconds_for(self, waiting: int) -> float | None:
        """The time for so many inputs, of which the recent share takes any; less that since the last step."""
        if (rate := self.rate) is None:
            return None
        between = (self._steps[-1].spent - self._steps[0].spent) / (len(self._steps) - 1)
        taken = waiting * median(step.share for step in self._steps) / rate
        return max(0.0, taken - min(self._age(-1), between))

    def _age(self, number: int) -> float:
        return self._spent - self._steps[number].spent


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
