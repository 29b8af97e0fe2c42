"""The interface of a job's sources: a folder, a table, archives, URLs, a bucket.

A source is scanned once, in a stable order, by one process; every input found becomes a row of the job's ledger before
work starts. Any process may then describe and open any input by the `uri` of that row alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from anyseek.indexer.descriptions import Description
from anyseek.indexer.paths import to_uri

LOCAL_THREADS = 1


@dataclass(frozen=True)
class Found:
    """An input that a scan found; one with a `reason` cannot be indexed.

    `description` is known where the scan had to read it anyway.
    """

    uri: str
    key: str
    reason: str | None = None
    reason_code: str | None = None
    description: Description | None = None


class Source(ABC):
    """A source of inputs. Safe for several threads, but for `scan`, of which one runs at a time.

    `threads` is the least number of inputs worth reading at once; higher where most of the time is spent waiting.
    `ignored` is the number of files in the last scan that are not inputs.
    """

    threads = LOCAL_THREADS
    ignored = 0

    @property
    @abstractmethod
    def uri(self) -> str:
        """A text by which `open_source` opens it again, on any machine that can reach it."""

    @abstractmethod
    def check(self) -> None:
        """Raises `SourceGone` unless the source is there, readable, and the one it was at first."""

    @abstractmethod
    def scan(self) -> Iterator[Found]:
        """Find every input, with at most a page in memory. Raises `SourceGone`."""

    @abstractmethod
    def describe(self, uri: str) -> Description:
        """The description of an input; `file` is its picture. Raises `BadInput` if it cannot be understood."""

    @abstractmethod
    def open(self, ref: str) -> bytes:
        """The bytes of a file that a description names. Raises `InputError`, `TooManyBytes`."""

    def name(self, ref: str) -> str:
        """The name of that file in errors and content hashes."""
        return to_uri(ref)

    def state(self, ref: str) -> str | None:
        """A text that changes with the file, had without reading it; None where there is none, or not yet."""
        return None

    def local(self, ref: str) -> Path | None:
        """The file's path if it can be referred to; None if a copy has to be stored."""
        return None

    def input_at(self, location: str) -> str | None:
        """The uri of the input whose picture lies at `location`, a path that `local` gave; None if that is unknown."""
        return None
