"""Ending a run at a step: the first Ctrl-C or SIGTERM asks for it, a second Ctrl-C ends the process at once."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STARTED_BY = "ANYSEEK_STARTED_BY"  # the number of the process that started this one and waits for it


class Stop:
    """Whether the run was asked to end."""

    def __init__(self) -> None:
        self._asked = False
        self._starter = int(os.environ.get(STARTED_BY, os.getppid()))

    @property
    def asked(self) -> bool:
        """Also where whoever started this process, to wait for it, has gone."""
        return self._asked or (STARTED_BY in os.environ and os.getppid() != self._starter)

    def ask(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        self._asked = True
        # torchrun hands on a Ctrl-C that its processes had as well: for them the second one is the first
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def stopped_by_signals() -> Iterator[Stop]:
    """Inside, SIGINT and SIGTERM only ask to stop. In the main thread only."""
    stop = Stop()
    before = {number: signal.signal(number, stop.ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
