"""Run work in a process of its own, and commands, and tell what these take."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PROGRAM = "from anyseek.api.cli import main; main()"
_POLL_SECONDS = 0.1


class CommandFailed(Exception):
    """A process ended with another code than 0; the message ends with what it said."""


@dataclass(frozen=True)
class Taken:
    """By processes side by side: seconds of the clock, of all processors, and MB at most, of the largest and of all."""

    seconds: float
    processor_seconds: float
    peak_mb: float
    peak_mb_of_all: float


class _Process:
    """One command. What it prints goes to a file; what it reports while it works, to stderr if it is `heard`."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], heard: bool) -> None:
        self._arguments, self._said = arguments, tempfile.TemporaryFile()  # noqa: SIM115 (closed when it is killed)
        self.peak_mb, self.processor_seconds = 0.0, 0.0
        command = [sys.executable, "-c", _PROGRAM, *arguments]
        errors = None if heard else self._said
        self._process = subprocess.Popen(command, env=environment, stdout=self._said, stderr=errors)

    def has_ended(self) -> bool:
        """Raises `CommandFailed`."""
        if self._process.returncode is not None:
            return True
        self.peak_mb = max(self.peak_mb, peak_mb(self._process.pid))
        ended, status, used = os.wait4(self._process.pid, os.WNOHANG)
        if not ended:
            return False
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self.processor_seconds = used.ru_utime + used.ru_stime
        if self._process.returncode:
            self._said.seek(0)
            said = self._said.read().decode(errors="replace")[-2_000:]
            raise CommandFailed(f"{' '.join(self._arguments)} ended with {self._process.returncode}: {said}")
        return True

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()
        self._said.close()


def commands(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    number: int = 1,
    look: Callable[[], object] = lambda: None,
) -> Taken:
    """Run the same command in so many processes at once; `look` is called every `_POLL_SECONDS` meanwhile.

    None outlives this call, whatever ends it. Raises `CommandFailed`.
    """
    started = time.perf_counter()
    with ExitStack() as stack:
        every = []
        for count in range(number):
            every.append(_Process(arguments, environment, heard=not count))
            stack.callback(every[-1].kill)
        while sum(not one.has_ended() for one in every):  # each is asked: its memory is read then
            look()
            time.sleep(_POLL_SECONDS)
        seconds = time.perf_counter() - started
    peaks = [one.peak_mb for one in every]
    return Taken(seconds, sum(one.processor_seconds for one in every), max(peaks), sum(peaks))


def peak_mb(pid: int | str = "self") -> float:
    """The kernel's own mark: `getrusage` tells that of the parent if it was higher when it started this process."""
    try:
        told = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except FileNotFoundError:
        return 0.0
    marked = told.partition("VmHWM:")[2].split()  # a process that has just ended has no memory
    return int(marked[0]) / 1_024 if marked else 0.0


def in_a_process(work: Callable[..., object], *arguments: Any) -> None:
    """Do work in a process of its own, whose memory is that of the work alone. Ctrl-C reaches both.

    Raises `SystemExit` if the work failed.
    """
    worker = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    worker.start()
    try:
        worker.join()
    except KeyboardInterrupt:
        worker.join()
        raise
    if worker.exitcode:
        sys.exit(worker.exitcode)
