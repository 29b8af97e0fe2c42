"""Metrics of worker tasks and processes; pipeline stages are in `anyseek.search.telemetry.metrics`.

Import it only in worker processes: the folder to write to comes from the environment (`workers.exporter.FOLDER`).
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

_TASKS = Counter("anyseek_tasks_total", "Tasks that ended, by outcome", ["task", "outcome"], registry=REGISTRY)
_SECONDS = Histogram(
    "anyseek_task_seconds",
    "Duration of a task in seconds",
    ["task"],
    buckets=(0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 1200),
    registry=REGISTRY,
)
_MEMORY = Gauge(
    "anyseek_worker_memory_bytes",
    "Total resident memory of a worker's processes after their last tasks",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
_PROCESSES = Gauge(
    "anyseek_worker_processes",
    "Processes of a worker that are ready for tasks",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)


def mark_process_ready() -> None:
    """Count this process as ready until it ends."""
    _PROCESSES.set(1)
    _MEMORY.set(resident_bytes())


@contextmanager
def measure_task(task: str) -> Iterator[None]:
    """Decorator of task functions: counts and times the task, and opens a span in the trace of its message.

    The outcome `sent_back` means that the task was requeued. A task that fails its job is `done`: the job records it.
    """
    started, outcome = time.perf_counter(), "failed"
    try:
        with spans.task_span(task, _trace_headers()):
            yield
        outcome = "done"
    except Reject:
        outcome = "sent_back"
        raise
    finally:
        _TASKS.labels(task, outcome).inc()
        _SECONDS.labels(task).observe(time.perf_counter() - started)
        _MEMORY.set(resident_bytes())


def _trace_headers() -> spans.TraceHeaders:
    """The trace headers in the message of this task, which `CeleryQueue.send` adds."""
    return current_task.request.headers or {} if current_task else {}


def resident_bytes() -> int:
    """The resident memory of this process, in bytes."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * getpagesize()
