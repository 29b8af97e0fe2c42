"""`manifest.jsonl` at the root of a folder: one description a line, found by file without keeping the lines.

A line costs 24 bytes of memory, so that a manifest of millions of lines does no harm.
"""

import hashlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from indexer.descriptions import Description, parse_description
from indexer.errors import BadDescription, InputError, InputUnreadable
from search.settings import Limits

MANIFEST = "manifest.jsonl"


class PathTable:
    """Numbers by path, eight bytes of each path's hash: paths in, then look-ups."""

    def __init__(self) -> None:
        self._digests, self._numbers = array("Q"), array("Q")
        self._sorted: tuple[np.ndarray, np.ndarray] | None = None

    def add(self, path: str, number: int = 0) -> None:
        self._digests.append(_digest(path))
        self._numbers.append(number)
        self._sorted = None

    def find(self, path: str) -> list[int]:
        """The numbers under which `path` was added, in that order."""
        digests, numbers = self._sort()
        digest = np.uint64(_digest(path))
        first, last = np.searchsorted(digests, digest, "left"), np.searchsorted(digests, digest, "right")
        return [int(number) for number in numbers[first:last]]

    def __contains__(self, path: str) -> bool:
        return bool(self.find(path))

    def _sort(self) -> tuple[np.ndarray, np.ndarray]:
        if self._sorted is None:
            digests = np.array(self._digests, np.uint64)
            order = np.argsort(digests, kind="stable")
            self._sorted = digests[order], np.array(self._numbers, np.uint64)[order]
        return self._sorted


@dataclass(frozen=True)
class Line:
    """A line of the manifest: its place, and what it says or why it cannot be understood."""

    name: str
    offset: int
    description: Description | None
    error: InputError | None


class Manifest:
    """The manifest of a folder, empty if there is none. Raises `InputUnreadable` if it cannot be read."""

    def __init__(self, root: Path, limits: Limits) -> None:
        self._root, self._limits = root, limits
        self._path = root / MANIFEST
        self._offsets = PathTable()
        for line in self.lines():
            if line.description and line.description.file:
                self._offsets.add(line.description.file, line.offset)

    def lines(self) -> Iterator[Line]:
        """Every line that is not blank."""
        try:
            with self._path.open("rb") as stream:
                number, offset = 1, 0
                while data := stream.readline(self._limits.bytes_per_file):
                    if data.strip():
                        yield self._line(data, number, offset)
                    number, offset = number + 1, offset + len(data)
        except FileNotFoundError:
            return
        except OSError as error:
            raise InputUnreadable(f"{MANIFEST} cannot be read: {error.strerror}") from error

    def names(self, file: str) -> bool:
        """Whether a line is about `file`."""
        return file in self._offsets

    def describe(self, file: str) -> Description | None:
        """What the manifest says of `file`. Raises `BadDescription` if it has several lines for it, or changed."""
        offsets = self._offsets.find(file)
        if not offsets:
            return None
        if len(offsets) > 1:
            raise BadDescription(f"{MANIFEST} has {len(offsets)} lines for {file!r}; keep one")
        description = self._parse(self._read_line(offsets[0]), f"the line of {file!r}")
        if description.file != file:
            raise BadDescription(f"{MANIFEST} was changed while it was read; index the folder again")
        return description

    def _read_line(self, offset: int) -> bytes:
        try:
            with self._path.open("rb") as stream:
                stream.seek(offset)
                return stream.readline(self._limits.bytes_per_file)
        except OSError as error:
            raise InputUnreadable(f"{MANIFEST} cannot be read: {error.strerror}") from error

    def _line(self, data: bytes, number: int, offset: int) -> Line:
        name = f"{MANIFEST}:{number}"
        try:
            description = self._parse(data, f"line {number}")
        except InputError as error:
            return Line(name, offset, None, error)
        return Line(name, offset, description, None)

    def _parse(self, data: bytes, name: str) -> Description:
        description = parse_description(data, self._root, "", self._limits, f"{MANIFEST}, {name}")
        if description.file is None:
            raise BadDescription(f"{MANIFEST}, {name}: the field 'file' is missing; it says which picture is meant")
        return description


def _digest(path: str) -> int:
    return int.from_bytes(hashlib.blake2b(path.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big")
