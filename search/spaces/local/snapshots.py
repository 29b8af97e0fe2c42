"""Snapshots of an index on the disk: files that are complete and correct, or else are not used.

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

from anyseek.model.files import remove_leftovers, temporary_beside, whole_folder
from anyseek.model.seam import FloatArray
from anyseek.search.errors import StoreCorrupt
from anyseek.search.spaces.base import Neighbours
from anyseek.search.types import IdArray

# Builds a better state of an index beside it, and returns a function that puts it in place. Only that function needs
# exclusive use of the index; it also carries over changes made in between.
Renewal = Callable[[], Callable[[], None]]


@dataclass(frozen=True)
class Frozen:
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

        With `allowed`, distinct ids (m,) ascending, the nearest of those; ids that are not held are passed over.
        """
        ...

    def count(self) -> int: ...

    def vectors(self, ids: IdArray) -> tuple[IdArray, FloatArray]:
        """The `ids` that are held, ascending, and their vectors (n, d); for checking the index."""
        ...

    def frozen(self) -> Frozen:
        """The current content, at once; it can be written while searches and changes go on."""
        ...

    def restore(self, path: Path) -> None:
        """Replace the content with that of a file that `Frozen.write` wrote."""
        ...

    def renewal(self, thorough: bool) -> Renewal | None:
        """A renewal that would improve the index now, None if nothing would.

        `thorough` is for the one process that builds an index for all; without it, only what takes a few seconds.
        """
        ...


logger = logging.getLogger(__name__)

KEPT = 2
_BLOCK = 1 << 20
# Odd, so that no change of a single word leaves the sum of its block as it was.
_WEIGHTS = np.random.default_rng(1).integers(0, 1 << 63, _BLOCK // 8, np.uint64) | np.uint64(1)
_NAME = re.compile(r"[0-9]+-[0-9]+")


@dataclass(frozen=True)
class Header:
    """The content of a snapshot: the log applied up to `seq`, centred on version `centre_version` of the mean.

    `kind` is the class of the index, `count` its vectors, `checksum` that of the index file.
    """

    seq: int
    centre_version: int
    fingerprint: str
    kind: str
    count: int
    checksum: str


@dataclass(frozen=True)
class Requirements:
    """Requirements of a usable snapshot. Entries up to `compacted_seq` may be gone from the log."""

    centre_version: int
    fingerprint: str
    compacted_seq: int
    last_seq: int


def save(folder: Path, held: Frozen, seq: int, centre_version: int, fingerprint: str) -> Path:
    """Write a snapshot of an index into `folder` and return its path; an existing one is replaced."""
    path = folder / f"{seq}-{centre_version}"
    with whole_folder(path) as temporary:
        held.write(temporary / "index")
        header = Header(seq, centre_version, fingerprint, held.kind, held.count, checksum(temporary / "index"))
        (temporary / "header.json").write_bytes(_encode(header))
    return path


def load(folder: Path, index: VectorIndex, wanted: Requirements) -> Header | None:
    """Restore the newest complete and usable snapshot into `index`; None if there is none.

    Every skipped snapshot is logged: it costs time, but no answers.
    """
    for path in reversed(listed(folder)):
        try:
            header = read_header(path)
            held = (header.centre_version, header.fingerprint, header.kind)
            if held != (wanted.centre_version, wanted.fingerprint, type(index).__name__):
                raise StoreCorrupt(f"the snapshot {path} is of another centre, other weights or another kind of index")
            if not wanted.compacted_seq <= header.seq <= wanted.last_seq:
                known = f"{wanted.compacted_seq} to {wanted.last_seq}"
                raise StoreCorrupt(f"the snapshot {path} ends at entry {header.seq}, but the log has {known}")
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


def listed(folder: Path) -> list[Path]:
    """Snapshots in `folder`, oldest first, sound or not."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if _NAME.fullmatch(path.name)), key=stands_at)


def stands_at(path: Path) -> tuple[int, int]:
    """The last sequence number and the centre version, as the snapshot's name has them."""
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
    if _encode(header) != data or (header.seq, header.centre_version) != stands_at(path):
        raise StoreCorrupt(f"the header of the snapshot {path} has changed since it was written")
    return header


def check_file(path: Path, header: Header) -> None:
    """Raises `StoreCorrupt` if the index file has changed since it was written."""
    if checksum(path / "index") != header.checksum:
        raise StoreCorrupt(f"the index in the snapshot {path} does not have the checksum in its header")


def prune(folder: Path, kept: int = KEPT) -> None:
    """Remove all but the newest `kept` snapshots, and leftovers of killed writers; the caller holds the lease."""
    for path in listed(folder)[:-kept]:
        remove(path)
    remove_leftovers(folder)


def remove(path: Path) -> None:
    """Remove a snapshot. It is renamed first, so that a kill midway leaves no partial snapshot under its name."""
    renamed = path.rename(temporary_beside(path))
    shutil.rmtree(renamed)


def _encode(header: Header) -> bytes:
    content = json.dumps(asdict(header), sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()
    return f'{{"header": {content}, "sha256": "{digest}"}}\n'.encode()


def checksum(path: Path) -> str:
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
