"""Object storage through fsspec (the extra `sources`): keys below a URL such as `s3://bucket/prefix`.

An object is replaced whole. Errors that may pass are tried again; others become one sentence.
"""

import io
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from anyseek.search.errors import StorageUnavailable

T = TypeVar("T")

PAUSES = (0.5, 2.0, 5.0)  # seconds before an operation is tried again
_BLOCK = 4 * 1024 * 1024
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "created")  # as the kinds of storage name it


class StorageRefused(StorageUnavailable):
    """An object storage will not do what is asked, however often it is asked."""

    code = "storage-refused"


class StorageUnreachable(StorageUnavailable, OSError):
    """An object storage cannot be reached now; an `OSError`, so jobs wait for it."""

    code = "storage-unreachable"


@dataclass(frozen=True)
class ObjectInfo:
    """An object's last segment of the key, its size in bytes, its last change in seconds since 1970, its MD5 or ''."""

    name: str
    size: int
    changed: float
    md5: str


class Bucket:
    """The objects below `url`. Thread-safe, and connected anew in each process, because connections survive no fork.

    Methods raise `FileNotFoundError` for a key that is not there, `StorageRefused`, `StorageUnreachable`.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._opened: tuple[int, Any, str] | None = None  # process, file system, root

    def read(self, key: str) -> bytes:
        return self._call(key, lambda files, path: cast(bytes, files.cat_file(path)))

    def read_range(self, key: str, start: int, end: int) -> bytes:
        """The bytes from `start` up to `end`, which must not be beyond the object's."""
        return self._call(key, lambda files, path: cast(bytes, files.cat_file(path, start=start, end=end)))

    def stream(self, key: str, size: int) -> io.BufferedIOBase:
        """An object of `size` bytes, read at any position in ranges."""
        return io.BufferedReader(RangeReader(partial(self.read_range, key), size), _BLOCK)

    def write(self, key: str, data: bytes) -> None:
        self._write(key, lambda files, path: files.pipe_file(path, data))

    def upload(self, key: str, file: Path) -> None:
        self._write(key, lambda files, path: files.put_file(str(file), path))

    def download(self, key: str, file: Path) -> None:
        self._call(key, lambda files, path: files.get_file(path, str(file)))

    def copy(self, key: str, to: str) -> None:
        self._call(key, lambda files, path: files.cp_file(path, f"{path.removesuffix(key)}{to}"))

    def remove(self, key: str) -> None:
        self._call(key, lambda files, path: files.rm_file(path))

    def info(self, key: str) -> ObjectInfo:
        return self._call(key, lambda files, path: _info_of(files.info(path)))

    def objects(self, folder: str) -> list[ObjectInfo]:
        """The objects directly below a folder; none if it is not there."""
        return [_info_of(entry) for entry in self._entries(folder) if entry["type"] == "file"]

    def find(self, folder: str) -> dict[str, ObjectInfo]:
        """All objects below a folder, by their keys; none if it is not there."""

        def list_all(files: Any, path: str) -> dict[str, ObjectInfo]:
            found = files.find(path, detail=True).items()
            return {folder + name.removeprefix(path): _info_of(entry) for name, entry in found}

        return self._call(folder, list_all)

    def folders(self, folder: str) -> list[str]:
        """The names of folders directly below a folder."""
        return [_name(entry) for entry in self._entries(folder) if entry["type"] == "directory"]

    def _entries(self, folder: str) -> list[Mapping[str, Any]]:
        try:
            return self._call(folder, lambda files, path: list(files.ls(path, detail=True)))
        except FileNotFoundError:
            return []

    def _write(self, key: str, call: Callable[[Any, str], object]) -> None:
        try:
            self._call(key, call)
        except FileNotFoundError as error:
            raise StorageRefused(f"{self.url} cannot be written: {_first_line(error)}") from error

    def _call(self, key: str, call: Callable[[Any, str], T]) -> T:
        for pause in (*PAUSES, None):
            try:
                files, root = self._open()
                return call(files, f"{root}/{key}")
            except (FileNotFoundError, StorageRefused):
                raise
            except PermissionError as error:
                raise StorageRefused(f"{self.url} does not permit this: {_first_line(error)}") from error
            except Exception as error:  # each kind of storage raises its own
                if pause is None:
                    raise StorageUnreachable(f"{self.url} cannot be reached: {_first_line(error)}") from error
                time.sleep(pause)
        raise AssertionError

    def _open(self) -> tuple[Any, str]:
        opened = self._opened
        if opened is None or opened[0] != os.getpid():
            try:
                import fsspec

                files, root = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
            except ImportError as error:
                missing = f"{self.url} needs more packages: pip install 'anyseek[sources]'"
                raise StorageRefused(f"{missing}, or as fsspec says: {_first_line(error)}") from error
            except ValueError as error:
                raise StorageRefused(f"{self.url} cannot be opened: {_first_line(error)}") from error
            opened = self._opened = os.getpid(), files, str(root).rstrip("/")
        return opened[1:]


class RangeReader(io.RawIOBase):
    """A file whose reads fetch byte ranges with `read`, which takes the first position and the one after the last."""

    def __init__(self, read: Callable[[int, int], bytes], size: int) -> None:
        self._read, self._size, self._position = read, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence] + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        end = min(self._position + len(buffer), self._size)
        if self._position >= end:
            return 0
        data = self._read(self._position, end)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def _info_of(entry: Mapping[str, Any]) -> ObjectInfo:
    changed = next((entry[name] for name in _TIMES if entry.get(name) is not None), 0.0)
    if isinstance(changed, str):
        changed = datetime.fromisoformat(changed)
    if isinstance(changed, datetime):
        changed = (changed if changed.tzinfo else changed.replace(tzinfo=UTC)).timestamp()
    return ObjectInfo(_name(entry), int(entry["size"]), float(changed), str(entry.get("ETag", "")).strip('"'))


def _name(entry: Mapping[str, Any]) -> str:
    return str(entry["name"]).rstrip("/").rpartition("/")[2]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
