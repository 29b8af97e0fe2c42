"""Ending a run at a step: the first Ctrl-C or SIGTERM asks for it, a second Ctrl-C ends the process at once."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """Whether the run was asked to end."""

    def __init__(self) -> None:
        self.asked = False

    def ask(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        self.asked = True
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
