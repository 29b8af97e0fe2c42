"""Rates and times left from what is seen of a job."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from search.catalogue.jobs import Job, JobState
from search.catalogue.ledger import Counts
from workers.pace import LONGEST_WAIT, SHORTEST_WAIT, Observer

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


def test_rate_and_time_left(play: Play) -> None:
    play.at(0, 0, 100)
    assert (play.observer.see().rate, play.observer.see().seconds_left) == (None, None)
    play.at(10, 20, 80)
    seen = play.observer.see()
    assert (seen.rate, seen.seconds_left) == (2.0, 40.0)


def test_the_rate_is_that_of_late(play: Play) -> None:
    for second in range(0, 200, 5):
        play.at(second, min(second, 100), 500)
        seen = play.observer.see()
    assert seen.rate == 0, "nothing was settled in the last 95 seconds"
    assert seen.seconds_left is None


def test_a_scan_has_no_time_left_and_starts_the_rate_anew(play: Play) -> None:
    play.at(0, 50, 50)
    play.observer.see()
    play.at(5, 0, 10, JobState.SCANNING)
    assert (play.observer.see().rate, play.observer.see().seconds_left) == (None, None)


def test_what_costs_much_to_look_at_is_looked_at_less_often(play: Play) -> None:
    for cost, wait in ((0.0, SHORTEST_WAIT), (0.2, 2.0), (60.0, LONGEST_WAIT)):
        play.cost = cost
        play.observer.see()
        assert play.observer.wait == pytest.approx(wait)
