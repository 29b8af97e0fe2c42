"""Harm done to workers: killed, made to hang, or killed by an input."""

import signal
import time

from tests.faults.trial import WORK, WORKERS, Trial, harm_until_done, working
from tests.workers.processes import submit

KILL_SECONDS = 5.0
MAX_KILLS, MAX_HANGS = 10, 3
_TAKEN_OVER = "another worker took over"  # what one says that was refused to write


def workers_are_killed(trial: Trial) -> int:
    """SIGKILL of a random worker, parent and children, every 5 s; an input that kills its worker is among the bad."""
    with working(trial) as team:
        job_id = submit(trial.context, trial.gallery.folder)
        return harm_until_done(
            trial, job_id, lambda: team.replace(trial.chance.randrange(WORKERS)), KILL_SECONDS, MAX_KILLS
        )


def workers_hang(trial: Trial) -> int:
    """SIGSTOP of a worker, parent and children, until its leases are long lost and taken; then it goes on."""
    with working(trial) as team:
        job_id = submit(trial.context, trial.gallery.folder)

        def hang() -> None:
            number = trial.chance.randrange(WORKERS)
            team.signal(number, signal.SIGSTOP)
            time.sleep(WORK.lease_seconds + 4)
            team.signal(number, signal.SIGCONT)

        hung = harm_until_done(trial, job_id, hang, 2.0, MAX_HANGS)
        trial.check(_TAKEN_OVER in team.logs, "no worker that hung lost its lease")
        return hung
