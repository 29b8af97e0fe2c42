"""Storage: the folder with the files of a table or shards, local or remote through fsspec (the extra `sources`)."""

import io
import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

from anyseek.indexer.errors import (
    BadSource,
    ExtraMissing,
    InputError,
    InputUnavailable,
    InputUnreadable,
    InputVanished,
    OutsideFolder,
    SourceGone,
    TooManyBytes,
)
from anyseek.indexer.paths import file_state, is_utf8, one_line, resolve_inside, to_uri
from anyseek.indexer.sources.base import LOCAL_THREADS
from anyseek.model.modalities.reading.encoded import open_file, read_file
from anyseek.search.object_storage import RangeReader
from anyseek.search.settings import Limits

# These protocols read local files or the web, which other sources read with checks of their own.
_REFUSED_PROTOCOLS = frozenset({"file", "local", "http", "https", "dir"})
_BUFFER_BYTES = 256 * 1024
_KEYS_PER_PAGE = 1_000


class LocalStorage:
    """A local folder; `root` is resolved. A *ref* is a path relative to it, with `/`. Thread-safe.

    `RemoteStorage` has the same methods; either is a `Storage`.
    """

    threads = LOCAL_THREADS

    def __init__(self, root: Path, limits: Limits) -> None:
        self._root, self._limits = root, limits

    @property
    def uri(self) -> str:
        return to_uri(str(self._root))

    def check(self) -> None:
        """Raises `SourceGone` unless the folder exists."""
        if not self._root.is_dir():
            raise SourceGone(f"the folder {self.uri} is gone")

    def resolve(self, path: str) -> str:
        """Return the ref of a path from a table or description. Raises `OutsideFolder`."""
        return resolve_inside(self._root, "", path)

    def names(self, pattern: str) -> Iterator[str]:
        """Names directly in the folder that match a pattern with `*` and `?`, in any order. Raises `SourceGone`."""
        try:
            with os.scandir(self._root) as entries:
                yield from (entry.name for entry in entries if fnmatchcase(entry.name, pattern) and entry.is_file())
        except OSError as error:
            raise SourceGone(f"the folder {self.uri} cannot be read: {error.strerror}") from error

    def version(self, ref: str) -> str:
        """A version that changes with the file. Raises `InputVanished`, `InputUnreadable`, `InputUnavailable`."""
        with self.stream(ref) as stream:
            status = os.fstat(stream.fileno())
        return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ino}"

    def read(self, ref: str) -> bytes:
        """Read the whole file. Raises `InputError`, `TooManyBytes`."""
        return read_file(self._root / self.resolve(ref), self._limits, to_uri(ref))

    def stream(self, ref: str) -> BinaryIO:
        """Open the file for reading, with seeking. Raises `InputError`."""
        return open_file(self._root / self.resolve(ref), to_uri(ref))

    def state(self, ref: str) -> str | None:
        """See `Source.state`."""
        return file_state(str(self._root / ref))

    def local_path(self, ref: str) -> Path | None:
        """See `Source.local_path`."""
        path = self._root / ref
        return path if is_utf8(str(path)) else None


class RemoteStorage:
    """A remote folder that fsspec opens by its `url`, with the methods of `LocalStorage`.

    Raises `ExtraMissing` if a package is missing, `BadSource` for an unknown or refused protocol.
    """

    threads = 16  # most of the time is spent waiting

    def __init__(self, url: str, limits: Limits) -> None:
        self.uri = url.rstrip("/")
        self._limits = limits
        self._files, root = _open_file_system(url)
        self._root = root.rstrip("/")

    def check(self) -> None:
        try:
            with _translate_errors(self.uri):
                if not self._files.exists(self._root):
                    raise InputVanished(f"{self.uri} does not exist")
        except InputError as error:
            raise SourceGone(f"{self.uri} is gone or cannot be reached: {error}") from error

    def resolve(self, path: str) -> str:
        relative = posixpath.normpath(path.removeprefix(f"{self.uri}/"))
        if posixpath.isabs(relative) or relative.split("/")[0] in ("..", ".") or "://" in path or "\0" in path:
            raise OutsideFolder(f"{one_line(path)!r} is not a file inside {self.uri}; paths must stay inside it")
        return relative

    def names(self, pattern: str) -> Iterator[str]:
        try:
            with _translate_errors(self.uri):
                listed = self._files.ls(self._root, detail=False)
        except InputError as error:
            raise SourceGone(f"{self.uri} cannot be listed: {error}") from error
        names = (posixpath.basename(path) for path in listed)
        return (name for name in names if fnmatchcase(name, pattern))

    def has(self, ref: str) -> bool:
        """Whether the file exists. Raises `InputError`."""
        with _translate_errors(ref):
            return bool(self._files.isfile(self._path(ref)))

    def version(self, ref: str) -> str:
        with _translate_errors(ref):
            return str(self._files.ukey(self._path(ref)))

    def read(self, ref: str) -> bytes:
        most = self._limits.bytes_per_file
        with _translate_errors(ref):
            size = int(self._files.size(self._path(ref)) or 0)
            if size > most:
                raise TooManyBytes(f"{ref} has {size:,} bytes; at most {most:,} are allowed")
            return cast(bytes, self._files.cat_file(self._path(ref), start=0, end=size)) if size else b""

    def read_range(self, ref: str, start: int, end: int) -> bytes:
        """Return the bytes from `start` up to `end`, or fewer at the end of the file. Raises `InputError`."""
        with _translate_errors(ref):
            return cast(bytes, self._files.cat_file(self._path(ref), start=start, end=end))

    def stream(self, ref: str) -> BinaryIO:
        with _translate_errors(ref):
            size = int(self._files.size(self._path(ref)) or 0)
        return cast(BinaryIO, io.BufferedReader(RangeReader(partial(self.read_range, ref), size), _BUFFER_BYTES))

    def state(self, ref: str) -> None:
        """None: it would take a request for each file."""

    def local_path(self, ref: str) -> None:
        """None: copies are stored."""

    def paths(self) -> Iterator[str]:
        """Yield all files below the folder, in the order of their refs. Raises `SourceGone`.

        An S3 bucket is listed in pages; other kinds are listed one folder at a time.
        """
        try:
            with _translate_errors(self.uri):
                yield from self._s3_paths() if self.uri.startswith("s3://") else self._walk("")
        except InputError as error:
            raise SourceGone(f"{self.uri} cannot be listed: {error}") from error

    def _s3_paths(self) -> Iterator[str]:
        bucket, _, prefix = self._root.partition("/")
        prefix = f"{prefix}/" if prefix else ""
        last = ""
        while True:
            page = self._files.call_s3(
                "list_objects_v2", Bucket=bucket, Prefix=prefix, StartAfter=last, MaxKeys=_KEYS_PER_PAGE
            )
            keys = [str(entry["Key"]) for entry in page.get("Contents", [])]
            yield from (key.removeprefix(prefix) for key in keys if not key.endswith("/"))
            if not page.get("IsTruncated") or not keys:
                return
            last = keys[-1]

    def _walk(self, base: str) -> Iterator[str]:
        """Yield paths in full path order: a folder sorts as its name followed by `/`.

        Unlike the `find` of fsspec, which leaves out folders that cannot be listed: their items would be pruned.
        """
        entries = self._files.ls(f"{self._root}/{base}".rstrip("/"), detail=True)
        for name in sorted(
            posixpath.basename(str(entry["name"]).rstrip("/")) + ("/" if entry["type"] == "directory" else "")
            for entry in entries
        ):
            if name.endswith("/"):
                yield from self._walk(base + name)
            else:
                yield base + name

    def _path(self, ref: str) -> str:
        return f"{self._root}/{ref}"


Storage = LocalStorage | RemoteStorage


def _open_file_system(url: str) -> tuple[Any, str]:
    protocol = url.partition("://")[0].lower()
    if "::" in url or protocol in _REFUSED_PROTOCOLS:
        raise BadSource(f"{one_line(url)} cannot be a source; give a folder, a table, shards, or a bucket as s3://…")
    missing = f"reading {protocol}:// needs more packages: pip install 'anyseek[sources]'"
    try:
        import fsspec
    except ImportError as error:
        raise ExtraMissing(missing) from error
    try:
        files, root = fsspec.core.url_to_fs(url, use_listings_cache=False)  # files may change after a listing
    except ImportError as error:
        raise ExtraMissing(f"{missing}, or as fsspec says: {one_line(str(error))}") from error
    except ValueError as error:
        raise BadSource(f"{one_line(url)} cannot be opened: {one_line(str(error))}") from error
    return files, str(root)


@contextmanager
def _translate_errors(name: str) -> Iterator[None]:
    """Translate any error of a file system into an `InputError`, since each protocol raises its own."""
    try:
        yield
    except (InputError, TooManyBytes):
        raise
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise InputVanished(f"{name} does not exist") from error
    except PermissionError as error:
        raise InputUnreadable(f"{name} cannot be read for lack of permission: {one_line(str(error))}") from error
    except Exception as error:
        raise InputUnavailable(f"{name} cannot be fetched: {one_line(str(error)) or type(error).__name__}") from error
