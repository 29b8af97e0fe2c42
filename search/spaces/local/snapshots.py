"""Snapshots of an index on disk, which are used only if they are complete and correct.

`<indexes>/<collection id>/<space id>/<last seq>-<centre version>/` holds `index`, written by the index itself, and
`header.json`, which says what the index holds and carries checksums of both files. The folder is written under
another name, flushed and renamed, so a killed writer leaves nothing that could pass for a snapshot.
"""

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import numpy as np

from anyseek.model.files import atomic_folder, remove_leftovers, temporary_path
from anyseek.model.seam import FloatArray
from anyseek.search.errors import StoreCorrupt
from anyseek.search.spaces.base import Neighbours
from anyseek.search.types import IdArray

# Builds a better state of an index, and returns a function that installs it. Only that function needs exclusive use of
# the index; it also carries over the changes made in between.
Renewal = Callable[[], Callable[[], None]]


@dataclass(frozen=True)
class FrozenIndex:
    """The content of an index at one moment, unaffected by later changes: `count` vectors of an index of class `kind`.

    `write` saves it in a new file, which `VectorIndex.restore` of that class reads.
    """

    kind: str
    count: int
    write: Callable[[Path], None]


class VectorIndex(Protocol):
    """Vectors by id, in this process. Derived data, which can always be rebuilt from the log."""

    def upsert(self, ids: IdArray, vectors: FloatArray) -> None:
        """Insert or replace: `ids` (n,) positive and distinct, `vectors` float32 (n, d) with rows of length 1."""
        ...

    def delete(self, ids: IdArray) -> None:
        """Remove `ids`; unknown ids are ignored."""
        ...

    def search(self, vectors: FloatArray, k: int, allowed: IdArray | None = None) -> Neighbours:
        """The `k` nearest of each row of `vectors`, fewer only when the index holds fewer.

        With `allowed`, distinct ids (m,) ascending, the nearest of those; unknown ids are ignored.
        """
        ...

    def count(self) -> int: ...

    def vectors(self, ids: IdArray) -> tuple[IdArray, FloatArray]:
        """Those of `ids` that are in the index, ascending, and their vectors (n, d); for checking the index."""
        ...

    def freeze(self) -> FrozenIndex:
        """The current content, without copying it; it can be written while searches and changes go on."""
        ...

    def restore(self, path: Path) -> None:
        """Replace the content with that of a file that `FrozenIndex.write` wrote."""
        ...

    def renewal(self, thorough: bool) -> Renewal | None:
        """A renewal that would improve the index now; None if none would.

        `thorough` is for the one process that builds an index for all; without it, renewals take a few seconds.
        """
        ...


logger = logging.getLogger(__name__)

KEEP_SNAPSHOTS = 2
_BLOCK = 1 << 20
# Odd, so that no change of a single word leaves the sum of its block as it was.
_WEIGHTS = np.random.default_rng(1).integers(0, 1 << 63, _BLOCK // 8, np.uint64) | np.uint64(1)
_NAME = re.compile(r"[0-9]+-[0-9]+")


@dataclass(frozen=True)
class Header:
    """The content of a snapshot: the log applied up to `seq`, centred on version `centre_version` of the mean.

    `kind` is the class of the index, `count` its vectors, `checksum` is the checksum of the index file.
    """

    seq: int
    centre_version: int
    fingerprint: str
    kind: str
    count: int
    checksum: str


@dataclass(frozen=True)
class Requirements:
    """What a usable snapshot must match. The log may lack entries up to `compacted_seq`."""

    centre_version: int
    fingerprint: str
    compacted_seq: int
    last_seq: int


def save(folder: Path, frozen: FrozenIndex, seq: int, centre_version: int, fingerprint: str) -> Path:
    """Write a snapshot of an index into `folder` and return its path; an existing one is replaced."""
    path = folder / f"{seq}-{centre_version}"
    with atomic_folder(path) as temporary:
        frozen.write(temporary / "index")
        header = Header(seq, centre_version, fingerprint, frozen.kind, frozen.count, file_checksum(temporary / "index"))
        (temporary / "header.json").write_bytes(_encode(header))
    return path


def load(folder: Path, index: VectorIndex, required: Requirements) -> Header | None:
    """Restore the newest complete and usable snapshot into `index`; None if there is none.

    Every skipped snapshot is logged: it costs time, but no answers.
    """
    for path in reversed(list_snapshots(folder)):
        try:
            header = read_header(path)
            actual = (header.centre_version, header.fingerprint, header.kind)
            if actual != (required.centre_version, required.fingerprint, type(index).__name__):
                raise StoreCorrupt(f"the snapshot {path} is of another centre, other weights or another kind of index")
            if not required.compacted_seq <= header.seq <= required.last_seq:
                log_range = f"{required.compacted_seq} to {required.last_seq}"
                raise StoreCorrupt(f"the snapshot {path} ends at entry {header.seq}, but the log has {log_range}")
            check_file(path, header)
            index.restore(path / "index")
            if index.count() != header.count:
                raise StoreCorrupt(f"the snapshot {path} has {index.count()} vectors where it says {header.count}")
        except FileNotFoundError:
            continue  # the writer has pruned it in the meantime
        except (StoreCorrupt, OSError, RuntimeError, ValueError) as error:
            logger.warning("a snapshot is not used and the index is read from the log: %s", error)
            continue
        return header
    return None


def list_snapshots(folder: Path) -> list[Path]:
    """The snapshots in `folder`, oldest first, damaged ones too."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if _NAME.fullmatch(path.name)), key=position_of)


def position_of(path: Path) -> tuple[int, int]:
    """The last sequence number and the centre version, from the snapshot's name."""
    seq, centre_version = path.name.split("-")
    return int(seq), int(centre_version)


def written_at(path: Path) -> datetime | None:
    """The time at which the snapshot was written; None if it is gone."""
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except FileNotFoundError:
        return None


def read_header(path: Path) -> Header:
    """Raises `StoreCorrupt` if it is damaged, `FileNotFoundError` if the snapshot is gone."""
    data = (path / "header.json").read_bytes()
    try:
        header = Header(**json.loads(data)["header"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreCorrupt(f"the header of the snapshot {path} cannot be read: {error}") from error
    if _encode(header) != data or (header.seq, header.centre_version) != position_of(path):
        raise StoreCorrupt(f"the header of the snapshot {path} has changed since it was written")
    return header


def check_file(path: Path, header: Header) -> None:
    """Raises `StoreCorrupt` if the index file has changed since it was written."""
    if file_checksum(path / "index") != header.checksum:
        raise StoreCorrupt(f"the index in the snapshot {path} does not have the checksum in its header")


def prune(folder: Path, keep: int = KEEP_SNAPSHOTS) -> None:
    """Remove all but the newest `keep` snapshots, and leftovers of killed writers; the caller holds the lease."""
    for path in list_snapshots(folder)[:-keep]:
        remove(path)
    remove_leftovers(folder)


def remove(path: Path) -> None:
    """Remove a snapshot. It is renamed first, so that a kill midway leaves no partial snapshot under its name."""
    renamed = path.rename(temporary_path(path))
    shutil.rmtree(renamed)


def _encode(header: Header) -> bytes:
    content = json.dumps(asdict(header), sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()
    return f'{{"header": {content}, "sha256": "{digest}"}}\n'.encode()


def file_checksum(path: Path) -> str:
    """A checksum of a large file at the speed of memory, 64 hex digits: it finds damage, not forgery.

    It is the SHA-256 of a sum for each MiB of the file: its words of 8 bytes times fixed odd numbers, modulo 2^64.
    `file_digest` takes ten times as long as reading the file. Every change within one word is found; another change is
    missed with a chance of one in 2^63.
    """
    sums = hashlib.sha256(str(path.stat().st_size).encode())
    words = np.zeros(_BLOCK // 8, np.uint64)
    with path.open("rb") as file:
        while length := file.readinto(words.view(np.uint8).data):
            words.view(np.uint8)[length:] = 0
            sums.update(np.dot(words, _WEIGHTS).tobytes())
    return sums.hexdigest()
