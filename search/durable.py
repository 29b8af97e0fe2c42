"""Writing files so that a reader, or the next start after a power cut, sees all of one or none of it."""

import os
import uuid
from pathlib import Path

TEMPORARY_PREFIX = ".tmp-"


def temporary_beside(path: Path) -> Path:
    """A name in the same folder that nobody else uses; leftovers of killed writers are known by their prefix."""
    return path.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}")


def write_file(path: Path, data: bytes) -> None:
    """Put `data` at `path`: written beside, flushed to the disk, renamed. What was there is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        temporary.write_bytes(data)
        flush_file(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    flush_file(path.parent)


def flush_file(path: Path) -> None:
    """Return once the file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
