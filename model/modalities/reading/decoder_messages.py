"""What the service and its decoder processes tell each other: JSON and bytes, never objects that run code when read."""

import json
import math
import socket
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from anyseek.model.modalities.reading import errors
from anyseek.model.modalities.reading.budget import Budget
from anyseek.model.modalities.reading.encoded import Encoded, FileLimits
from anyseek.model.modalities.reading.errors import DecodeError
from anyseek.model.modalities.reading.understood import Reading, Understood
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
class Wanted:
    """What to read of a file: the value of its `content` as `decode` does, or, with the name of a `modality`, as
    `understand` does for queries, with the `box` that counts.
    """

    content: Content
    modality: str | None = None
    box: Sequence[float] | None = None


def task_of(wanted: Wanted, file: Encoded, pixels: int, seconds: float) -> dict[str, Any]:
    """The JSON of a task, whose bytes are the file; it may decode so many pixels and take so many seconds."""
    limits = FileLimits(file.limits.bytes_per_file, file.limits.pixels, file.limits.text_characters)
    return {
        "content": wanted.content,
        "modality": wanted.modality,
        "box": None if wanted.box is None else list(wanted.box),
        "form": file.form,
        "name": file.name,
        "limits": asdict(limits),
        "classes": list(file.classes.items()),
        "side": file.side,
        "pixels": pixels,
        "seconds": seconds,
    }


def file_of(task: dict[str, Any], data: bytes) -> tuple[Wanted, Encoded]:
    """What is wanted of which file; the file has the task's budget."""
    budget = Budget(task["pixels"], task["seconds"])
    limits, classes = FileLimits(**task["limits"]), dict(task["classes"])
    wanted = Wanted(Content(task["content"]), task["modality"], task["box"])
    return wanted, Encoded(data, task["name"], limits, classes, task["side"], budget, task["form"])


def answer_of(reading: Reading) -> tuple[dict[str, Any], memoryview]:
    """What a picture or a map is sent as."""
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
