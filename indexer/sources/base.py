"""The seam between a job and where its inputs come from: a folder, a table, archives, URLs, a bucket.

A source is scanned once, in a stable order, by one process; every input it meets becomes a row of the job's ledger
before work starts. Any process may then describe and open any input by the `uri` of that row alone.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from indexer.descriptions import Description


@dataclass(frozen=True)
class Position:
    """How far a scan has come: `place` in the source's own words, within `version` of what is scanned."""

    place: str
    version: str
    ignored: int = 0

    def to_text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> "Position":
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Found:
    """What a scan met: an input to index, or with `reason` one that cannot be. `position` is that behind it."""

    uri: str
    key: str
    reason: str | None = None
    reason_code: str | None = None
    position: Position | None = None


class Source(Protocol):
    """Where inputs come from. Safe for several threads, but for `scan`, of which one runs at a time."""

    @property
    def uri(self) -> str:
        """A text by which `open_source` opens it again, on any machine that can reach it."""
        ...

    @property
    def ignored(self) -> int:
        """How many files the last scan met that are no inputs."""
        ...

    @property
    def threads(self) -> int:
        """How many inputs are worth reading at once at least: more where most of the time is spent waiting."""
        ...

    def check(self) -> None:
        """Raises `SourceGone` unless the source is there, readable, and the one it was at first."""
        ...

    def can_resume(self, position: Position) -> bool:
        """Whether a scan may go on there: what was scanned until then is still as it was."""
        ...

    def scan(self, position: Position | None = None) -> Iterator[Found]:
        """Every input, or those behind `position`, never more than a page of them in memory. Raises `SourceGone`."""
        ...

    def describe(self, uri: str) -> Description:
        """What is said of an input; `file` is its picture. Raises `BadInput` if it cannot be understood."""
        ...

    def open(self, ref: str) -> bytes:
        """The bytes of a file that a description names. Raises `InputError`, `TooManyBytes`."""
        ...

    def name(self, ref: str) -> str:
        """What errors and content hashes call that file."""
        ...

    def local(self, ref: str) -> Path | None:
        """Where the file lies if it can be referred to there; None if a copy has to be kept."""
        ...

    def input_at(self, location: str) -> str | None:
        """The uri of the input whose picture lies at `location`, a path that `local` gave; None if that is unknown."""
        ...
