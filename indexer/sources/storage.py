"""The folder that has the files of a table or an archive, local or on another machine (`indexer.sources.remote`)."""

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO, Protocol

from anyseek.indexer.errors import SourceGone
from anyseek.indexer.paths import inside, is_utf8, to_uri
from anyseek.indexer.sources.base import LOCAL_THREADS
from anyseek.indexer.stamps import file_state
from anyseek.model.modalities.reading.encoded import open_file, read_file
from anyseek.search.settings import Limits


class Storage(Protocol):
    """Files below one folder. A *ref* is a path relative to it, with `/`. Safe for several threads."""

    @property
    def uri(self) -> str:
        """The URI of the folder."""
        ...

    @property
    def threads(self) -> int:
        """The least number of files worth reading at once."""
        ...

    def check(self) -> None:
        """Raises `SourceGone` unless the folder is there."""
        ...

    def resolve(self, path: str) -> str:
        """Return the ref of a path from a table or description. Raises `OutsideFolder`."""
        ...

    def names(self, pattern: str) -> Iterator[str]:
        """Names directly in the folder that match a pattern with `*` and `?`, in any order. Raises `SourceGone`."""
        ...

    def version(self, ref: str) -> str:
        """Return a text that changes with the file. Raises `InputVanished`, `InputUnreadable`, `InputUnavailable`."""
        ...

    def read(self, ref: str) -> bytes:
        """Read the whole file. Raises `InputError`, `TooManyBytes`."""
        ...

    def stream(self, ref: str) -> BinaryIO:
        """Open the file for reading, with seeking. Raises `InputError`."""
        ...

    def state(self, ref: str) -> str | None:
        """Return a text that changes with the file, had without opening it; None where there is none, or not yet."""
        ...

    def local(self, ref: str) -> Path | None:
        """Return the file's path if it is on this machine and a text that can be stored, else None."""
        ...


class LocalStorage:
    """Implements `Storage` for a folder of this machine; `root` is resolved."""

    threads = LOCAL_THREADS

    def __init__(self, root: Path, limits: Limits) -> None:
        self._root = root
        self._limits = limits

    @property
    def uri(self) -> str:
        return to_uri(str(self._root))

    def check(self) -> None:
        if not self._root.is_dir():
            raise SourceGone(f"the folder {self.uri} is gone")

    def resolve(self, path: str) -> str:
        return inside(self._root, "", path)

    def names(self, pattern: str) -> Iterator[str]:
        try:
            with os.scandir(self._root) as entries:
                yield from (entry.name for entry in entries if fnmatchcase(entry.name, pattern) and entry.is_file())
        except OSError as error:
            raise SourceGone(f"the folder {self.uri} cannot be read: {error.strerror}") from error

    def version(self, ref: str) -> str:
        with self.stream(ref) as stream:
            status = os.fstat(stream.fileno())
        return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ino}"

    def read(self, ref: str) -> bytes:
        return read_file(self._root / self.resolve(ref), self._limits, to_uri(ref))

    def stream(self, ref: str) -> BinaryIO:
        return open_file(self._root / self.resolve(ref), to_uri(ref))

    def state(self, ref: str) -> str | None:
        return file_state(str(self._root / ref))

    def local(self, ref: str) -> Path | None:
        path = self._root / ref
        return path if is_utf8(str(path)) else None
