"""Throughput and remaining time, estimated from a job's counts."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from anyseek.search.catalogue.jobs import Job, JobState
from anyseek.search.catalogue.ledger import Counts
from anyseek.search.errors import JobNotFound
from anyseek.workers import job_rate
from anyseek.workers.job_rate import (
    MAX_WAIT,
    MAX_WINDOW,
    MIN_WAIT,
    ProgressMonitor,
    ProgressMonitors,
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
        self.monitor = ProgressMonitor(self.look, lambda: self.now)

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
        assert (play.monitor.measure().rate is not None) == is_known, second
    seen = play.monitor.measure()
    assert (seen.rate, seen.seconds_left) == (2.0, 50.0)


def test_the_rate_is_that_of_late(play: Play) -> None:
    for second in range(0, 200, 5):
        play.at(second, min(second, 100), 500)
        seen = play.monitor.measure()
    assert (seen.rate or 1) < 0.6, "nothing was settled in the last 95 seconds"
    for second in range(200, 1_000, 5):
        play.at(second, 100, 500)
        seen = play.monitor.measure()
    assert (seen.rate, seen.seconds_left) == (None, None), "it hangs; nobody knows for how long"


def test_a_scan_has_no_time_left_and_starts_the_rate_anew(play: Play) -> None:
    for second in range(10):
        play.at(second, 50 + second, 50)
        assert (play.monitor.measure().rate is None) == (second < 5)
    play.at(10, 0, 10, JobState.SCANNING)
    assert (play.monitor.measure().rate, play.monitor.measure().seconds_left) == (None, None)
    play.at(11, 1, 10)
    assert play.monitor.measure().rate is None


# How many inputs, the seconds that each takes, whether they are unchanged.
Piece = tuple[int, float, bool]


def errors_of(pieces: Sequence[Piece], batch: int, after: float, workers: int = 1, rests: float = 0.0) -> list[float]:
    """How far the estimates at each look `after` so many seconds are from the truth, as shares of it.

    Every worker does the pieces in batches; after half of them all rest for some seconds. Two batches are forgiven.
    """
    play, now, estimates, total = Play(), 0.0, [], sum(count for count, _, _ in pieces)
    worked = unchanged = 0
    for count, seconds, is_unchanged in pieces:
        for _ in range(0, count, batch * workers):
            now += batch * seconds + (rests if worked <= total / 2 < worked + batch * workers else 0.0)
            worked += 0 if is_unchanged else batch * workers
            unchanged += batch * workers if is_unchanged else 0
            play.now = now
            play.job = replace(JOB, counts=Counts(worked, unchanged, open=total - worked - unchanged))
            estimates.append((now, play.monitor.measure().seconds_left))
    slack = 2 * batch * max(seconds for _, seconds, _ in pieces)
    late = [(at, left) for at, left in estimates if at > after]
    assert late
    assert all(left is not None for _, left in late)
    return [max(0.0, abs((left or 0.0) - (now - at)) - slack) / (now - at + slack) for at, left in late]


@pytest.mark.parametrize(
    ("pieces", "batch", "after", "workers", "rests"),
    [
        ([(4_096, 0.4, False)], 8, 40.0, 4, 0.0),
        ([(640, 2.0, False)], 32, 400.0, 1, 0.0),
        ([(48_000, 0.001, True), (2_048, 0.2, False)], 8, 48 + 60.0, 1, 0.0),
        ([(8_000, 0.1, False)], 8, 400 + 200 + 40.0, 1, 200.0),
        ([(4, 0.5, False), (28, 0.001, True)] * 200, 4, 50.0, 1, 0.0),
    ],
    ids=["workers", "slow", "unchanged first", "a rest", "unchanged between"],
)
def test_the_estimate_holds(pieces: list[Piece], batch: int, after: float, workers: int, rests: float) -> None:
    assert max(errors_of(pieces, batch, after, workers, rests)) <= 0.25


def test_unchanged_inputs_promise_nothing_about_new_ones(play: Play) -> None:
    for second in range(60):
        play.now, play.job = float(second), replace(JOB, counts=Counts(unchanged=1_000 * second, open=100_000))
        assert play.monitor.measure().seconds_left is None


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "estimating the time left"),
        (3, "a few seconds left"),
        (25, "about 30 seconds left"),
        (89.9, "about 90 seconds left"),
        (92, "about 2 minutes left"),
        (43 * 60, "about 45 minutes left"),
        (100 * 60, "about 2 hours left"),
        (60 * 3_600, "about 3 days left"),
    ],
)
def test_the_time_left_is_said_rounded(seconds: float | None, said: str) -> None:
    assert time_left(seconds) == said


def test_what_costs_much_to_look_at_is_looked_at_less_often(play: Play) -> None:
    for cost, wait in ((0.0, MIN_WAIT), (0.2, 2.0), (60.0, MAX_WAIT)):
        play.cost = cost
        assert play.monitor.measure().wait == pytest.approx(wait)


def test_whoever_asks_soon_after_another_gets_what_that_one_saw(play: Play) -> None:
    play.at(10, 5, 100)
    seen = play.monitor.latest()
    play.at(10 + 0.9 * seen.wait, 6, 99)
    assert play.monitor.latest() is seen
    assert play.monitor.measure().job.counts.indexed == 6, "a look that has to be now"
    play.at(10 + 1.9 * seen.wait, 7, 98)
    assert play.monitor.latest().job.counts.indexed == 7


class Ledger:
    """The jobs of a service by number, and how often one of them was looked at."""

    def __init__(self, active: int) -> None:
        self.jobs = {number: replace(JOB, id=number) for number in range(1, active + 1)}
        self.looks = 0
        self.now = 0.0
        self.progress_monitors = ProgressMonitors(self.look, lambda: self.now)

    def look(self, number: int) -> Job:
        self.looks += 1
        if number not in self.jobs:
            raise JobNotFound(f"there is no job {number}")
        return self.jobs[number]

    def is_cached(self, number: int) -> bool:
        """Whether an answer comes without a look: that of a moment ago."""
        before = self.looks
        self.progress_monitors.progress(number)
        return self.looks == before


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setattr(job_rate, "MIN_WAIT", 3_600.0)
    monkeypatch.setattr(job_rate, "MAX_WAIT", 3_600.0)
    return Ledger(active=4)


def test_numbers_of_no_job_and_of_ended_ones_drive_no_job_out(ledger: Ledger) -> None:
    ledger.progress_monitors.progress(1)
    for number in range(100, 110):
        with pytest.raises(JobNotFound):
            ledger.progress_monitors.progress(number)
    ledger.jobs |= {number: replace(JOB, id=number, state=JobState.DONE) for number in range(200, 210)}
    for number in range(200, 210):
        assert ledger.progress_monitors.progress(number).job.state == JobState.DONE
    assert ledger.is_cached(1)


def test_a_job_that_has_ended_is_held_no_more(ledger: Ledger) -> None:
    ledger.progress_monitors.progress(1)
    ledger.jobs[1] = replace(JOB, state=JobState.CANCELLED)
    assert ledger.progress_monitors.progress(1).job.active, "seen a moment ago"
    assert not ledger.progress_monitors.progress(1, fresh=True).job.active
    ledger.jobs[1] = JOB
    assert ledger.progress_monitors.progress(1).job.active


def test_many_active_jobs_do_not_drive_each_other_out() -> None:
    ledger = Ledger(active=100)
    for second in range(8):
        ledger.now = float(second)
        ledger.jobs = {
            number: replace(job, counts=Counts(indexed=2 * second, open=100)) for number, job in ledger.jobs.items()
        }
        seen = [ledger.progress_monitors.progress(number) for number in ledger.jobs]
    assert {each.seconds_left for each in seen} == {50.0}


def test_a_job_that_nobody_asks_for_is_held_no_more(ledger: Ledger) -> None:
    ledger.progress_monitors.progress(1)
    ledger.now = MAX_WINDOW
    ledger.progress_monitors.progress(2)
    ledger.now += 1.0
    ledger.progress_monitors.progress(3)
    assert [ledger.is_cached(number) for number in (2, 3)] == [True, True]
    assert not ledger.is_cached(1)


def test_of_many_who_ask_at_once_one_looks(ledger: Ledger) -> None:
    with ThreadPoolExecutor(8) as threads:
        seen = list(threads.map(ledger.progress_monitors.progress, [1] * 32))
    assert ledger.looks == 1
    assert all(each is seen[0] for each in seen)
