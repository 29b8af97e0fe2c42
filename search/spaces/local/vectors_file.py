"""The file of a snapshot: ids, vectors and whatever else an index needs, laid out so that vectors can stay on the disk.

magic, dimension, rows, bytes of the rest      48 bytes, little-endian
ids                                            int64, from the next multiple of 4096 on
vectors                                        float32 (rows, dimension), from the next multiple of 4096 on
the rest                                       as the index writes it, from the next multiple of 4096 on
"""

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from anyseek.model.seam import FloatArray
from anyseek.search.types import IdArray

_MAGIC = b"anyseek vectors 1"
_HEADER = struct.Struct("<24sqqq")
_PAGE = 4096

WriteRest = Callable[[BinaryIO], None]


@dataclass(frozen=True)
class StoredVectors:
    """The content of a file: `ids` (n,) in memory, `vectors` (n, d) mapped, and where the rest of the file begins."""

    path: Path
    ids: IdArray
    vectors: FloatArray
    rest_start: int
    rest_bytes: int


def write_vectors(
    path: Path, ids: IdArray, blocks: Iterable[FloatArray], dimension: int, write_rest: WriteRest | None = None
) -> None:
    """Write `ids` and the vectors of `blocks`, as many in all, to the new file `path`."""
    with path.open("wb") as file:
        file.write(_HEADER.pack(_MAGIC, dimension, len(ids), 0))
        _write_array(file, ids.astype("<i8", copy=False))
        file.seek(_next_page(file.tell()))
        for block in blocks:
            _write_array(file, block.astype("<f4", copy=False), aligned=False)
        file.seek(_next_page(file.tell()))
        start = file.tell()
        if write_rest is not None:
            write_rest(file)
        rest = file.tell() - start
        file.truncate(start + rest)
        file.seek(0)
        file.write(_HEADER.pack(_MAGIC, dimension, len(ids), rest))


def read_vectors(path: Path, dimension: int) -> StoredVectors:
    """Raises `ValueError` if it is not such a file, was cut, or holds vectors of another dimension."""
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
    magic, held, rows, rest = _HEADER.unpack(header) if len(header) == _HEADER.size else (b"", 0, 0, 0)
    if magic.rstrip(b"\0") != _MAGIC:
        raise ValueError(f"{path} is not a file of vectors that this version can read")
    if held != dimension:
        raise ValueError(f"{path} holds vectors of {held} numbers, not {dimension}")
    vectors_start = _next_page(_next_page(_HEADER.size) + 8 * rows)
    rest_start = _next_page(vectors_start + 4 * rows * dimension)
    if path.stat().st_size != rest_start + rest:
        raise ValueError(f"{path} has {path.stat().st_size} bytes where {rest_start + rest} were written")
    ids = np.fromfile(path, "<i8", rows, offset=_next_page(_HEADER.size)).astype(np.int64, copy=False)
    return StoredVectors(path, ids, _mapped(path, vectors_start, rows, dimension), rest_start, rest)


def _mapped(path: Path, start: int, rows: int, dimension: int) -> FloatArray:
    if rows == 0:
        return np.empty((0, dimension), np.float32)
    mapped = np.memmap(path, "<f4", "r", start, (rows, dimension))
    return np.asarray(mapped, np.float32)  # still mapped: memmap itself is slow to slice


def _write_array(file: BinaryIO, values: IdArray | FloatArray, aligned: bool = True) -> None:
    if aligned:
        file.seek(_next_page(file.tell()))
    if values.size:
        file.write(np.ascontiguousarray(values).view(np.uint8).reshape(-1).data)


def _next_page(position: int) -> int:
    return -(-position // _PAGE) * _PAGE
