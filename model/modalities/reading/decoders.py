"""Decodes pictures that may do harm in a few processes apart, which may crash, and are killed if they take too much.

What goes there are the formats whose decoders are large, and every picture of many pixels. Small PNG, JPEG, GIF and
BMP, which are nearly all, stay in the thread that asks: the way to a process and back costs more than they do.
"""

import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from PIL import Image

from anyseek.model.modalities.reading.budget import Budget
from anyseek.model.modalities.reading.decoder_messages import Message, Wanted, reading_of, receive, send, task_of
from anyseek.model.modalities.reading.encoded import Encoded
from anyseek.model.modalities.reading.errors import BrokenPicture, RequestTooCostly
from anyseek.model.modalities.reading.pictures import decoding
from anyseek.model.modalities.reading.understood import Reading
from anyseek.model.modalities.registry import Content

APART_FROM = 16_000_000  # pixels; those with fewer are decoded in a fraction of a second

_CONTENTS = frozenset({Content.PICTURE, Content.DRAWING, Content.DEPTH, Content.NORMAL, Content.REGIONS})
_PLAIN = {b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF8": "GIF", b"BM": "BMP"}
_NPY = b"\x93NUMPY"
_PROGRAM = ("-m", "anyseek.model.modalities.reading.decoder_process")
_STARTING_SECONDS = 60.0
_LOOKED_SECONDS = 0.1  # how often to see whether the client is still there


def goes_apart(content: Content, data: bytes) -> bool:
    """Whether a file sent by anybody is better decoded in another process."""
    if content not in _CONTENTS or data.startswith(_NPY) or not data:
        return False
    for start, kind in _PLAIN.items():
        if data.startswith(start):
            return _pixels(data, kind) >= APART_FROM
    return True


def _pixels(data: bytes, kind: str) -> int:
    """As the header declares them; 0 for one that cannot be read, which is then refused at once."""
    with suppress(BrokenPicture), decoding("it"), Image.open(io.BytesIO(data), formats=(kind,)) as image:
        return image.width * image.height
    return 0


class Decoders:
    """At most `processes` of them, with `megabytes` of memory each, started when first needed; for several threads."""

    def __init__(self, processes: int, megabytes: int, program: Sequence[str] = _PROGRAM) -> None:
        self._megabytes, self._program = megabytes, program
        self._free = threading.Semaphore(processes)
        self._lock = threading.Lock()
        self._idle: list[_Process] = []
        self._closed = False

    def read(self, wanted: Wanted, file: Encoded, budget: Budget) -> Reading:
        """What is wanted of a file. A process that crashes or is killed is replaced, and the file is refused.

        Raises `DecodeError`, and `RequestAbandoned` once the client has left.
        """
        while not self._free.acquire(timeout=_LOOKED_SECONDS):
            budget.check()
        try:
            answer = self._answer(wanted, file, budget)
        finally:
            self._free.release()
        budget.pixels_left = min(budget.pixels_left, answer[0]["left"])
        return reading_of(answer)

    def close(self) -> None:
        """End all processes; those at work end with their tasks."""
        with self._lock:
            self._closed, idle = True, self._idle
            self._idle = []
        for process in idle:
            process.end()

    def _answer(self, wanted: Wanted, file: Encoded, budget: Budget) -> Message:
        process = self._take()
        try:
            with budget.decoding(file.name) as seconds:
                answer = process.ask(wanted, file, budget, seconds)
        except BaseException:
            process.end()
            raise
        self._give_back(process)
        return answer

    def _take(self) -> "_Process":
        with self._lock:
            idle = next((process for process in reversed(self._idle) if process.lives()), None)
            self._idle = [process for process in self._idle if process is not idle and process.lives()]
        if idle is not None:
            return idle
        return _Process(self._program, self._megabytes)

    def _give_back(self, process: "_Process") -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(process)
                return
        process.end()


class _Process:
    def __init__(self, program: Sequence[str], megabytes: int) -> None:
        self._connection, other = socket.socketpair()
        with other:
            command = [sys.executable, "-P", *program, str(other.fileno()), str(megabytes)]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[other.fileno()],
                env=_environment(),
            )
        self._connection.settimeout(_STARTING_SECONDS)
        if receive(self._connection) is None:
            reason = self._reason()
            self.end()
            raise RuntimeError(f"a decoder process does not start: it {reason}")

    def ask(self, wanted: Wanted, file: Encoded, budget: Budget, seconds: float) -> Message:
        """The answer. Raises `DecodeError` and `RequestAbandoned`, after which the process is of no use."""
        stops = time.monotonic() + seconds
        try:
            self._connection.settimeout(seconds)
            send(self._connection, task_of(wanted, file, budget.pixels_left, seconds), file.data)
            self._await(budget, stops)
            self._connection.settimeout(max(_LOOKED_SECONDS, stops - time.monotonic()))
            answer = receive(self._connection)
        except TimeoutError as error:
            raise RequestTooCostly(f"{file.name} takes more than {seconds:.1f} s to decode") from error
        except OSError:
            answer = None  # it is gone
        if answer is None:
            raise BrokenPicture(f"{file.name} is a damaged picture: its decoder {self._reason()}")
        return answer

    def _await(self, budget: Budget, stops: float) -> None:
        """Wait until an answer begins. Raises `TimeoutError`, and `RequestAbandoned` once the client has left."""
        while True:
            left = stops - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._connection.settimeout(min(left, _LOOKED_SECONDS))
            with suppress(TimeoutError):
                self._connection.recv(1, socket.MSG_PEEK)
                return
            budget.check()

    def _reason(self) -> str:
        """How it ended."""
        try:
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return "fell silent"
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"

    def lives(self) -> bool:
        """Whether nobody has killed it since its last answer."""
        return self._process.poll() is None

    def end(self) -> None:
        self._connection.close()
        self._process.kill()
        self._process.wait()


_OF_SERVICE: ContextVar[Decoders | None] = ContextVar("decoders", default=None)


@contextmanager
def decoding_apart(decoders: Decoders | None) -> Iterator[None]:
    """Have `decode` give these what `goes_apart`, in the block and in threads that it waits for."""
    before = _OF_SERVICE.set(decoders)
    try:
        yield
    finally:
        _OF_SERVICE.reset(before)


def decoders_of_service() -> Decoders | None:
    """The processes for what is decoded here; None outside of services."""
    return _OF_SERVICE.get()


def _environment() -> dict[str, str]:
    """What a process needs to find its modules, and none of the service's secrets."""
    found = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    modules = os.pathsep.join(place or str(Path.cwd()) for place in sys.path)
    return {**found, "PYTHONPATH": modules, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
