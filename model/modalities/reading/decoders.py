"""Decodes pictures that may do harm in a few processes apart, which may crash, and are killed if they take too much.

What goes there are the formats whose decoders are large, every picture of many pixels, and JPEG of several scans, as
progressive ones are. Small PNG, plain JPEG, GIF and BMP, which are nearly all, stay in the thread that asks: the way to
a process and back costs more than they do.
"""

import io
import json
import math
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from anyseek.model.modalities.reading import errors
from anyseek.model.modalities.reading.budget import Budget
from anyseek.model.modalities.reading.encoded import Encoded, FileLimits, Reading, Understood
from anyseek.model.modalities.reading.errors import BrokenPicture, DecodeError, RequestTooCostly
from anyseek.model.modalities.reading.jpeg_scans import read_scans
from anyseek.model.modalities.reading.pictures import decoding
from anyseek.model.modalities.registry import Content
from anyseek.model.seam import Regions

Message = tuple[dict[str, Any], bytearray]

_LENGTHS = struct.Struct(">II")  # of the JSON and of the bytes after it
_LARGEST_JSON = 16 * 1024 * 1024  # names of classes, above all
_TYPES = ("|u1", "<f4", "<i4")  # of decoded pictures and maps
_ERRORS = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, DecodeError)
}


def send(connection: socket.socket, head: dict[str, Any], data: bytes | memoryview = b"") -> None:
    """Raises `OSError`, above all `TimeoutError`."""
    written = json.dumps(head).encode()
    connection.sendall(_LENGTHS.pack(len(written), len(data)) + written)
    connection.sendall(data)


def receive(connection: socket.socket) -> Message | None:
    """The next message; None where the other end is gone. Raises `OSError`."""
    start = _exactly(connection, _LENGTHS.size)
    if start is None:
        return None
    json_length, length = _LENGTHS.unpack(start)
    head = _exactly(connection, min(json_length, _LARGEST_JSON))
    data = None if head is None else _exactly(connection, length)
    return None if head is None or data is None else (json.loads(head), data)


def _exactly(connection: socket.socket, count: int) -> bytearray | None:
    whole = bytearray(count)
    left = memoryview(whole)
    while left:
        got = connection.recv_into(left)
        if not got:
            return None
        left = left[got:]
    return whole


@dataclass(frozen=True)
class DecodeRequest:
    """A request to read a file: the value of its `content` as `decode` does, or, with the name of a `modality`, as
    `understand` does for queries, with the `box` that counts.
    """

    content: Content
    modality: str | None = None
    box: Sequence[float] | None = None


def task_of(request: DecodeRequest, file: Encoded, pixels: int, seconds: float) -> dict[str, Any]:
    """The JSON of a task, whose bytes are the file; it may decode so many pixels and take so many seconds."""
    limits = FileLimits(file.limits.bytes_per_file, file.limits.pixels, file.limits.text_characters)
    return {
        "wanted": (request.content, request.modality, request.box),
        "file": (file.name, asdict(limits), list(file.classes.items()), file.side, file.form),
        "pixels": pixels,
        "seconds": seconds,
    }


def file_of(task: dict[str, Any], data: bytes) -> tuple[DecodeRequest, Encoded]:
    """A task for a decoder process; the file has the task's budget."""
    content, modality, box = task["wanted"]
    name, limits, classes, side, form = task["file"]
    budget = Budget(task["pixels"], task["seconds"])
    file = Encoded(data, name, FileLimits(**limits), dict(classes), side, budget, form)
    return DecodeRequest(Content(content), modality, box), file


def answer_of(reading: Reading) -> tuple[dict[str, Any], memoryview]:
    """The encodings in which a picture or a map is sent."""
    value = reading.value
    ids = value.ids if isinstance(value, Regions) else value
    if not isinstance(ids, np.ndarray):
        raise TypeError(f"{type(value).__name__} is no picture and no map")
    classes = list(value.classes.items()) if isinstance(value, Regions) else None
    array = np.ascontiguousarray(ids)
    understood = None if reading.understood is None else asdict(reading.understood)
    head = {"type": array.dtype.str, "shape": array.shape, "classes": classes, "understood": understood}
    return head, array.data.cast("B")


def reading_of(message: Message) -> Reading:
    """The picture or map of an answer, and what was understood of it.

    Raises the `DecodeError` that it tells, `ValueError` for nonsense.
    """
    head, data = message
    if "error" in head:
        raise _ERRORS[head["error"]](head["text"])
    if head["type"] not in _TYPES or math.prod(head["shape"]) * np.dtype(head["type"]).itemsize != len(data):
        raise ValueError(f"an answer of type {head['type']!r} and shape {head['shape']} has {len(data)} bytes")
    values = np.frombuffer(data, head["type"]).reshape(head["shape"])
    understood = None if head["understood"] is None else Understood(**head["understood"])
    if head["classes"] is None:
        return Reading(values, understood)
    return Reading(Regions(values.astype(np.int32, copy=False), dict(head["classes"])), understood)


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
            with suppress(BrokenPicture), decoding("it"), Image.open(io.BytesIO(data), formats=(kind,)) as image:
                return image.width * image.height >= APART_FROM or (kind == "JPEG" and read_scans(data).several)
            return False  # a header that cannot be read is refused at once
    return True


class Decoders:
    """At most `processes` of them, with `megabytes` of memory each, started when first needed; for several threads."""

    def __init__(self, processes: int, megabytes: int, program: Sequence[str] = _PROGRAM) -> None:
        self._megabytes, self._program = megabytes, program
        self._free = threading.Semaphore(processes)
        self._lock = threading.Lock()
        self._idle: list[_Process] = []
        self._closed = False

    def read(self, request: DecodeRequest, file: Encoded, budget: Budget) -> Reading:
        """What is wanted of a file. A process that crashes or is killed is replaced, and the file is refused.

        Raises `DecodeError`, and what `Budget.check` raises.
        """
        while not self._free.acquire(timeout=_LOOKED_SECONDS):
            budget.check()
        try:
            process = self._take()
            try:
                with budget.decoding(file.name) as seconds:
                    answer = process.ask(request, file, budget, seconds)
            except BaseException:
                process.end()
                raise
            with self._lock:
                closed = self._closed
                if not closed:
                    self._idle.append(process)
            if closed:
                process.end()
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

    def _take(self) -> "_Process":
        with self._lock:
            idle = next((process for process in reversed(self._idle) if process.lives()), None)
            self._idle = [process for process in self._idle if process is not idle and process.lives()]
        return idle or _Process(self._program, self._megabytes)


class _Process:
    def __init__(self, program: Sequence[str], megabytes: int) -> None:
        self._connection, other = socket.socketpair()
        with other:
            # What a process needs to find its modules, and none of the service's secrets.
            environment = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
            environment |= {"PYTHONPATH": os.pathsep.join(place or str(Path.cwd()) for place in sys.path)}
            environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            command = [sys.executable, "-P", *program, str(other.fileno()), str(megabytes)]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[other.fileno()],
                env=environment,
            )
        self._connection.settimeout(_STARTING_SECONDS)
        if receive(self._connection) is None:
            reason = self._reason()
            self.end()
            raise RuntimeError(f"a decoder process does not start: it {reason}")

    def ask(self, request: DecodeRequest, file: Encoded, budget: Budget, seconds: float) -> Message:
        """The answer. Raises `DecodeError` and what `Budget.check` raises, after which the process is of no use."""
        stops = time.monotonic() + seconds
        try:
            self._connection.settimeout(seconds)
            send(self._connection, task_of(request, file, budget.pixels_left, seconds), file.data)
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
        """Wait until an answer begins. Raises `TimeoutError`, and what `Budget.check` raises."""
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
