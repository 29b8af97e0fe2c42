"""What is shown of a job that runs, here or elsewhere: what all who work on it have done, and the time left."""

import io
from dataclasses import replace

import pytest
from sqlalchemy.exc import OperationalError
from tqdm import tqdm

from anyseek.api.commands import progress
from anyseek.api.commands.progress import Bar, Lines, PollingProgress, ProgressReporter
from anyseek.search.catalogue.jobs import Job, JobState
from anyseek.search.catalogue.ledger import Counts
from anyseek.search.errors import JobNotFound
from anyseek.workers.job_rate import MIN_WAIT, JobProgress, ProgressMonitor
from tests.workers.test_job_rate import JOB


def seen(counts: Counts, seconds_left: float | None = None, state: JobState = JobState.RUNNING) -> JobProgress:
    return JobProgress(replace(JOB, state=state, counts=counts), None, seconds_left, MIN_WAIT)


@pytest.fixture
def every_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)


@pytest.mark.usefixtures("every_line")
def test_lines_say_how_much_is_done_and_how_long_the_rest_takes(capsys: pytest.CaptureFixture[str]) -> None:
    report = ProgressReporter(Lines(quiet=False))
    report(seen(Counts(open=40), state=JobState.SCANNING))
    report(seen(Counts(indexed=10, unchanged=900, open=90)))
    report(seen(Counts(indexed=19, quarantined=1, unchanged=900, open=80), seconds_left=700))
    assert capsys.readouterr().err.splitlines() == [
        "found 40 pictures so far",
        "found 1000 pictures, 900 unchanged",
        "indexed 10 of 100, estimating the time left",
        "indexed 20 of 100, about 12 minutes left",
    ]


@pytest.mark.usefixtures("every_line")
def test_progress_includes_the_work_of_other_processes(capsys: pytest.CaptureFixture[str]) -> None:
    """One that joined after the scan said "indexed 896 of 0", and the others told their own part as the whole."""
    now = 0.0
    job = replace(JOB, counts=Counts(indexed=1_800, open=200))

    def look() -> Job:
        return job

    polling = PollingProgress(Lines(quiet=False), ProgressMonitor(look), lambda: now)
    polling.settled(896)
    polling.settled(32)  # at once, so it is not looked at again
    now, job = 60.0, replace(JOB, counts=Counts(indexed=1_900, open=100))
    polling.settled(32)
    assert capsys.readouterr().err.splitlines() == [
        "indexed 1800 of 2000, estimating the time left",
        "indexed 1900 of 2000, estimating the time left",
    ]


@pytest.mark.usefixtures("every_line")
def test_inputs_settled_since_the_last_poll_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    job = replace(JOB, counts=Counts(indexed=32, open=68))

    def look() -> Job:
        return job

    polling = PollingProgress(Lines(quiet=False), ProgressMonitor(look), lambda: 0.0)
    polling.settled(32)
    job = replace(JOB, state=JobState.DONE, counts=Counts(indexed=100))
    polling.settled(68)
    polling.ended()
    assert capsys.readouterr().err.splitlines() == ["indexed 32 of 100, estimating the time left", "indexed 100 of 100"]


@pytest.mark.parametrize(
    "problem", [JobNotFound("there is no job 1"), OperationalError("SELECT", {}, Exception("database is locked"))]
)
@pytest.mark.usefixtures("every_line")
def test_progress_that_cannot_be_read_ends_no_work(problem: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    now, looks = 0.0, 0

    def look() -> Job:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise problem
        return replace(JOB, counts=Counts(indexed=64, open=36))

    polling = PollingProgress(Lines(quiet=False), ProgressMonitor(look), lambda: now)
    polling.settled(32)
    polling.settled(32)
    assert looks == 1, "it is not asked again at once"
    now = 60.0
    polling.settled(32)
    assert "indexed 64 of 100" in capsys.readouterr().err


def test_the_bar_of_an_ended_job_has_no_time_left() -> None:
    written = io.StringIO()
    with tqdm(file=written, unit=" files", ncols=100, mininterval=0, miniters=0) as bar:
        shown = Bar(bar)
        shown.started(100, 0)
        shown.progressed(seen(Counts(indexed=100), state=JobState.DONE))
    last = written.getvalue().split("\r")[-1]
    assert "100/100" in last
    assert "left" not in last


def test_a_bar_shows_the_estimate_of_the_job() -> None:
    written = io.StringIO()
    with tqdm(file=written, unit=" files", ncols=100, mininterval=0, miniters=0) as bar:
        shown = Bar(bar)
        shown.scanned(600)
        shown.started(1_000, 900)
        shown.progressed(seen(Counts(indexed=20, unchanged=900, open=80), seconds_left=700))
    last = written.getvalue().split("\r")[-1]
    assert "20/100" in last
    assert "about 12 minutes left" in last
    assert " files/s" not in last
