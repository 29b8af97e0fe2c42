"""Caches the vectors of a long list of files on disk, a batch at a time, so a killed run continues where it stopped.

A cache is a folder with `vectors.npy`, float16 (n, d), memory-mapped, and `progress.json`, which says what the vectors
are made of and how many rows are done. Rows are written and flushed before they are counted.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from anyseek.model.files import FileLock, write_file
from anyseek.model.seam import FloatArray
from anyseek.search.errors import Conflict

HalfArray = npt.NDArray[np.float16]
Mapped = np.memmap[Any, np.dtype[np.float16]]
_VECTORS, _PROGRESS, _LOCK = "vectors.npy", "progress.json", "lock"


@dataclass(frozen=True)
class Cached:
    """Cached `vectors`, float16 (n, d) on disk, a row per file; `unreadable` says by row why it is zero."""

    vectors: HalfArray
    unreadable: dict[int, str]


@dataclass(frozen=True)
class Batch:
    """Vectors of files, float32 (n, d); rows of unreadable files are zero, with the reason by row."""

    vectors: FloatArray
    unreadable: dict[int, str]


def cached_vectors(
    folder: Path, made_of: str, shape: tuple[int, int], embed: Callable[[int, int], Batch], at_once: int
) -> Cached:
    """Return the vectors in `folder`; make missing ones with `embed(start, stop)`, `at_once` rows at a time.

    A cache that is damaged, or made of something else (another model or other files: `made_of`), is replaced. Raises
    `Conflict` if another process is making it.
    """
    lock = FileLock(folder / _LOCK)
    if not lock.try_acquire():
        raise Conflict(f"another process is filling the cache of vectors in {folder}; wait for it, or stop it")
    try:
        vectors, unreadable, done = _open(folder, made_of, shape)
        for start in range(done, shape[0], at_once):
            stop = min(start + at_once, shape[0])
            batch = embed(start, stop)
            vectors[start:stop] = batch.vectors.astype(np.float16)
            unreadable |= {start + row: reason for row, reason in batch.unreadable.items()}
            vectors.flush()
            progress = {"made_of": made_of, "done": stop, "unreadable": unreadable}
            write_file(folder / _PROGRESS, json.dumps(progress))
    finally:
        lock.release()
    return Cached(vectors, unreadable)


def _open(
    folder: Path, made_of: str, shape: tuple[int, int]
) -> tuple[np.memmap[Any, np.dtype[np.float16]], dict[int, str], int]:
    path = folder / _VECTORS
    progress = _read_progress(folder)
    if progress.get("made_of") == made_of and path.is_file():
        vectors = np.lib.format.open_memmap(path, mode="r+")
        if vectors.shape == shape and vectors.dtype == np.float16:
            return vectors, {int(row): why for row, why in progress["unreadable"].items()}, int(progress["done"])
    (folder / _PROGRESS).unlink(missing_ok=True)
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape), {}, 0


def _read_progress(folder: Path) -> dict[str, Any]:
    try:
        progress = json.loads((folder / _PROGRESS).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    known = isinstance(progress, dict) and {"made_of", "done", "unreadable"} <= progress.keys()
    return progress if known else {}
