"""Reads files that others may move, lock or replace at any moment, even by something that is not a file."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from anyseek.model.modalities.reading.encoded import FileLimits
from anyseek.model.modalities.reading.errors import InputUnreadable, InputVanished, TooManyBytes

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
    with open_file(path, name) as handle:
        try:
            return handle.read(count)
        except OSError as error:
            raise InputUnreadable(f"{name} cannot be read: {error.strerror}") from error


def open_file(path: Path, name: str) -> BinaryIO:
    """Open a regular file for reading, with seeking. Raises `InputVanished`, `InputUnreadable`."""
    try:
        handle = os.fdopen(os.open(path, _FLAGS), "rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputVanished(f"{name} does not exist (any more)") from error
    except (OSError, ValueError) as error:  # a ValueError for a NUL in the path
        raise InputUnreadable(f"{name} cannot be read: {getattr(error, 'strerror', error)}") from error
    if not stat.S_ISREG(os.fstat(handle.fileno()).st_mode):
        handle.close()
        raise InputUnreadable(f"{name} is not a regular file")
    return handle
