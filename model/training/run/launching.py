"""Start the processes of a run on one machine, and stop a run at the end of a step. No torch.

Each process runs the same command with its number in the environment, set as torchrun would set it; torchrun itself
starts runs on several machines. Ctrl-C and SIGTERM are passed on as SIGTERM, and all processes then stop after the same
step. If a process fails, the others are stopped. In a run of one process, a second Ctrl-C stops it at once.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

_GRACE = 60.0  # seconds for the others to notice that one has failed, and to say so
_LOOK = 0.1

Children = Sequence["subprocess.Popen[bytes]"]


def run_processes(command: Sequence[str], count: int, say: Callable[[str], None]) -> int:
    """Run a command in `count` processes that train together; returns the first exit status that is not 0, else 0.

    A process ended by a signal counts as 1 and is reported through `say`.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    threads = str(max((os.cpu_count() or 1) // count, 1))
    shared = {"OMP_NUM_THREADS": threads, **os.environ, STARTED_BY: str(os.getpid())}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    children = [
        subprocess.Popen(command, env={**shared, "RANK": str(number), "LOCAL_RANK": str(number)})
        for number in range(count)
    ]
    with _forwarding_signals(children):
        failed = _first_failed(children)
    if failed is None:
        return 0
    status = children[failed].returncode
    if status < 0:
        name = signal.Signals(-status).name
        say(f"process {failed} of {count} was ended by {name}; --resume goes on from the last checkpoint")
    return status if status > 0 else 1


def _first_failed(children: Children) -> int | None:
    """The number of the child that failed first, when all have ended; those that outlive it for long are killed."""
    failed: int | None = None
    since = 0.0
    while True:
        statuses = [child.poll() for child in children]
        if failed is None and any(statuses):
            failed, since = next(number for number, status in enumerate(statuses) if status), time.monotonic()
        if None not in statuses:
            return failed
        if failed is not None and time.monotonic() - since > _GRACE:
            _send(children, signal.SIGKILL)
        time.sleep(_LOOK)


@contextmanager
def _forwarding_signals(children: Children) -> Iterator[None]:
    """Inside, the first SIGINT or SIGTERM becomes a SIGTERM to all children, a second SIGINT kills them."""
    interrupted = False

    def forward(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        _send(children, signal.SIGKILL if interrupted and number == signal.SIGINT else signal.SIGTERM)
        interrupted = True

    with _handled_by(forward):
        try:
            yield
        finally:
            _send(children, signal.SIGKILL)


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """A context in which a handler gets SIGINT and SIGTERM."""
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def _send(children: Children, number: int) -> None:
    for child in children:
        if child.poll() is None:
            child.send_signal(number)


STARTED_BY = "ANYSEEK_STARTED_BY"  # the number of the process that started this one and waits for it


def leave(status: int) -> None:
    """End this process at once with a status if `run_processes` started it and all its work is done; else do nothing.

    Threads of gloo may live on for a moment after their group, and ending as usual would then abort (SIGABRT).
    """
    if STARTED_BY in os.environ:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


class Stop:
    """The flag that a stop of the run was requested."""

    def __init__(self) -> None:
        self._requested = False
        self._starter = int(os.environ.get(STARTED_BY, os.getppid()))

    @property
    def requested(self) -> bool:
        """Whether a signal requested it, or the parent process that waits for this one has ended."""
        return self._requested or (STARTED_BY in os.environ and os.getppid() != self._starter)

    def ask(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        self._requested = True
        # torchrun hands on a Ctrl-C that its processes had as well: for them the second one is the first
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def handle_stop_signals() -> Iterator[Stop]:
    """A context in which SIGINT and SIGTERM only set the stop flag. For the main thread only."""
    stop = Stop()
    with _handled_by(stop.ask):
        yield stop
