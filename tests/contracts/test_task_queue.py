"""What every TaskQueue does. Run for the in-process one."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from indexer.indexing import Tools, open_collection, open_job, open_source
from model.embedder import FloatArray, Sample
from model.hashing_embedder import HashingEmbedder
from search.catalogue.jobs import Job, JobState
from search.errors import JobNotFound
from tests.indexer.harness import NAME, check_agreement, held, installation
from tests.indexer.pictures import png
from workers.queue import InProcessQueue, TaskQueue

MakeQueue = Callable[[], TaskQueue]


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Tools]:
    with installation(tmp_path / "home") as tools:
        yield tools


@pytest.fixture
def make_queue(tools: Tools) -> Iterator[MakeQueue]:
    made: list[TaskQueue] = []

    def make() -> TaskQueue:
        made.append(InProcessQueue(lambda: tools, tools.database, tools.settings))
        return made[-1]

    yield make
    for queue in made:
        queue.close()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(100):
        (folder / f"{number}.png").write_bytes(png(number))
    (folder / "bad.png").write_text("no picture")
    return folder


def job_for(tools: Tools, folder: Path) -> int:
    return open_job(tools, open_collection(tools, NAME), open_source(tools.settings, folder), None, prune=False).id


def wait(queue: TaskQueue, job_id: int) -> Job:
    give_up = time.monotonic() + 30
    while (job := queue.status(job_id)).active:
        assert time.monotonic() < give_up, f"the job did not end: {job}"
        time.sleep(0.02)
    return job


def test_a_job_runs_to_its_end(tools: Tools, photos: Path, make_queue: MakeQueue) -> None:
    queue = make_queue()
    job_id = job_for(tools, photos)
    assert queue.status(job_id).state == JobState.SCANNING
    queue.submit(job_id)
    job = wait(queue, job_id)
    assert (job.state, job.counts.indexed, job.counts.quarantined) == (JobState.DONE, 100, 1)
    check_agreement(tools)


def test_submitting_twice_runs_once(tools: Tools, photos: Path, make_queue: MakeQueue) -> None:
    job_id = job_for(tools, photos)
    first, second = make_queue(), make_queue()
    for queue in (first, second, first):
        queue.submit(job_id)
    assert wait(first, job_id).counts.indexed == 100
    second.close()
    assert all(item.revision == 1 for item in held(tools).values())
    check_agreement(tools)


def test_a_cancelled_job_ends(tools: Tools, photos: Path, make_queue: MakeQueue) -> None:
    queue = make_queue()
    job_id = job_for(tools, photos)
    assert queue.cancel(job_id).state == JobState.CANCELLED
    queue.submit(job_id)
    queue.close()
    assert held(tools) == {}
    assert queue.cancel(job_id).state == JobState.CANCELLED


def test_unknown_jobs_are_refused(make_queue: MakeQueue) -> None:
    for verb in (make_queue().submit, make_queue().status, make_queue().cancel):
        with pytest.raises(JobNotFound):
            verb(99)


def test_a_job_that_fails_says_why(tools: Tools, photos: Path, make_queue: MakeQueue) -> None:
    job_id = job_for(tools, photos)
    shutil.rmtree(photos)
    queue = make_queue()
    queue.submit(job_id)
    job = wait(queue, job_id)
    assert job.state == JobState.FAILED
    assert "is gone" in str(job.error)


def test_what_a_closed_queue_left_is_resumed(tools: Tools, photos: Path, make_queue: MakeQueue) -> None:
    job_id = job_for(tools, photos)
    first = make_queue()
    first.submit(job_id)
    first.close()
    second = make_queue()
    state = second.status(job_id).state
    assert second.resume() == ([] if state == JobState.DONE else [job_id])
    assert wait(second, job_id).state == JobState.DONE
    assert len(held(tools)) == 100
    check_agreement(tools)
    assert second.resume() == []


class Slow(HashingEmbedder):
    """Takes its time, and tells when it is at work."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()

    def embed_gallery(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        self.entered.set()
        time.sleep(0.3)
        return super().embed_gallery(samples, spaces)


def test_closing_does_not_wait_for_the_whole_job(tools: Tools, photos: Path) -> None:
    slow = Slow()
    queue = InProcessQueue(lambda: replace(tools, embedder=slow), tools.database, tools.settings)
    job_id = job_for(tools, photos)
    queue.submit(job_id)
    assert slow.entered.wait(10)
    queue.close()
    job = queue.status(job_id)
    assert job.active
    assert 0 < job.counts.settled < 101
