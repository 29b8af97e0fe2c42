"""Worker processes that make samples, results in order. A sample that kills its process costs nobody but itself."""

import multiprocessing
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from model.data.making import Failure, Made, Workshop, make_all, start_worker
from model.data.plan import Job

_BATCH = 4
_BATCHES_AHEAD = 4  # of each worker, so that no one waits at the end of a shard

Batch = tuple[Job, ...]


def make_in_order(workshop: Workshop, jobs: Sequence[Job], workers: int) -> Generator[Made, None, None]:
    """Make all jobs in `workers` processes; the results come in the order of `jobs`, as soon as they can.

    What labellers raise when they are made, such as `WeightsMissing`, is raised here.
    """
    batches = iter([tuple(jobs[start : start + _BATCH]) for start in range(0, len(jobs), _BATCH)])
    pool = _open_pool(workshop, workers)
    waiting: deque[tuple[Batch, Future[list[Made]]]] = deque()
    try:
        _submit(pool, _first(batches, workers * _BATCHES_AHEAD), waiting)
        while waiting:
            batch, future = waiting.popleft()
            try:
                made = future.result()
            except BrokenProcessPool:
                _close(pool)
                made = list(_make_alone(workshop, batch))
                pool = _open_pool(workshop, workers)
                lost = [other for other, _ in waiting]
                waiting.clear()
                _submit(pool, lost, waiting)
            yield from made
            _submit(pool, _first(batches, 1), waiting)
    finally:
        _close(pool)


def _make_alone(workshop: Workshop, batch: Batch) -> Iterator[Made]:
    """Make jobs one by one, in a process that runs nothing else, to see which of them kills it."""
    pool = _open_pool(workshop, 1)
    try:
        for job in batch:
            try:
                yield from pool.submit(make_all, (job,)).result()
            except BrokenProcessPool:
                _close(pool)
                source = workshop.sources[job.source].name
                yield Failure(source, job.key, "worker", "the process that made it died: a crash, or not enough memory")
                pool = _open_pool(workshop, 1)
    finally:
        _close(pool)


def _open_pool(workshop: Workshop, workers: int) -> ProcessPoolExecutor:
    """Fresh processes: a forked one would share the threads' locks of libraries."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, context, initializer=start_worker, initargs=(workshop,))


def _close(pool: ProcessPoolExecutor) -> None:
    pool.shutdown(wait=True, cancel_futures=True)


def _first(batches: Iterator[Batch], count: int) -> list[Batch]:
    return [batch for _, batch in zip(range(count), batches, strict=False)]


def _submit(
    pool: ProcessPoolExecutor, batches: Iterable[Batch], waiting: "deque[tuple[Batch, Future[list[Made]]]]"
) -> None:
    """Hand batches to the pool. One that broke at this moment says so when its result is asked for."""
    for batch in batches:
        try:
            future = pool.submit(make_all, batch)
        except BrokenProcessPool as error:
            future = Future()
            future.set_exception(error)
        waiting.append((batch, future))
