"""Checksums of the catalogue's rows, written with them; a mismatch means that a row was damaged at rest.

They detect damage, not forgery, and are cheap, because every answer verifies the rows it uses. Any change within eight
bytes of a vector, or within 32 bits elsewhere, is detected; others are missed with a probability of 1 in 4 billion. A
row without a checksum was written by an older version, and counts as sound.
"""

import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

# Odd, so that every change of a single word changes the sum; fixed, because the sums are stored.
_BASE = 0x9E3779B97F4A7C15
_WORD = 8

Entry = Sequence[Any]  # number, kind, item, space, fingerprint, vector as it is stored, revision


def of_values(*values: object) -> int:
    """The checksum of a row's plain values: texts, numbers and None."""
    return zlib.crc32(ascii(values).encode())


def of_space(
    collection_id: int, name: str, fingerprint: str, dimension: int, blocks: object, centre: bytes, centre_version: int
) -> int:
    """The checksum of a space; `centre` is its mean as stored."""
    return zlib.crc32(centre, of_values(collection_id, name, fingerprint, dimension, blocks, centre_version))


def of_tuning(space_id: int, modality: str, fingerprint: str, fitted: bytes) -> int:
    """The checksum of a tuning: its mean or curve as stored, and the queries to which it applies."""
    return zlib.crc32(fitted, of_values(space_id, modality, fingerprint))


def of_entries(collection_id: int, entries: Sequence[Entry]) -> list[int | None]:
    """The checksums of log entries, from -2^63 to 2^63 - 1; None for values that cannot be an entry's."""
    try:
        return list(_sums(collection_id, entries).view(np.int64).tolist()) if entries else []
    except (TypeError, ValueError, OverflowError):  # SQLite gives whatever type a damaged row says
        if len(entries) == 1:
            return [None]
        return [of_entries(collection_id, [entry])[0] for entry in entries]


def _sums(collection_id: int, entries: Sequence[Entry]) -> npt.NDArray[np.uint64]:
    """The words of each entry, weighted by powers of `_BASE` and summed modulo 2^64."""
    seqs, kinds, items, spaces, fingerprints, vectors, revisions = zip(*entries, strict=True)
    names = [
        _of_names(collection_id, kind, space, fingerprint)
        for kind, space, fingerprint in zip(kinds, spaces, fingerprints, strict=True)
    ]
    lengths = [len(vector or b"") for vector in vectors]
    numbers = np.array([seqs, items, revisions, names, lengths], np.int64).view(np.uint64)
    sums = np.asarray(_weights(len(numbers)) @ numbers, np.uint64)
    for length in set(lengths):
        rows = [row for row, row_length in enumerate(lengths) if row_length == length]
        padding = bytes(-length % _WORD)
        words = np.frombuffer(b"".join((vectors[row] or b"") + padding for row in rows), "<u8").reshape(len(rows), -1)
        sums[rows] += words @ _weights(words.shape[1], len(numbers))
    return sums


@lru_cache(maxsize=1024)
def _of_names(*values: object) -> int:
    """The checksum of values shared by many entries, cached."""
    return of_values(*values)


@lru_cache(maxsize=64)
def _weights(count: int, after: int = 0) -> npt.NDArray[np.uint64]:
    """`count` consecutive powers of `_BASE`, starting at exponent `after` + 1."""
    return np.cumprod(np.full(after + count, _BASE, np.uint64), dtype=np.uint64)[after:]
