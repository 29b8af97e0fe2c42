"""Real workers, each an `anyseek worker` in processes of its own, and jobs for them. For tests with real servers."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from anyseek.indexer.runs import IndexerContext
from anyseek.search.catalogue import jobs
from anyseek.search.catalogue.jobs import Job
from anyseek.search.settings import Settings, Work, variables
from anyseek.workers.celery_queue import CeleryQueue
from anyseek.workers.readiness import is_ready
from tests.indexer.harness import job_for

POSTGRES = "ANYSEEK_TEST_POSTGRES"
# For one thing to happen; a busy machine, or 5,000 inputs on it, may need more.
PATIENCE_SECONDS = float(os.environ.get("ANYSEEK_TEST_PATIENCE", "180"))
# Short times and small tasks, so that what a death costs is seen in a test.
WORK = Work(lease_seconds=6, inputs_per_task=16, inputs_per_batch=8, resubmit_seconds=1, concurrency=2)
_PROGRAM = "from anyseek.api.cli import main; main()"


def settings_of(home: Path, broker_url: str) -> Settings:
    """An installation with the test database and a broker."""
    return Settings(home, database_url=os.environ[POSTGRES], broker_url=broker_url, model="hashing", work=WORK)


class WorkerProcess:
    """One worker. `before` is Python that runs in it first, to set a trap; its log is in `logs` or its home."""

    def __init__(
        self, settings: Settings, name: str, *options: str, before: str = "", logs: Path | None = None
    ) -> None:
        self._settings = settings
        self._name = name
        plain = {key: value for key, value in os.environ.items() if not key.startswith("ANYSEEK")}
        environment = plain | {key: value for key, value in variables(settings) if value} | {"OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", f"{before}\n{_PROGRAM}", "worker", "--name", name, *options]
        self._log = (logs or settings.home) / f"{name}.log"
        settings.home.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_until_ready(self) -> "WorkerProcess":
        wait_for(
            lambda: is_ready(self._settings, self._name) or self.process.poll() is not None, "a worker to be ready"
        )
        assert self.process.poll() is None, self.log[-2_000:]
        return self

    def terminate(self) -> int:
        """Tell it to stop, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """kill -9 of the worker and all its processes."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE_SECONDS)


@contextmanager
def working(settings: Settings, name: str, *options: str, before: str = "") -> Iterator[WorkerProcess]:
    """A worker that is ready, killed at the end of the block if it still runs."""
    worker = WorkerProcess(settings, name, *options, before=before)
    try:
        yield worker.wait_until_ready()
    finally:
        worker.kill()


def submit(context: IndexerContext, folder: Path) -> int:
    """Hand a job over a folder to the workers; returns its id."""
    job = job_for(context, folder)
    queue = CeleryQueue(context.database, context.settings)
    queue.submit(job.id)
    queue.close()
    return job.id


def look(context: IndexerContext, job_id: int) -> Job:
    with context.database.read() as session:
        return jobs.get_with_counts(session, job_id)


def wait_for(happened: Callable[[], object], what: str) -> None:
    ends = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < ends, f"waited in vain for {what}"
        time.sleep(0.05)
