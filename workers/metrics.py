"""Metrics of the tasks of a worker's processes, beside the stages of `anyseek.search.telemetry.metrics`.

Only those processes import this: it reads where to write from the environment (`anyseek.workers.exporter.FOLDER`).
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from resource import getpagesize

from celery import current_task
from celery.exceptions import Reject
from prometheus_client import Counter, Gauge, Histogram

from anyseek.search.telemetry import spans
from anyseek.search.telemetry.metrics import REGISTRY

_TASKS = Counter("anyseek_tasks_total", "Tasks that ended, by how they ended", ["task", "outcome"], registry=REGISTRY)
_SECONDS = Histogram(
    "anyseek_task_seconds",
    "Seconds that a task took",
    ["task"],
    buckets=(0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 1200),
    registry=REGISTRY,
)
_MEMORY = Gauge(
    "anyseek_worker_memory_bytes",
    "Resident memory of a worker's processes after their last tasks, together",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
_PROCESSES = Gauge(
    "anyseek_worker_processes",
    "A worker's processes that are ready for tasks",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)


def counted_as_ready() -> None:
    """Count this process from now on until it ends."""
    _PROCESSES.set(1)
    _MEMORY.set(resident_bytes())


@contextmanager
def measured(task: str) -> Iterator[None]:
    """Count and time a task, as a span of the trace that its message names; decorates the functions that do tasks.

    `sent_back` ended before its time and goes on elsewhere; what fails a job is `done`: jobs tell how they ended.
    """
    started, outcome = time.perf_counter(), "failed"
    try:
        with spans.task_span(task, _carried()):
            yield
        outcome = "done"
    except Reject:
        outcome = "sent_back"
        raise
    finally:
        _TASKS.labels(task, outcome).inc()
        _SECONDS.labels(task).observe(time.perf_counter() - started)
        _MEMORY.set(resident_bytes())


def _carried() -> spans.TraceHeaders:
    """What the message of this task carries (`CeleryQueue.send`)."""
    return current_task.request.headers or {} if current_task else {}


def resident_bytes() -> int:
    """The resident memory of this process."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * getpagesize()
