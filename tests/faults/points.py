"""Harm done between two steps: one process, without workers, dies at each point of `tests.faults.traps` in turn."""

import signal
from dataclasses import replace

from tests.faults.commands import ended, start
from tests.faults.traps import END_POINTS, WORK_POINTS, Point
from tests.faults.trial import Trial
from tests.indexer.harness import NAME

_SOME_QUARANTINED = 3
_LATEST_CALL = 3  # there are that many batches after each death, even in a quick try


def killed_at_each_point(trial: Trial) -> int:
    """`anyseek index` dies at each point while it works, then at each point of its end, and then is left in peace."""
    work = list(WORK_POINTS.items())
    trial.chance.shuffle(work)
    drawn = [(name, replace(point, call=trial.chance.randint(1, _LATEST_CALL))) for name, point in work]
    for name, point in [*drawn, *END_POINTS.items()]:
        code, said = _index(trial, point)
        trial.check(code == -signal.SIGKILL, f"it did not die at {name!r} but ended with {code}: {said[-300:]}")
    code, said = _index(trial, None)
    trial.check(code == _SOME_QUARANTINED, f"the run left in peace ended with {code}: {said[-300:]}")
    return len(WORK_POINTS) + len(END_POINTS)


def _index(trial: Trial, point: Point | None) -> tuple[int, str]:
    trap = "from tests.faults import traps; traps.forbid_torch()"
    if point:
        trap += f"\nfrom tests.faults.traps import Point; traps.die_at({point!r})"
    return ended(start(trial, "index", str(trial.gallery.folder), "--collection", NAME, traps=trap))
