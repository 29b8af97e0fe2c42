"""What every TaskQueue does. Run for the in-process one, and for Celery's on each broker that there is a server of.

For Celery a real `anyseek worker` does the work, which serves all tests of its broker.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anyseek.indexer.runs import IndexerContext
from anyseek.search.catalogue import jobs
from anyseek.search.catalogue.jobs import Job, JobState
from anyseek.search.catalogue.session import Database
from anyseek.search.errors import JobNotFound, JobNotRetriable
from anyseek.search.settings import Settings
from anyseek.workers.celery_queue import CeleryQueue
from anyseek.workers.queue import InProcessQueue, TaskQueue
from tests.contracts.catalogue import empty
from tests.indexer.harness import check_agreement, held, installation, job_for, reembed_context
from tests.indexer.pictures import folder_of, png
from tests.workers.processes import PATIENCE_SECONDS, POSTGRES, settings_of, working

MakeQueue = Callable[[], TaskQueue]


def on(broker: str) -> object:
    """Celery's queue on the server that a variable of the environment leads to."""
    is_missing = broker not in os.environ or POSTGRES not in os.environ
    return pytest.param(broker, marks=pytest.mark.skipif(is_missing, reason=f"{broker} or {POSTGRES} is not set"))


@pytest.fixture(scope="module", params=["in-process", on("ANYSEEK_TEST_REDIS"), on("ANYSEEK_TEST_RABBITMQ")])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings | None]:
    """The installation that a worker serves; None where jobs run in this process."""
    if request.param == "in-process":
        yield None
        return
    settings = settings_of(tmp_path_factory.mktemp("home"), os.environ[request.param])
    with working(settings, "contracts"):
        yield settings


@pytest.fixture
def context(served: Settings | None, tmp_path: Path) -> Iterator[IndexerContext]:
    with installation(tmp_path / "home", settings=served) as context:
        if served:
            empty(context.database)
        yield context


@pytest.fixture
def make_queue(context: IndexerContext) -> Iterator[MakeQueue]:
    made: list[TaskQueue] = []

    def make() -> TaskQueue:
        if context.settings.broker_url:
            made.append(CeleryQueue(context.database, context.settings))
        else:
            made.append(InProcessQueue(lambda: context, reembed_context(context)))
        return made[-1]

    yield make
    for queue in made:
        queue.close()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = folder_of(tmp_path / "photos", range(100))
    (folder / "bad.png").write_text("no picture")
    return folder


def wait(queue: TaskQueue, job_id: int) -> Job:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while (job := queue.status(job_id)).active:
        assert time.monotonic() < give_up, f"the job did not end: {job}"
        time.sleep(0.05)
    return job


def test_a_job_runs_to_its_end(context: IndexerContext, photos: Path, make_queue: MakeQueue) -> None:
    queue = make_queue()
    job_id = job_for(context, photos).id
    assert queue.status(job_id).state == JobState.SCANNING
    queue.submit(job_id)
    job = wait(queue, job_id)
    assert (job.state, job.counts.indexed, job.counts.quarantined) == (JobState.DONE, 100, 1)
    check_agreement(context)


def test_submitting_twice_runs_once(context: IndexerContext, photos: Path, make_queue: MakeQueue) -> None:
    job_id = job_for(context, photos).id
    first, second = make_queue(), make_queue()
    for queue in (first, second, first):
        queue.submit(job_id)
    assert wait(first, job_id).counts.indexed == 100
    second.close()
    assert all(item.revision == 1 for item in held(context).values())
    check_agreement(context)


def test_a_cancelled_job_ends(context: IndexerContext, photos: Path, make_queue: MakeQueue) -> None:
    queue = make_queue()
    job_id = job_for(context, photos).id
    assert queue.cancel(job_id).state == JobState.CANCELLED
    queue.submit(job_id)
    queue.close()
    assert held(context) == {}
    assert queue.cancel(job_id).state == JobState.CANCELLED


def test_unknown_jobs_are_refused(make_queue: MakeQueue) -> None:
    for verb in (make_queue().submit, make_queue().status, make_queue().cancel):
        with pytest.raises(JobNotFound):
            verb(10**9)


def test_a_job_that_fails_says_why(context: IndexerContext, photos: Path, make_queue: MakeQueue) -> None:
    job_id = job_for(context, photos).id
    shutil.rmtree(photos)
    queue = make_queue()
    queue.submit(job_id)
    job = wait(queue, job_id)
    assert job.state == JobState.FAILED
    assert "is gone" in str(job.error)


def test_what_a_closed_queue_left_is_resumed(context: IndexerContext, photos: Path, make_queue: MakeQueue) -> None:
    job_id = job_for(context, photos).id
    first = make_queue()
    first.submit(job_id)
    first.close()
    second = make_queue()
    assert set(second.resume()) <= {job_id}
    assert wait(second, job_id).state == JobState.DONE
    assert len(held(context)) == 100
    check_agreement(context)
    assert second.resume() == []


def test_jobs_that_were_never_submitted_are_resumed(
    context: IndexerContext, photos: Path, make_queue: MakeQueue
) -> None:
    job_id = job_for(context, photos).id
    queue = make_queue()
    if not context.settings.broker_url:  # workers look for such jobs by themselves
        assert queue.resume() == [job_id]
    assert wait(queue, job_id).counts.indexed == 100


def test_quarantined_inputs_are_tried_again(context: IndexerContext, photos: Path, make_queue: MakeQueue) -> None:
    queue = make_queue()
    first = job_for(context, photos).id
    queue.submit(first)
    wait(queue, first)
    (photos / "bad.png").write_bytes(png(1_000))
    assert reopen(context.database, first) == 1
    queue.submit(first)
    job = wait(queue, first)
    assert (job.state, job.counts.indexed, job.counts.quarantined) == (JobState.DONE, 101, 0)
    assert reopen(context.database, first) == 0
    assert not queue.status(first).active
    job_for(context, photos)
    with pytest.raises(JobNotRetriable, match="retry that job"):
        reopen(context.database, first)
    check_agreement(context)


def reopen(database: Database, job_id: int) -> int:
    with database.write() as session:
        return jobs.reopen(session, job_id)
