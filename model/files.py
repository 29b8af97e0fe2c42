"""Files that survive a crash: written whole or not at all, told apart by digests, guarded by locks. Without torch.

A reader, or the next start after a power cut, sees the old file or the new one, never a part of it. What a killed
writer leaves behind has a name that begins with `TEMPORARY_PREFIX`.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

TEMPORARY_PREFIX = ".tmp-"
_FLUSHERS = 16
_UNWRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)


def write_file(path: Path, data: bytes | str) -> None:
    """Write `data`, text as UTF-8, to `path` atomically, replacing any file there. Creates parent folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; if the block succeeds, the file is renamed to `path`.

    What was at `path` is replaced. After an error the temporary file is removed and `path` is as it was.
    """
    temporary = temporary_path(path)
    try:
        yield temporary
        move_into_place(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder in the same parent; if the block succeeds, it is renamed to `path`.

    What was at `path` is replaced. After an error the new folder is removed and `path` is as it was. Folders above are
    made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = temporary_path(path), temporary_path(path)
    temporary.mkdir()
    try:
        yield temporary
        with ThreadPoolExecutor(_FLUSHERS) as threads:  # a disk flushes many small files together
            for _ in threads.map(flush_file, temporary.rglob("*")):
                pass
        flush_file(temporary)
        _replace_folder(temporary, path, old)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    flush_file(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def _replace_folder(new: Path, path: Path, old: Path) -> None:
    """Move what is at `path` to `old`, where something is there, and `new` to `path`; both or neither."""
    replaced = path.exists()
    if replaced:
        path.rename(old)
    try:
        new.rename(path)
    except OSError:
        if replaced:
            old.rename(path)
        raise


def temporary_path(path: Path) -> Path:
    """A unique path in the same folder."""
    return path.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}")


def move_into_place(temporary: Path, path: Path) -> None:
    """Flush a finished file to the disk and rename it to `path` on the same file system; what was there is replaced."""
    flush_file(temporary)
    temporary.replace(path)
    flush_file(path.parent)


def flush_file(path: Path) -> None:
    """Flush a file, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files of killed writers in `folder`, which must have no writer."""
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def file_digest(path: Path) -> str:
    """The sha256 of a file's bytes (64 hex digits). Raises `FileNotFoundError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class FileLock:
    """An exclusive (or `shared`) lock on the file `path`, which is made if absent and never removed.

    A shared one on a file that is there needs no right to write.

    The kernel drops the lock when its process ends, however it ends, so a lock that is held means a holder that lives.
    Usable as a context manager, which waits. One object is one holder: two objects on one path exclude each other
    within a process too. A forked child shares its parent's lock; a process started by exec does not.
    """

    def __init__(self, path: Path, shared: bool = False) -> None:
        self.path = path
        self._operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Block until the lock is acquired."""
        self._take(self._operation)

    def try_acquire(self) -> bool:
        """Take the lock if it is free. Refused for an instant while `alive` looks at it too: try again later."""
        try:
            self._take(self._operation | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Release the lock; does nothing if it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _take(self, operation: int) -> None:
        if self._descriptor is not None:
            raise RuntimeError(f"the lock {self.path} is already held by this object")
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, operation)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def _open(self) -> int:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            is_enough = self._operation == fcntl.LOCK_SH and self.path.exists()
            if not is_enough or error.errno not in _UNWRITABLE:
                raise
        return os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> "FileLock":
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def is_locked(path: Path) -> bool:
    """Whether a living process holds the exclusive lock on `path`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
