"""Reads files that others may move, lock or replace at any moment, even by something that is not a file."""

import os
import stat
from pathlib import Path

from model.modalities.reading.encoded import FileLimits
from model.modalities.reading.errors import InputUnreadable, InputVanished, TooManyBytes

# Without O_NONBLOCK opening a named pipe waits for its other end for ever.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


def read_file(path: Path, limits: FileLimits, name: str) -> bytes:
    """The whole content of a regular file; errors call it `name`.

    Raises `InputVanished`, `InputUnreadable`, `TooManyBytes`.
    """
    data = read_start(path, limits.bytes_per_file + 1, name)
    if len(data) > limits.bytes_per_file:
        raise TooManyBytes(f"{name} has more than {limits.bytes_per_file:,} bytes; that is the most allowed")
    return data


def read_start(path: Path, count: int, name: str) -> bytes:
    """The first `count` bytes of a regular file. Raises `InputVanished`, `InputUnreadable`."""
    try:
        descriptor = os.open(path, _FLAGS)
        with os.fdopen(descriptor, "rb") as handle:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise InputUnreadable(f"{name} is not a regular file")
            return handle.read(count)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputVanished(f"{name} does not exist (any more)") from error
    except OSError as error:
        raise InputUnreadable(f"{name} cannot be read: {error.strerror}") from error
