"""The file format of a backup: a plain tar, written and read as a stream, whose last member describes all others.

backup.json                    format, version of the tables, their columns, whether assets are included
tables/<name>/<number>.jsonl   rows, a line of JSON each
tables/<name>/<number>.bin     their vectors
assets/<aa>/<62 more>          stored files, named by the sha256 of their bytes
manifest.json                  size and sha256 of each member except assets; count, size and hash chain of the assets

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
from io import BufferedIOBase
from pathlib import Path
from typing import IO, Any

from sqlalchemy import JSON, DateTime, LargeBinary, Table

from anyseek.search.catalogue.values import utc
from anyseek.search.errors import BackupCorrupt

HEADER, MANIFEST, ASSETS, TABLES = "backup.json", "manifest.json", "assets/", "tables/"
_BLOCK = 1024 * 1024
_MAX_IN_MEMORY_BYTES = 256 * 1024 * 1024


@dataclass
class Manifest:
    """Sizes and checksums of the members written or read so far; the two agree if the file is complete."""

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
        self.manifest = Manifest()
        self._tar = tarfile.open(fileobj=file, mode="w:", format=tarfile.PAX_FORMAT)  # noqa: SIM115

    def add(self, name: str, data: bytes) -> None:
        self.manifest.add(name, len(data), hashlib.sha256(data).hexdigest())
        self._tar.addfile(_tar_info(name, len(data)), io.BytesIO(data))

    def add_asset(self, location: str, file: BufferedIOBase, size: int) -> None:
        """Copy a stored file and check its bytes against its name. Raises `OSError`, `BackupCorrupt`."""
        reader = _HashingReader(file)
        self._tar.addfile(_tar_info(ASSETS + location, size), reader)
        has_more = bool(file.read(1))
        self._tar.members.clear()  # type: ignore[attr-defined]  # it would keep a list of all
        if reader.digest() != location.replace("/", "") or has_more:
            raise BackupCorrupt(f"the stored file {location} has changed since it was put; run anyseek rebuild first")
        self.manifest.add(ASSETS + location, size, reader.digest())

    def close(self) -> None:
        """Write the manifest and end the archive."""
        data = json.dumps(vars(self.manifest)).encode()
        sealed = {"manifest": vars(self.manifest), "sha256": hashlib.sha256(data).hexdigest()}
        self._tar.addfile(_tar_info(MANIFEST, len(encoded := json.dumps(sealed).encode())), io.BytesIO(encoded))
        self._tar.close()


@dataclass(frozen=True)
class Member:
    """One member of the stream: its bytes can be read once."""

    name: str
    size: int
    file: IO[bytes]

    def read(self) -> bytes:
        """All bytes. Raises `BackupCorrupt` if the member is too large for memory, or the file is cut short."""
        if self.size > _MAX_IN_MEMORY_BYTES:
            raise BackupCorrupt(f"{self.name} in the backup has {self.size:,} bytes, more than Anyseek writes into it")
        return b"".join(self.blocks())

    def blocks(self) -> Iterator[bytes]:
        """Its bytes in blocks. Raises `BackupCorrupt` if the file is cut short."""
        remaining = self.size
        while remaining:
            try:
                block = self.file.read(min(_BLOCK, remaining))
            except (tarfile.TarError, EOFError):
                block = b""
            if not block:
                raise BackupCorrupt(f"the backup is cut short within {self.name}")
            remaining -= len(block)
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


def read_manifest(data: bytes, path: Path) -> Manifest:
    """Parse the manifest of a backup. Raises `BackupCorrupt` if it is damaged."""
    try:
        sealed = json.loads(data)
        inner = sealed["manifest"]
        if hashlib.sha256(json.dumps(inner).encode()).hexdigest() != sealed["sha256"]:
            raise BackupCorrupt(f"the manifest of {path} has changed since it was written")
        return Manifest(**inner)
    except (ValueError, KeyError, TypeError) as error:
        raise BackupCorrupt(f"the manifest of {path} cannot be read: {error}") from error


class _HashingReader:
    """A file whose bytes are hashed as they are read."""

    def __init__(self, file: BufferedIOBase) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._hash.update(data)
        return data

    def digest(self) -> str:
        return self._hash.hexdigest()


def _tar_info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info


# Limits of a batch of rows; only one batch at a time is in memory.
MAX_ROWS = 2_000
MAX_BYTES = 4 * 1024 * 1024


class ColumnKind(StrEnum):
    """The form of a column's values: bytes as their number of bytes, times as text, the others as they are."""

    PLAIN = "plain"
    JSON = "json"
    TIME = "time"
    BYTES = "bytes"


@dataclass
class RowBatch:
    """Some rows of a table: `lines` of JSON, and the values of its binary columns one after the other."""

    lines: list[bytes] = field(default_factory=list)
    blobs: list[bytes] = field(default_factory=list)
    size: int = 0

    @property
    def is_full(self) -> bool:
        return len(self.lines) >= MAX_ROWS or self.size >= MAX_BYTES

    def add(self, row: Sequence[Any], kinds: Sequence[ColumnKind]) -> None:
        values, first_blob = [], len(self.blobs)
        for value, kind in zip(row, kinds, strict=True):
            if kind == ColumnKind.BYTES and value is not None:
                self.blobs.append(bytes(value))
            values.append(_to_json(value, kind))
        self.lines.append(json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
        self.size += len(self.lines[-1]) + len(b"".join(self.blobs[first_blob:]))


def split_rows(rows: Iterable[Sequence[Any]], kinds: Sequence[ColumnKind]) -> Iterator[RowBatch]:
    """The rows of a table in batches."""
    batch = RowBatch()
    for row in rows:
        batch.add(row, kinds)
        if batch.is_full:
            yield batch
            batch = RowBatch()
    if batch.lines:
        yield batch


def column_kinds(table: Table) -> dict[str, ColumnKind]:
    """The kind of each column of a table, by name."""
    known = ((LargeBinary, ColumnKind.BYTES), (DateTime, ColumnKind.TIME), (JSON, ColumnKind.JSON))
    return {
        column.name: next((kind for type_, kind in known if isinstance(column.type, type_)), ColumnKind.PLAIN)
        for column in table.columns
    }


def read_rows(lines: bytes, blobs: bytes, columns: Mapping[str, ColumnKind], name: str) -> Iterator[dict[str, Any]]:
    """The rows of a batch, by column. Raises `BackupCorrupt` if the lines do not match the bytes."""
    offset = 0
    for line in lines.splitlines():
        values = json.loads(line)
        if not isinstance(values, list) or len(values) != len(columns):
            raise BackupCorrupt(f"{name} has a row whose columns are not those of its table")
        row: dict[str, Any] = {}
        for value, (column, kind) in zip(values, columns.items(), strict=True):
            if kind == ColumnKind.BYTES and value is not None:
                row[column] = blobs[offset : offset + value]
                offset += value
            else:
                is_time = kind == ColumnKind.TIME and value is not None
                row[column] = datetime.fromisoformat(value) if is_time else value
        yield row
    if offset != len(blobs):
        raise BackupCorrupt(f"{name} has {len(blobs)} bytes of vectors where its rows have {offset}")


def _to_json(value: Any, kind: ColumnKind) -> Any:
    if value is None:
        return None
    if kind == ColumnKind.TIME:
        return utc(value).isoformat()
    return len(value) if kind == ColumnKind.BYTES else value
