"""Classifies pictures by nearest neighbours: the published protocol for global vectors on ImageNet.

Each validation picture gets the class that wins the vote of its 20 nearest training pictures, by the cosine of their
raw predicted vectors. The vote is weighted as in DINO (Caron et al., arXiv 2104.14294): each neighbour counts
exp(cosine / 0.07). The plain vote, in which each neighbour counts once, is also reported.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from anyseek.model.files import FileLock, write_file
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.registry import PICTURE_SUFFIXES
from anyseek.model.seam import Embedder, FloatArray, Sample
from anyseek.search.answers.ranks import IntArray
from anyseek.search.errors import BadInput, Conflict, NotAligned
from anyseek.search.evaluation.measures import Estimate, estimate

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


NEIGHBOURS, TEMPERATURE = 20, 0.07
VOTE = f"each of the {NEIGHBOURS} nearest neighbours counts exp(cosine / {TEMPERATURE})"
_FILES_AT_ONCE = 256
_ASKED_AT_ONCE, _KNOWN_AT_ONCE = 1024, 16_384  # rows of one product of matrices

Progress = Callable[[str], None]
Load = Callable[[Path], ByteArray]


@dataclass(frozen=True)
class Pictures:
    """The pictures of a folder with one subfolder per class: sorted relative paths, and the class number of each."""

    root: Path
    files: tuple[str, ...]
    classes: IntArray
    digest: str


@dataclass(frozen=True)
class NeighbourResult:
    """Accuracy by the weighted vote (`top_1`) and the plain vote (`top_1_plain`), in [0, 1] of the validation pictures.

    `unreadable` pictures were left out on both sides.
    """

    top_1: Estimate
    top_1_plain: Estimate
    training_pictures: int
    validation_pictures: int
    classes: int
    unreadable: tuple[str, ...]


def neighbour_accuracy(
    embedder: Embedder, space: str, data: Path, cache: Path, load: Load, progress: Progress
) -> NeighbourResult:
    """Measure on `data`/train/CLASS/… and `data`/val/CLASS/…; `load` decodes a file or raises `BadInput`.

    Vectors are cached below `cache` by model, space and files, so an interrupted run can continue. Raises `NotAligned`
    if there are no such folders, or no training pictures of a class.
    """
    classes = _class_names(data / "train")
    sides = [list_pictures(data / part, classes) for part in ("train", "val")]
    vectors = [_vectors(embedder, space, side, cache, load, progress) for side in sides]
    unreadable = tuple(
        f"{side.root.name}/{side.files[row]}: {why}"
        for side, held in zip(sides, vectors, strict=True)
        for row, why in held.unreadable.items()
    )
    good = [_readable(held) for held in vectors]
    if not all(len(rows) for rows in good):
        raise NotAligned(f"one of the folders train and val in {data} has no readable picture: {unreadable[0]}")
    progress(f"comparing {len(good[1]):,} pictures with {len(good[0]):,}")
    known, truth = sides[0].classes[good[0]], sides[1].classes[good[1]]
    weighted, plain = _vote(vectors[0].vectors, good[0], known, vectors[1].vectors, good[1])
    return NeighbourResult(
        estimate((weighted == truth).astype(np.float64), np.mean),
        estimate((plain == truth).astype(np.float64), np.mean),
        len(good[0]),
        len(good[1]),
        len(classes),
        unreadable,
    )


def _class_names(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise NotAligned(f"{folder} does not exist; the data needs train/CLASS/ and val/CLASS/ with pictures")
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())


def list_pictures(root: Path, classes: Sequence[str]) -> Pictures:
    """List the pictures of all classes. Raises `NotAligned` for an unknown class or if there are no pictures."""
    if unknown := sorted(set(_class_names(root)) - set(classes)):
        raise NotAligned(f"{root} has the class {unknown[0]}, of which train has no pictures")
    files, numbers, told = [], [], hashlib.sha256()
    for number, name in enumerate(classes):
        if not (root / name).is_dir():
            continue
        for entry in sorted(os.scandir(root / name), key=lambda entry: entry.name):
            if entry.name.lower().endswith(PICTURE_SUFFIXES) and entry.is_file():
                files.append(f"{name}/{entry.name}")
                numbers.append(number)
                told.update(f"{files[-1]}\0{entry.stat().st_size}\0".encode("utf-8", "surrogateescape"))
    if not files:
        raise NotAligned(f"{root} has no pictures in folders of classes, such as {root.name}/cat/1.jpg")
    return Pictures(root, tuple(files), np.array(numbers, np.int64), told.hexdigest())


def _vectors(embedder: Embedder, space: str, pictures: Pictures, cache: Path, load: Load, progress: Progress) -> Cached:
    about = embedder.spaces[space]
    made_of = hashlib.sha256(f"{about.fingerprint}\0{space}\0{pictures.digest}".encode()).hexdigest()
    with ThreadPoolExecutor(os.cpu_count()) as readers:

        def embed(start: int, stop: int) -> Batch:
            progress(f"{pictures.root.name}: embedding {start + 1:,} to {stop:,} of {len(pictures.files):,}")
            paths = [pictures.root / name for name in pictures.files[start:stop]]
            read = list(readers.map(lambda path: _read(load, path), paths))
            return _embed(embedder, space, about.dimension, read)

        shape = (len(pictures.files), about.dimension)
        return cached_vectors(cache / made_of[:32], made_of, shape, embed, _FILES_AT_ONCE)


def _read(load: Load, path: Path) -> ByteArray | str:
    """Return the picture, or the reason why it cannot be read."""
    try:
        return load(path)
    except BadInput as error:
        return str(error)


def _embed(embedder: Embedder, space: str, dimension: int, read: Sequence[ByteArray | str]) -> Batch:
    vectors = np.zeros((len(read), dimension), np.float32)
    rows = [row for row, picture in enumerate(read) if not isinstance(picture, str)]
    if rows:
        samples = [Sample({"rgb": picture}) for picture in read if not isinstance(picture, str)]
        vectors[rows] = embedder.embed(samples, [space])[space]
    return Batch(vectors, {row: why for row, why in enumerate(read) if isinstance(why, str)})


def _readable(held: Cached) -> IntArray:
    keep = np.ones(len(held.vectors), np.bool_)
    keep[list(held.unreadable)] = False
    return np.flatnonzero(keep)


def _vote(
    known: HalfArray, known_rows: IntArray, classes: IntArray, asked: HalfArray, rows: IntArray
) -> tuple[IntArray, IntArray]:
    """Return the winners of the weighted and the plain vote per asked row; `classes` are those of `known_rows`."""
    winners: list[tuple[IntArray, IntArray]] = []
    for start in range(0, len(rows), _ASKED_AT_ONCE):
        queries = asked[rows[start : start + _ASKED_AT_ONCE]].astype(np.float32)
        cosines, places = nearest(queries, known, known_rows)
        votes = classes[places]
        winners.append((winner(votes, np.exp(cosines / TEMPERATURE)), winner(votes, np.ones_like(cosines))))
    return np.concatenate([weighted for weighted, _ in winners]), np.concatenate([plain for _, plain in winners])


def nearest(
    queries: FloatArray, known: HalfArray, rows: IntArray, count: int = NEIGHBOURS
) -> tuple[FloatArray, IntArray]:
    """Return the `count` highest cosines among `rows` of `known`, best first, and their places in `rows`.

    Return fewer if there are fewer rows.
    """
    best = np.empty((len(queries), 0), np.float32)
    places = np.empty((len(queries), 0), np.int64)
    for start in range(0, len(rows), _KNOWN_AT_ONCE):
        chunk = rows[start : start + _KNOWN_AT_ONCE]
        cosines = queries @ known[chunk].astype(np.float32).T
        own = np.broadcast_to(np.arange(start, start + len(chunk)), cosines.shape)
        candidates, where = np.concatenate([best, cosines], axis=1), np.concatenate([places, own], axis=1)
        order = _first(candidates, count)
        best, places = np.take_along_axis(candidates, order, 1), np.take_along_axis(where, order, 1)
    return best, places


def _first(cosines: FloatArray, count: int) -> IntArray:
    """Return the places of the `count` highest of each row, best first; sort whole rows only if they are short."""
    if cosines.shape[1] > count:
        some = np.sort(np.argpartition(-cosines, count - 1, axis=1)[:, :count], axis=1)
    else:
        some = np.broadcast_to(np.arange(cosines.shape[1]), cosines.shape)
    order = np.argsort(-np.take_along_axis(cosines, some, 1), axis=1, kind="stable")
    return np.take_along_axis(some, order, 1)


def winner(votes: IntArray, weights: FloatArray) -> IntArray:
    """Return the class with the greatest sum of weights in each row, the first one on a tie: (q, k) -> (q,)."""
    same = votes[:, :, None] == votes[:, None, :]
    sums = (same * weights[:, None, :]).sum(axis=2)
    chosen: IntArray = np.take_along_axis(votes, sums.argmax(axis=1)[:, None], 1)[:, 0]
    return chosen
