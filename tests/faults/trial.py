"""One trial: a job on three workers, a supervisor that does harm while it runs, and a look at what came of it."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from anyseek.indexer.runs import IndexerContext
from anyseek.search.settings import Work
from tests.faults.gallery import Gallery
from tests.faults.servers import Servers, is_drained
from tests.workers.processes import WorkerProcess, look, wait_for

WORKERS = 3
# Short times and small tasks, so that what harm costs is seen within a minute.
WORK = Work(lease_seconds=6, inputs_per_task=32, inputs_per_batch=8, resubmit_seconds=2, concurrency=1)
_STOPPING_SECONDS = 60.0


@dataclass
class Trial:
    """What a fault works on. `wrong` is for what it sees go wrong that the comparison at the end cannot see."""

    context: IndexerContext
    gallery: Gallery
    chance: random.Random
    servers: Servers
    logs: Path
    wrong: list[str] = field(default_factory=list)

    @property
    def model_seconds(self) -> float:
        """How long the model takes for all inputs on three workers, so that there is a job to harm."""
        return min(self.gallery.inputs / 25, 20 + self.gallery.inputs / 250)

    @property
    def traps(self) -> str:
        """What each worker does first."""
        pace = WORKERS * self.model_seconds / self.gallery.inputs
        return f"from tests.faults import traps; traps.forbid_torch(); traps.slow_down({pace})"

    def check(self, is_well: bool, what: str) -> None:
        if not is_well:
            self.wrong.append(what)


class Team:
    """Three workers. One that is killed is replaced by another of its name."""

    def __init__(self, trial: Trial, traps: str) -> None:
        self._trial = trial
        self._traps = traps
        self._workers = [self._hire(number) for number in range(WORKERS)]

    def wait_until_ready(self) -> None:
        for worker in self._workers:
            worker.wait_until_ready()

    def replace(self, number: int) -> None:
        """kill -9 of a worker and its processes; another one comes."""
        self._workers[number].kill()
        self._workers[number] = self._hire(number)

    def signal(self, number: int, what: signal.Signals) -> None:
        """To a worker and all its processes."""
        os.killpg(self._workers[number].process.pid, what)

    @property
    def logs(self) -> str:
        return "".join(worker.log for worker in self._workers)

    def stop(self) -> None:
        """Have all of them end their tasks and go."""
        for worker in self._workers:
            worker.process.terminate()
        ends = time.monotonic() + _STOPPING_SECONDS
        while any(worker.process.poll() is None for worker in self._workers) and time.monotonic() < ends:
            time.sleep(0.1)

    def kill(self) -> None:
        for worker in self._workers:
            worker.kill()

    def _hire(self, number: int) -> WorkerProcess:
        trial = self._trial
        return WorkerProcess(trial.context.settings, f"worker-{number}", before=self._traps, logs=trial.logs)


@contextmanager
def working(trial: Trial, traps: str = "") -> Iterator[Team]:
    """A team at work; at the end of the block it finishes what is in the queues, which must change nothing."""
    team = Team(trial, f"{trial.traps}\n{traps}")
    try:
        team.wait_until_ready()
        yield team
        wait_for(lambda: is_drained(trial.context.settings), "empty queues")
        team.stop()
    finally:
        team.kill()


def harm_until_done(trial: Trial, job_id: int, harm: Callable[[], None], every: float, most: int) -> int:
    """Do harm about `every` so many seconds, at most `most` times, until the job has ended; returns how often."""
    done = 0
    wait_for(lambda: look(trial.context, job_id).counts.settled, "the first inputs to be settled")
    due = time.monotonic() + every * trial.chance.random()
    while done < most and look(trial.context, job_id).active:
        if time.monotonic() >= due:
            harm()
            done += 1
            due = time.monotonic() + every * trial.chance.uniform(0.5, 1.5)
        time.sleep(0.1)
    wait_for(lambda: not look(trial.context, job_id).active, "the job's end")
    return done
