"""A pool of isolated processes for risky pictures: they may crash, and are killed beyond their time or memory.

They decode formats whose decoders are large, pictures of many pixels, and JPEG of several scans, such as progressive
ones. Small PNG, baseline JPEG, GIF and BMP, which are nearly all, are decoded in the calling thread: a round trip to a
process costs more.
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
from anyseek.model.modalities.reading.encoded import DecodedFile, EncodedFile, FileLimits, Interpretation
from anyseek.model.modalities.reading.errors import BrokenPicture, DecodeError, RequestTooCostly
from anyseek.model.modalities.reading.jpeg_scans import read_scans
from anyseek.model.modalities.reading.pictures import decode_errors
from anyseek.model.modalities.registry import Content
from anyseek.model.seam import Regions

Message = tuple[dict[str, Any], bytearray]

_LENGTHS = struct.Struct(">II")  # of the JSON and of the bytes after it
_MAX_JSON_BYTES = 16 * 1024 * 1024  # names of classes, above all
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
    """The next message; None at the end of the connection. Raises `OSError`."""
    start = _receive_exactly(connection, _LENGTHS.size)
    if start is None:
        return None
    json_length, length = _LENGTHS.unpack(start)
    head = _receive_exactly(connection, min(json_length, _MAX_JSON_BYTES))
    data = None if head is None else _receive_exactly(connection, length)
    return None if head is None or data is None else (json.loads(head), data)


def _receive_exactly(connection: socket.socket, count: int) -> bytearray | None:
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
    `interpret` does for queries, with the `box` that counts.
    """

    content: Content
    modality: str | None = None
    box: Sequence[float] | None = None


def encode_task(request: DecodeRequest, file: EncodedFile, pixels: int, seconds: float) -> dict[str, Any]:
    """The JSON that goes before a file's bytes, with the pixels and seconds it may take."""
    limits = FileLimits(file.limits.bytes_per_file, file.limits.pixels, file.limits.text_characters)
    return {
        "wanted": (request.content, request.modality, request.box),
        "file": (file.name, asdict(limits), list(file.classes.items()), file.side, file.form),
        "pixels": pixels,
        "seconds": seconds,
    }


def decode_task(task: dict[str, Any], data: bytes) -> tuple[DecodeRequest, EncodedFile]:
    """The inverse of `encode_task`; the file has the task's budget."""
    content, modality, box = task["wanted"]
    name, limits, classes, side, form = task["file"]
    budget = Budget(task["pixels"], task["seconds"])
    file = EncodedFile(data, name, FileLimits(**limits), dict(classes), side, budget, form)
    return DecodeRequest(Content(content), modality, box), file


def encode_answer(reading: DecodedFile) -> tuple[dict[str, Any], memoryview]:
    """A decoded picture or map as JSON and bytes."""
    value = reading.value
    ids = value.ids if isinstance(value, Regions) else value
    if not isinstance(ids, np.ndarray):
        raise TypeError(f"{type(value).__name__} is no picture and no map")
    classes = list(value.classes.items()) if isinstance(value, Regions) else None
    array = np.ascontiguousarray(ids)
    interpretation = None if reading.interpretation is None else asdict(reading.interpretation)
    head = {"type": array.dtype.str, "shape": array.shape, "classes": classes, "understood": interpretation}
    return head, array.data.cast("B")


def decode_answer(message: Message) -> DecodedFile:
    """The inverse of `encode_answer`.

    Raises the `DecodeError` in the answer, `ValueError` for a malformed one.
    """
    head, data = message
    if "error" in head:
        raise _ERRORS[head["error"]](head["text"])
    if head["type"] not in _TYPES or math.prod(head["shape"]) * np.dtype(head["type"]).itemsize != len(data):
        raise ValueError(f"an answer of type {head['type']!r} and shape {head['shape']} has {len(data)} bytes")
    values = np.frombuffer(data, head["type"]).reshape(head["shape"])
    interpretation = None if head["understood"] is None else Interpretation(**head["understood"])
    if head["classes"] is None:
        return DecodedFile(values, interpretation)
    return DecodedFile(Regions(values.astype(np.int32, copy=False), dict(head["classes"])), interpretation)


ISOLATED_PIXELS = 16_000_000  # pixels; smaller pictures are decoded in a fraction of a second

_CONTENTS = frozenset({Content.PICTURE, Content.DRAWING, Content.DEPTH, Content.NORMAL, Content.REGIONS})
_PLAIN = {b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF8": "GIF", b"BM": "BMP"}
_NPY = b"\x93NUMPY"
_PROGRAM = ("-m", "anyseek.model.modalities.reading.decoder_process")
_START_TIMEOUT = 60.0
_POLL_SECONDS = 0.1  # how often to check that the client is still connected


def needs_isolation(content: Content, data: bytes) -> bool:
    """Whether an untrusted file should be decoded in another process."""
    if content not in _CONTENTS or data.startswith(_NPY) or not data:
        return False
    for start, kind in _PLAIN.items():
        if data.startswith(start):
            with suppress(BrokenPicture), decode_errors("it"), Image.open(io.BytesIO(data), formats=(kind,)) as image:
                return image.width * image.height >= ISOLATED_PIXELS or (
                    kind == "JPEG" and read_scans(data).is_multi_pass
                )
            return False  # a header that cannot be read is refused at once
    return True


class DecoderPool:
    """A thread-safe pool of at most `processes` decoders with `megabytes` of memory each, started on demand."""

    def __init__(self, processes: int, megabytes: int, program: Sequence[str] = _PROGRAM) -> None:
        self._megabytes, self._program = megabytes, program
        self._slots = threading.Semaphore(processes)
        self._lock = threading.Lock()
        self._idle: list[_DecoderProcess] = []
        self._closed = False

    def read(self, request: DecodeRequest, file: EncodedFile, budget: Budget) -> DecodedFile:
        """The decoded file. A process that crashes or is killed is replaced, and the file is refused.

        Raises `DecodeError`, and what `Budget.check` raises.
        """
        while not self._slots.acquire(timeout=_POLL_SECONDS):
            budget.check()
        try:
            process = self._acquire()
            try:
                with budget.decoding(file.name) as seconds:
                    answer = process.decode(request, file, budget, seconds)
            except BaseException:
                process.shut_down()
                raise
            with self._lock:
                closed = self._closed
                if not closed:
                    self._idle.append(process)
            if closed:
                process.shut_down()
        finally:
            self._slots.release()
        budget.pixels_left = min(budget.pixels_left, answer[0]["left"])
        return decode_answer(answer)

    def close(self) -> None:
        """Kill idle processes; busy ones end with their tasks."""
        with self._lock:
            self._closed, idle = True, self._idle
            self._idle = []
        for process in idle:
            process.shut_down()

    def _acquire(self) -> "_DecoderProcess":
        with self._lock:
            idle = next((process for process in reversed(self._idle) if process.is_alive()), None)
            self._idle = [process for process in self._idle if process is not idle and process.is_alive()]
        return idle or _DecoderProcess(self._program, self._megabytes)


class _DecoderProcess:
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
        self._connection.settimeout(_START_TIMEOUT)
        if receive(self._connection) is None:
            reason = self._exit_reason()
            self.shut_down()
            raise RuntimeError(f"a decoder process does not start: it {reason}")

    def decode(self, request: DecodeRequest, file: EncodedFile, budget: Budget, seconds: float) -> Message:
        """The answer. After a `DecodeError`, or what `Budget.check` raises, the process must be shut down."""
        deadline = time.monotonic() + seconds
        try:
            self._connection.settimeout(seconds)
            send(self._connection, encode_task(request, file, budget.pixels_left, seconds), file.data)
            self._wait_for_answer(budget, deadline)
            self._connection.settimeout(max(_POLL_SECONDS, deadline - time.monotonic()))
            answer = receive(self._connection)
        except TimeoutError as error:
            raise RequestTooCostly(f"{file.name} takes more than {seconds:.1f} s to decode") from error
        except OSError:
            answer = None  # it is gone
        if answer is None:
            raise BrokenPicture(f"{file.name} is a damaged picture: its decoder {self._exit_reason()}")
        return answer

    def _wait_for_answer(self, budget: Budget, deadline: float) -> None:
        """Wait until an answer begins. Raises `TimeoutError`, and what `Budget.check` raises."""
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._connection.settimeout(min(left, _POLL_SECONDS))
            with suppress(TimeoutError):
                self._connection.recv(1, socket.MSG_PEEK)
                return
            budget.check()

    def _exit_reason(self) -> str:
        """How the process ended, for error messages."""
        try:
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return "fell silent"
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"

    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def shut_down(self) -> None:
        self._connection.close()
        self._process.kill()
        self._process.wait()


_CURRENT: ContextVar[DecoderPool | None] = ContextVar("decoders", default=None)


@contextmanager
def use_decoders(decoders: DecoderPool | None) -> Iterator[None]:
    """Decode files that need isolation in the pool, in the block and in the threads it waits for."""
    before = _CURRENT.set(decoders)
    try:
        yield
    finally:
        _CURRENT.reset(before)


def current_decoders() -> DecoderPool | None:
    """The pool set by `use_decoders`; None outside of services."""
    return _CURRENT.get()
