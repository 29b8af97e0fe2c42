"""Read single samples from shards without reading the rest. No torch.

A shard is an uncompressed tar file, so one pass over its headers gives the position of every file in it. The positions
and open files of the most recently used shards are kept.
"""

import os
import tarfile
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from anyseek.model.data.errors import ShardCorrupt
from anyseek.model.data.shards import Entry

_BLOCK = 512  # bytes of a tar header, and what contents are filled up to
_END = bytes(_BLOCK)


@dataclass(frozen=True)
class _Shard:
    file: BinaryIO
    samples: tuple[tuple[str, Mapping[str, tuple[int, int]]], ...]  # key, then file name -> first byte and length

    def sample(self, path: Path, number: int) -> tuple[str, Mapping[str, tuple[int, int]]]:
        """Key and files of sample `number`. Raises `ShardCorrupt`."""
        if number >= len(self.samples):
            raise ShardCorrupt(f"the shard {path} ends after {len(self.samples)} samples; its manifest has more")
        return self.samples[number]


class ShardReader:
    """Reads samples by shard and number; at most `kept` shards are open at a time."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._shards: OrderedDict[Path, _Shard] = OrderedDict()

    def read(self, path: Path, number: int, fields: Collection[str] | None = None) -> Entry:
        """Sample `number` (from 0) of a shard, all its files or those of some fields. Raises `ShardCorrupt`."""
        shard = self._opened(path)
        key, files = shard.sample(path, number)
        chosen = [name for name in files if fields is None or name.partition(".")[0] in fields]
        return Entry(key, {name: _read(shard.file, path, *files[name]) for name in chosen})

    def fields(self, path: Path, number: int) -> frozenset[str]:
        """The fields that sample `number` has. Raises `ShardCorrupt`."""
        return frozenset(name.partition(".")[0] for name in self._opened(path).sample(path, number)[1])

    def key(self, path: Path, number: int) -> str:
        """The key of sample `number`. Raises `ShardCorrupt`."""
        return self._opened(path).sample(path, number)[0]

    def close(self) -> None:
        """Close all files."""
        while self._shards:
            self._shards.popitem()[1].file.close()

    def _opened(self, path: Path) -> _Shard:
        if path in self._shards:
            self._shards.move_to_end(path)
            return self._shards[path]
        while len(self._shards) >= self._kept:
            self._shards.popitem(last=False)[1].file.close()
        self._shards[path] = _open_shard(path)
        return self._shards[path]


def _open_shard(path: Path) -> _Shard:
    try:
        file = path.open("rb")
    except OSError as error:
        raise ShardCorrupt(f"the shard {path} cannot be read: {error.strerror}") from error
    samples: dict[str, dict[str, tuple[int, int]]] = {}
    try:
        for member, start, length in _plain_members(file) or _all_members(file):
            key, _, name = member.partition(".")
            samples.setdefault(key, {})[name] = (start, length)
    except tarfile.TarError as error:
        file.close()
        raise ShardCorrupt(f"{path} is not a complete shard: {error}") from error
    return _Shard(file, tuple(samples.items()))


def _all_members(file: BinaryIO) -> list[tuple[str, int, int]]:
    """Name, first byte and length of every file. Raises `TarError`."""
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:") as archive:
        return [(member.name, member.offset_data, member.size) for member in archive]


def _plain_members(file: BinaryIO) -> list[tuple[str, int, int]] | None:
    """The same, ten times as fast, of an archive of plain files with short names; None where anything else is seen."""
    try:
        return _headers(file)
    except ValueError:
        return None


def _headers(file: BinaryIO) -> list[tuple[str, int, int]] | None:
    members: list[tuple[str, int, int]] = []
    place = 0
    while (header := os.pread(file.fileno(), _BLOCK, place)) != _END:
        checksum = header[148:156]
        if len(header) < _BLOCK or header[156:157] != b"0" or header[345:346] != b"\0":
            return None
        if int(checksum.rstrip(b"\0 "), 8) != sum(header) - sum(checksum) + 256:
            return None
        length = int(header[124:136].rstrip(b"\0 "), 8)
        members.append((header[:100].rstrip(b"\0").decode("utf-8"), place + _BLOCK, length))
        place += _BLOCK + -(-length // _BLOCK) * _BLOCK
    return members


def _read(file: BinaryIO, path: Path, start: int, length: int) -> bytes:
    data = os.pread(file.fileno(), length, start)
    if len(data) != length:
        raise ShardCorrupt(f"{path} is not a complete shard: it ends before byte {start + length:,}")
    return data
