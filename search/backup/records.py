"""Rows of the catalogue as portable records: a line of JSON for each row, and the bytes of its vectors beside it.

They contain nothing specific to SQLite or PostgreSQL, so a backup of either can be restored into the other.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, DateTime, LargeBinary, Table
from sqlalchemy.types import TypeEngine

from anyseek.search.catalogue.values import utc
from anyseek.search.errors import BackupCorrupt

# The most rows or bytes of a part; only one part at a time is in memory.
MOST_ROWS = 2_000
MOST_BYTES = 4 * 1024 * 1024


class Kind(StrEnum):
    """How a column's values are written: bytes as their number of bytes, times as text, the others as they are."""

    PLAIN = "plain"
    JSON = "json"
    TIME = "time"
    BYTES = "bytes"


@dataclass
class Part:
    """Some rows of a table: `lines` of JSON, and the values of its columns of bytes one after the other."""

    lines: list[bytes] = field(default_factory=list)
    blobs: list[bytes] = field(default_factory=list)
    size: int = 0

    @property
    def full(self) -> bool:
        return len(self.lines) >= MOST_ROWS or self.size >= MOST_BYTES

    def add(self, row: Sequence[Any], kinds: Sequence[Kind]) -> None:
        values, before = [], len(self.blobs)
        for value, kind in zip(row, kinds, strict=True):
            if kind == Kind.BYTES and value is not None:
                self.blobs.append(bytes(value))
            values.append(_written(value, kind))
        self.lines.append(json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
        self.size += len(self.lines[-1]) + len(b"".join(self.blobs[before:]))


def kinds_of(table: Table) -> dict[str, Kind]:
    """The columns of a table by name."""
    return {column.name: _kind(column.type) for column in table.columns}


def rows_of(lines: bytes, blobs: bytes, columns: Mapping[str, Kind], name: str) -> Iterator[dict[str, Any]]:
    """The rows of a part, by column. Raises `BackupCorrupt` if lines and bytes do not belong together."""
    place = 0
    for line in lines.splitlines():
        values = json.loads(line)
        if not isinstance(values, list) or len(values) != len(columns):
            raise BackupCorrupt(f"{name} has a row whose columns are not those of its table")
        row = {}
        for value, (column, kind) in zip(values, columns.items(), strict=True):
            if kind == Kind.BYTES and value is not None:
                row[column] = blobs[place : place + value]
                place += value
            else:
                row[column] = _read(value, kind)
        yield row
    if place != len(blobs):
        raise BackupCorrupt(f"{name} has {len(blobs)} bytes of vectors where its rows have {place}")


def _kind(type_: TypeEngine[Any]) -> Kind:
    for kind, known in ((Kind.BYTES, LargeBinary), (Kind.TIME, DateTime), (Kind.JSON, JSON)):
        if isinstance(type_, known):
            return kind
    return Kind.PLAIN


def _written(value: Any, kind: Kind) -> Any:
    if value is None:
        return None
    if kind == Kind.TIME:
        return utc(value).isoformat()
    return len(value) if kind == Kind.BYTES else value


def _read(value: Any, kind: Kind) -> Any:
    return datetime.fromisoformat(value) if kind == Kind.TIME and value is not None else value
