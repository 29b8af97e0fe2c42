"""What is particular to jobs in a thread of this process."""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.exc import TimeoutError as QueuePoolTimeout

from anyseek.indexer.runs import IndexerContext
from anyseek.model.hashing import HashingEmbedder
from anyseek.model.seam import FloatArray, Sample
from anyseek.search.catalogue.jobs import Job, JobState
from anyseek.workers.queue import InProcessQueue
from tests.indexer.harness import check_agreement, held, installation, job_for, reembed_context
from tests.indexer.pictures import folder_of


@pytest.fixture
def context(tmp_path: Path) -> Iterator[IndexerContext]:
    with installation(tmp_path / "home") as context:
        yield context


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "photos", range(100))


def wait_until_ended(queue: InProcessQueue, job_id: int) -> Job:
    until = time.monotonic() + 60
    while (job := queue.status(job_id)).active:
        assert time.monotonic() < until, job
        time.sleep(0.02)
    return job


def queue_with(context: IndexerContext, embedder: HashingEmbedder) -> InProcessQueue:
    with_it = replace(context, embedder=embedder)
    return InProcessQueue(lambda: with_it, reembed_context(with_it))


class Slow(HashingEmbedder):
    """Takes its time, and tells when it is at work."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()

    def embed_gallery(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        self.entered.set()
        time.sleep(0.3)
        return super().embed_gallery(samples, spaces)


def test_closing_does_not_wait_for_the_whole_job(context: IndexerContext, photos: Path) -> None:
    slow = Slow()
    queue = queue_with(context, slow)
    job_id = job_for(context, photos).id
    queue.submit(job_id)
    assert slow.entered.wait(30)
    queue.close()
    job = queue.status(job_id)
    assert job.active
    assert 0 < job.counts.settled < 100


class FullAtFirst(HashingEmbedder):
    """What is written finds the disk full, once."""

    def __init__(self) -> None:
        super().__init__()
        self.was_full = threading.Event()

    def embed_gallery(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        if not self.was_full.is_set():
            self.was_full.set()
            raise OSError(28, "No space left on device")
        return super().embed_gallery(samples, spaces)


def test_a_job_waits_for_what_may_pass_and_tells_so(context: IndexerContext, photos: Path) -> None:
    full = FullAtFirst()
    queue = queue_with(context, full)
    job_id = job_for(context, photos).id
    queue.submit(job_id)
    assert full.was_full.wait(30)
    seen = set()
    while (job := queue.status(job_id)).active:
        seen.add(job.error)
        time.sleep(0.2)
    assert "waits: [Errno 28] No space left on device" in seen
    assert (job.state, job.error, job.counts.indexed) == (JobState.DONE, None, 100)
    assert len(held(context)) == 100
    check_agreement(context)
    queue.close()


class Unlucky(HashingEmbedder):
    """Has a connection fail in a way that does not pass."""

    def embed_gallery(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        raise QueuePoolTimeout("QueuePool limit of size 5 overflow 10 reached", code="3o7r")


def test_a_job_that_fails_at_the_database_says_so_in_one_sentence(context: IndexerContext, photos: Path) -> None:
    queue = queue_with(context, Unlucky())
    job_id = job_for(context, photos).id
    queue.submit(job_id)
    ended = wait_until_ended(queue, job_id)
    queue.close()
    assert ended.state is JobState.FAILED
    assert ended.error == "the database failed: QueuePool limit of size 5 overflow 10 reached"
