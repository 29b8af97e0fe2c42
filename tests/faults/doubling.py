"""Harm done by doing everything twice: two jobs at once, two messages for each task."""

import re

from tests.faults import traps
from tests.faults.commands import ended, start
from tests.faults.trial import Trial, working
from tests.indexer.harness import NAME
from tests.workers.processes import look, submit, wait_for

OTHER = "other"
_SOME_QUARANTINED = 3
_SPAN = re.compile(r"embedded.*")  # a worker's line about a task that it has done


def two_jobs_at_once(trial: Trial) -> int:
    """Three `anyseek index` at once over one folder: two into one collection, one into another."""
    with working(trial):
        commands = [
            start(trial, "index", str(trial.gallery.folder), "--collection", name) for name in (NAME, NAME, OTHER)
        ]
        for command in commands:
            code, said = ended(command)
            trial.check(code == _SOME_QUARANTINED, f"`anyseek index` ended otherwise: {said[-300:]}")
    return len(commands)


def every_task_twice(trial: Trial) -> int:
    """Each message, of the supervisor and of the workers, is sent to the broker twice."""
    with working(trial, "doubling = traps.delivering_twice(); doubling.__enter__()") as team, traps.delivering_twice():
        job_id = submit(trial.context, trial.gallery.folder)
        wait_for(lambda: not look(trial.context, job_id).active, "the job's end")
        spans = _SPAN.findall(team.logs)
    return len(spans) - len(set(spans))
