"""The file format of a backup: a plain tar, written and read as a stream, whose last member describes all others.

backup.json                    format, version of the tables, their columns, whether assets are in it
tables/<name>/<number>.jsonl   rows, a line of JSON each
tables/<name>/<number>.bin     their vectors
assets/<aa>/<62 more>          stored files, named by the sha256 of their bytes
manifest.json                  size and sha256 of each member except assets; number, bytes and hash chain of the assets

Rows contain nothing specific to SQLite or PostgreSQL, so a backup of either can be restored into the other.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

from sqlalchemy import JSON, DateTime, LargeBinary, Table

from anyseek.search.catalogue.values import utc
from anyseek.search.errors import BackupCorrupt

HEADER, MANIFEST, ASSETS, TABLES = "backup.json", "manifest.json", "assets/", "tables/"
_BLOCK = 1024 * 1024
_LARGEST_IN_MEMORY = 256 * 1024 * 1024


@dataclass
class Contents:
    """A summary of what was written or read so far; both agree if the file is complete."""

    members: dict[str, list[Any]] = field(default_factory=dict)  # name -> [bytes, sha256], without assets
    assets: int = 0
    asset_bytes: int = 0
    chain: str = ""  # a hash over the assets' names and sizes, in order

    def add(self, name: str, size: int, digest: str) -> None:
        if not name.startswith(ASSETS):
            self.members[name] = [size, digest]
            return
        self.assets += 1
        self.asset_bytes += size
        self.chain = hashlib.sha256(f"{self.chain} {digest} {size}".encode()).hexdigest()


class Writer:
    """Writes members one after the other into an open file."""

    def __init__(self, file: IO[bytes]) -> None:
        self.contents = Contents()
        self._tar = tarfile.open(fileobj=file, mode="w:", format=tarfile.PAX_FORMAT)  # noqa: SIM115

    def add(self, name: str, data: bytes) -> None:
        self.contents.add(name, len(data), hashlib.sha256(data).hexdigest())
        self._tar.addfile(_member(name, len(data)), io.BytesIO(data))

    def add_asset(self, location: str, path: Path, size: int) -> None:
        """Copy a stored file and check its bytes against its name. Raises `OSError`, `BackupCorrupt`."""
        with path.open("rb") as file:
            hashed = _Hashed(file)
            self._tar.addfile(_member(ASSETS + location, size), hashed)
            longer = file.read(1)
        self._tar.members.clear()  # type: ignore[attr-defined]  # it would keep a list of all
        if hashed.digest() != location.replace("/", "") or longer:
            raise BackupCorrupt(f"the stored file {path} has changed since it was stored; run anyseek rebuild first")
        self.contents.add(ASSETS + location, size, hashed.digest())

    def close(self) -> None:
        """Write the manifest and end the archive."""
        data = json.dumps(vars(self.contents)).encode()
        sealed = {"manifest": vars(self.contents), "sha256": hashlib.sha256(data).hexdigest()}
        self._tar.addfile(_member(MANIFEST, len(encoded := json.dumps(sealed).encode())), io.BytesIO(encoded))
        self._tar.close()


@dataclass(frozen=True)
class Member:
    """One member of the stream: its bytes can be read once."""

    name: str
    size: int
    file: IO[bytes]

    def read(self) -> bytes:
        """All bytes. Raises `BackupCorrupt` if they are too many for this member, or the file is cut short."""
        if self.size > _LARGEST_IN_MEMORY:
            raise BackupCorrupt(f"{self.name} in the backup has {self.size:,} bytes, more than Anyseek writes into it")
        return b"".join(self.blocks())

    def blocks(self) -> Iterator[bytes]:
        """Its bytes in blocks. Raises `BackupCorrupt` if the file is cut short."""
        left = self.size
        while left:
            try:
                block = self.file.read(min(_BLOCK, left))
            except (tarfile.TarError, EOFError):
                block = b""
            if not block:
                raise BackupCorrupt(f"the backup is cut short within {self.name}")
            left -= len(block)
            yield block


def members(path: Path) -> Iterator[Member]:
    """Yield the members of a backup in order, with the manifest. Raises `BackupCorrupt` if the file is not a tar."""
    with path.open("rb") as file:
        try:
            with tarfile.open(fileobj=file, mode="r|") as tar:
                for info in tar:
                    content = tar.extractfile(info) if info.isreg() else None
                    if content is None:
                        raise BackupCorrupt(
                            f"{path} is not a backup of Anyseek: {info.name!r} in it is not a plain file"
                        )
                    yield Member(info.name, info.size, content)
                    tar.members.clear()  # type: ignore[attr-defined]  # it would keep a list of all
        except (tarfile.TarError, EOFError) as error:
            raise BackupCorrupt(f"{path} is not a backup of Anyseek, or is cut short: {error}") from error


def sealed_contents(data: bytes, path: Path) -> Contents:
    """Return the contents that a manifest lists. Raises `BackupCorrupt` if it is damaged."""
    try:
        sealed = json.loads(data)
        inner = sealed["manifest"]
        if hashlib.sha256(json.dumps(inner).encode()).hexdigest() != sealed["sha256"]:
            raise BackupCorrupt(f"the manifest of {path} has changed since it was written")
        return Contents(**inner)
    except (ValueError, KeyError, TypeError) as error:
        raise BackupCorrupt(f"the manifest of {path} cannot be read: {error}") from error


class _Hashed:
    """A file that is hashed as it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._hash.update(data)
        return data

    def digest(self) -> str:
        return self._hash.hexdigest()


def _member(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info


# The most rows or bytes of a part; only one part at a time is in memory.
MOST_ROWS = 2_000
MOST_BYTES = 4 * 1024 * 1024


class ColumnKind(StrEnum):
    """The form of a column's values: bytes as their number of bytes, times as text, the others as they are."""

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

    def add(self, row: Sequence[Any], kinds: Sequence[ColumnKind]) -> None:
        values, before = [], len(self.blobs)
        for value, kind in zip(row, kinds, strict=True):
            if kind == ColumnKind.BYTES and value is not None:
                self.blobs.append(bytes(value))
            values.append(_written(value, kind))
        self.lines.append(json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
        self.size += len(self.lines[-1]) + len(b"".join(self.blobs[before:]))


def parts_of(rows: Iterable[Sequence[Any]], kinds: Sequence[ColumnKind]) -> Iterator[Part]:
    """The rows of a table in parts."""
    part = Part()
    for row in rows:
        part.add(row, kinds)
        if part.full:
            yield part
            part = Part()
    if part.lines:
        yield part


def kinds_of(table: Table) -> dict[str, ColumnKind]:
    """The columns of a table by name."""
    known = ((LargeBinary, ColumnKind.BYTES), (DateTime, ColumnKind.TIME), (JSON, ColumnKind.JSON))
    return {
        column.name: next((kind for type_, kind in known if isinstance(column.type, type_)), ColumnKind.PLAIN)
        for column in table.columns
    }


def rows_of(lines: bytes, blobs: bytes, columns: Mapping[str, ColumnKind], name: str) -> Iterator[dict[str, Any]]:
    """The rows of a part, by column. Raises `BackupCorrupt` if lines and bytes do not belong together."""
    place = 0
    for line in lines.splitlines():
        values = json.loads(line)
        if not isinstance(values, list) or len(values) != len(columns):
            raise BackupCorrupt(f"{name} has a row whose columns are not those of its table")
        row: dict[str, Any] = {}
        for value, (column, kind) in zip(values, columns.items(), strict=True):
            if kind == ColumnKind.BYTES and value is not None:
                row[column] = blobs[place : place + value]
                place += value
            else:
                is_time = kind == ColumnKind.TIME and value is not None
                row[column] = datetime.fromisoformat(value) if is_time else value
        yield row
    if place != len(blobs):
        raise BackupCorrupt(f"{name} has {len(blobs)} bytes of vectors where its rows have {place}")


def _written(value: Any, kind: ColumnKind) -> Any:
    if value is None:
        return None
    if kind == ColumnKind.TIME:
        return utc(value).isoformat()
    return len(value) if kind == ColumnKind.BYTES else value
