"""Rates and times left from what is seen of a job."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyseek.search.catalogue.jobs import Job, JobState
from anyseek.search.catalogue.ledger import Counts
from anyseek.search.errors import JobNotFound
from anyseek.workers import pace
from anyseek.workers.pace import (
    LEAST_STEPS,
    LONGEST_WAIT,
    LONGEST_WINDOW,
    SECONDS_UNTIL_KNOWN,
    SHORTEST_WAIT,
    WINDOW_SECONDS,
    Observer,
    Observers,
    time_left,
)

JOB = Job(
    id=1,
    kind="index",
    collection="c",
    root="/photos",
    source_id=1,
    state=JobState.RUNNING,
    owner=None,
    error=None,
    prune=False,
    counts=Counts(),
    ignored=0,
    pruned=0,
    created_at=datetime.now(UTC),
    ended_at=None,
)


class Play:
    """A job whose counts, and a clock whose time, the test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.cost = 0.0
        self.job = JOB
        self.observer = Observer(self.look, lambda: self.now)

    def look(self) -> Job:
        self.now += self.cost
        return self.job

    def at(self, now: float, settled: int, waiting: int, state: JobState = JobState.RUNNING) -> None:
        self.now, self.job = now, replace(JOB, state=state, counts=Counts(indexed=settled, open=waiting))


@pytest.fixture
def play() -> Play:
    return Play()


def test_nothing_is_told_until_enough_is_known(play: Play) -> None:
    for second, is_known in ((0, False), (1, False), (2, False), (3, False), (4, False), (5, True)):
        play.at(second, 2 * second, 100)
        assert (play.observer.see().rate is not None) == is_known, second
    seen = play.observer.see()
    assert (seen.rate, seen.seconds_left) == (2.0, 50.0)


def test_the_rate_is_that_of_late(play: Play) -> None:
    for second in range(0, 200, 5):
        play.at(second, min(second, 100), 500)
        seen = play.observer.see()
    assert (seen.rate or 1) < 0.6, "nothing was settled in the last 95 seconds"
    for second in range(200, 1_000, 5):
        play.at(second, 100, 500)
        seen = play.observer.see()
    assert (seen.rate, seen.seconds_left) == (None, None), "it hangs; nobody knows for how long"


def test_a_scan_has_no_time_left_and_starts_the_rate_anew(play: Play) -> None:
    for second in range(10):
        play.at(second, 50 + second, 50)
        assert (play.observer.see().rate is None) == (second < 5)
    play.at(10, 0, 10, JobState.SCANNING)
    assert (play.observer.see().rate, play.observer.see().seconds_left) == (None, None)
    play.at(11, 1, 10)
    assert play.observer.see().rate is None


Piece = tuple[int, float, bool]  # how many inputs, the seconds that each takes, whether they are unchanged


@dataclass(frozen=True)
class Told:
    now: float
    seconds_left: float | None
    truth: float


def simulated(
    pieces: Sequence[Piece], batch: int, workers: int = 1, waits: Sequence[tuple[float, float]] = ()
) -> list[Told]:
    """What an observer tells at each look at a job of those pieces, done in batches; all rest during `waits`."""
    free, settled = [0.0] * workers, []  # when each worker is free; (moment, worked, unchanged)
    batches = [(min(batch, n - at), takes, same) for n, takes, same in pieces for at in range(0, n, batch)]
    for size, takes, unchanged in batches:
        worker = free.index(min(free))
        ends = free[worker] + size * takes
        for begins, lasts in waits:
            ends += lasts if free[worker] <= begins < ends else 0.0
        free[worker] = ends
        settled.append((ends, 0 if unchanged else size, size if unchanged else 0))
    settled.sort()
    total, end, told, play = sum(n for n, _, _ in pieces), settled[-1][0], [], Play()
    looks = np.arange(0, end, SHORTEST_WAIT if end < 20_000 else 5.0)
    moments, counted = np.array([moment for moment, _, _ in settled]), np.cumsum([row[1:] for row in settled], axis=0)
    for now in looks.tolist():
        done = int(np.searchsorted(moments, now, side="right"))
        worked, unchanged = counted[done - 1].tolist() if done else (0, 0)
        counts = Counts(indexed=worked, unchanged=unchanged, open=total - worked - unchanged)
        play.now, play.job = now, replace(JOB, counts=counts)
        told.append(Told(now, play.observer.see().seconds_left, end - now))
    return told


def holds(told: Told, slack: float) -> bool:
    """Within a quarter of the truth, or of what one batch of each worker takes."""
    return told.seconds_left is not None and abs(told.seconds_left - told.truth) <= 0.25 * told.truth + slack


@given(
    rounds=st.integers(60, 400),
    takes=st.floats(0.01, 2.0),
    batch=st.integers(1, 32),
    workers=st.integers(1, 4),
)
@settings(max_examples=25, deadline=None)
def test_of_steady_work_the_estimate_holds_after_a_tenth(rounds: int, takes: float, batch: int, workers: int) -> None:
    told = simulated([(rounds * batch * workers, takes, False)], batch, workers)
    late = [one for one in told if one.now > max(0.1 * told[-1].now, SECONDS_UNTIL_KNOWN + 1)]
    assert not [one for one in late if not holds(one, 2 * batch * takes + SHORTEST_WAIT)]


@given(unchanged=st.integers(1_000, 50_000), new=st.integers(1_000, 3_000), takes=st.floats(0.1, 1.0))
@settings(max_examples=25, deadline=None)
def test_unchanged_inputs_promise_nothing_about_new_ones(unchanged: int, new: int, takes: float) -> None:
    told = simulated([(unchanged, 0.001, True), (new, takes, False)], batch=8)
    changes = unchanged * 0.001
    assert all(one.seconds_left is None for one in told if one.now < changes)
    window = max(WINDOW_SECONDS, (LEAST_STEPS + 1) * 8 * takes)
    later = [one for one in told if one.now > changes + window]
    assert later
    assert not [one for one in later if not holds(one, 16 * takes + SHORTEST_WAIT)]


def test_unchanged_ones_between_new_ones_are_not_reckoned_as_new() -> None:
    pieces = [(4, 0.5, False), (28, 0.001, True)] * 500  # in each batch of 32
    play, now, told = Play(), 0.0, []
    for number in range(500):
        now += sum(n * takes for n, takes, _ in pieces[:2])
        counts = Counts(indexed=4 * number, unchanged=28 * number, open=32 * (500 - number))
        play.now, play.job = now, replace(JOB, counts=counts)
        told.append(Told(now, play.observer.see().seconds_left, 2.028 * (500 - number)))
    assert all(holds(one, 2.1) for one in told[50:])


@given(begins=st.floats(100, 300), lasts=st.floats(10, 400))
@settings(max_examples=25, deadline=None)
def test_after_a_wait_the_estimate_holds_again_within_a_window(begins: float, lasts: float) -> None:
    told = simulated([(5_000, 0.1, False)], batch=8, waits=[(begins, lasts)])
    during = [one for one in told if begins + 5 < one.now < begins + lasts]
    assert all(one.seconds_left is None or one.seconds_left > 0.75 * (one.truth - lasts) for one in during)
    later = [one for one in told if one.now > begins + lasts + WINDOW_SECONDS + 2]
    assert not [one for one in later if not holds(one, 2)]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "estimating the time left"),
        (3, "a few seconds left"),
        (38, "about 40 seconds left"),
        (89.9, "about 90 seconds left"),
        (25, "about 30 seconds left"),
        (92, "about 2 minutes left"),
        (150, "about 3 minutes left"),
        (12.4 * 60, "about 12 minutes left"),
        (43 * 60, "about 45 minutes left"),
        (100 * 60, "about 2 hours left"),
        (47.4 * 3_600, "about 47 hours left"),
        (60 * 3_600, "about 3 days left"),
    ],
)
def test_the_time_left_is_said_rounded(seconds: float | None, said: str) -> None:
    assert time_left(seconds) == said


def test_what_costs_much_to_look_at_is_looked_at_less_often(play: Play) -> None:
    for cost, wait in ((0.0, SHORTEST_WAIT), (0.2, 2.0), (60.0, LONGEST_WAIT)):
        play.cost = cost
        assert play.observer.see().wait == pytest.approx(wait)


def test_whoever_asks_soon_after_another_gets_what_that_one_saw(play: Play) -> None:
    play.at(10, 5, 100)
    seen = play.observer.latest()
    play.at(10 + 0.9 * seen.wait, 6, 99)
    assert play.observer.latest() is seen
    assert play.observer.see().job.counts.indexed == 6, "a look that has to be now"
    play.at(10 + 1.9 * seen.wait, 7, 98)
    assert play.observer.latest().job.counts.indexed == 7


class Ledger:
    """The jobs of a service by number, and how often one of them was looked at."""

    def __init__(self, active: int) -> None:
        self.jobs = {number: replace(JOB, id=number) for number in range(1, active + 1)}
        self.looks = 0
        self.now = 0.0
        self.observers = Observers(self.look, lambda: self.now)

    def look(self, number: int) -> Job:
        self.looks += 1
        if number not in self.jobs:
            raise JobNotFound(f"there is no job {number}")
        return self.jobs[number]

    def is_held(self, number: int) -> bool:
        """Whether an answer comes without a look: that of a moment ago."""
        before = self.looks
        self.observers.see(number)
        return self.looks == before


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setattr(pace, "SHORTEST_WAIT", 3_600.0)
    monkeypatch.setattr(pace, "LONGEST_WAIT", 3_600.0)
    return Ledger(active=4)


def test_numbers_of_no_job_and_of_ended_ones_drive_no_job_out(ledger: Ledger) -> None:
    ledger.observers.see(1)
    for number in range(100, 110):
        with pytest.raises(JobNotFound):
            ledger.observers.see(number)
    ledger.jobs |= {number: replace(JOB, id=number, state=JobState.DONE) for number in range(200, 210)}
    for number in range(200, 210):
        assert ledger.observers.see(number).job.state == JobState.DONE
    assert ledger.is_held(1)


def test_a_job_that_has_ended_is_held_no_more(ledger: Ledger) -> None:
    ledger.observers.see(1)
    ledger.jobs[1] = replace(JOB, state=JobState.CANCELLED)
    assert ledger.observers.see(1).job.active, "seen a moment ago"
    assert not ledger.observers.see(1, now=True).job.active
    ledger.jobs[1] = JOB
    assert ledger.observers.see(1).job.active


def test_many_active_jobs_do_not_drive_each_other_out() -> None:
    ledger = Ledger(active=1_500)
    for second in range(20):
        ledger.now = float(second)
        ledger.jobs = {
            number: replace(job, counts=Counts(indexed=2 * second, open=100)) for number, job in ledger.jobs.items()
        }
        seen = [ledger.observers.see(number) for number in ledger.jobs]
    assert {one.seconds_left for one in seen} == {50.0}


def test_a_job_that_nobody_asks_for_is_held_no_more(ledger: Ledger) -> None:
    ledger.observers.see(1)
    ledger.now = LONGEST_WINDOW
    ledger.observers.see(2)
    ledger.now += 1.0
    ledger.observers.see(3)
    assert [ledger.is_held(number) for number in (2, 3)] == [True, True]
    assert not ledger.is_held(1)


def test_of_many_who_ask_at_once_one_looks(ledger: Ledger) -> None:
    with ThreadPoolExecutor(8) as threads:
        seen = list(threads.map(ledger.observers.see, [1] * 32))
    assert ledger.looks == 1
    assert all(one is seen[0] for one in seen)
