"""Commands and functions run in processes of their own, with the time and memory that they use."""

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
    """A process ended with another code than 0; the message ends with its output."""


@dataclass(frozen=True)
class Usage:
    """Wall and processor seconds of concurrent processes, and peak MB of the largest and of all together."""

    seconds: float
    processor_seconds: float
    peak_mb: float
    peak_mb_of_all: float


class _Process:
    """A running command whose output goes to a temporary file; with `shows_errors`, its stderr goes to ours."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], shows_errors: bool) -> None:
        self._arguments, self._output = arguments, tempfile.TemporaryFile()  # noqa: SIM115 (closed when it is killed)
        self.peak_mb, self.processor_seconds = 0.0, 0.0
        command = [sys.executable, "-c", _PROGRAM, *arguments]
        errors = None if shows_errors else self._output
        self._process = subprocess.Popen(command, env=environment, stdout=self._output, stderr=errors)

    def poll(self) -> bool:
        """Record the usage and return whether the process has ended. Raises `CommandFailed`."""
        if self._process.returncode is not None:
            return True
        self.peak_mb = max(self.peak_mb, peak_mb(self._process.pid))
        pid, status, usage = os.wait4(self._process.pid, os.WNOHANG)
        if not pid:
            return False
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self.processor_seconds = usage.ru_utime + usage.ru_stime
        if self._process.returncode:
            self._output.seek(0)
            output = self._output.read().decode(errors="replace")[-2_000:]
            raise CommandFailed(f"{' '.join(self._arguments)} ended with {self._process.returncode}: {output}")
        return True

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()
        self._output.close()


def run_commands(
    arguments: Sequence[str], environment: Mapping[str, str], count: int = 1, on_poll: Callable[[], object] = int
) -> Usage:
    """Run the same command in `count` processes at once and call `on_poll` every `_POLL_SECONDS` until all have ended.

    No process outlives this call, even if it raises. Raises `CommandFailed`.
    """
    start = time.perf_counter()
    with ExitStack() as stack:
        processes = []
        for number in range(count):
            processes.append(_Process(arguments, environment, shows_errors=number == 0))
            stack.callback(processes[-1].kill)
        while sum(not process.poll() for process in processes):  # polls each, which also reads its memory
            on_poll()
            time.sleep(_POLL_SECONDS)
        seconds = time.perf_counter() - start
    peaks = [process.peak_mb for process in processes]
    return Usage(seconds, sum(process.processor_seconds for process in processes), max(peaks), sum(peaks))


def peak_mb(pid: int | str = "self") -> float:
    """Peak resident memory; not from `getrusage`, which also counts the parent's peak before the fork."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except FileNotFoundError:
        return 0.0
    fields = status.partition("VmHWM:")[2].split()  # empty for a process that has just ended
    return int(fields[0]) / 1_024 if fields else 0.0


def run_in_process(work: Callable[..., object], *arguments: Any) -> None:
    """Run the work in a new process, whose memory is that of the work alone; Ctrl-C reaches both processes.

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
