"""Snapshots of an index on the disk: files that are whole and true, or else are not used.

`<indexes>/<collection id>/<space id>/<last seq>-<centre version>/` holds `index`, written by the index itself, and
`header.json`, which says what the index holds and carries checksums of both files. The folder is written under
another name, flushed and renamed, so a killed writer leaves nothing that could pass for a snapshot.
"""

import hashlib
import json
import logging
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from search.checksums import checksum
from search.durable import TEMPORARY_PREFIX, flush_file, temporary_beside
from search.errors import StoreCorrupt
from search.index.base import Frozen, VectorIndex

logger = logging.getLogger(__name__)

KEPT = 2
_NAME = re.compile(r"[0-9]+-[0-9]+")


@dataclass(frozen=True)
class Header:
    """What a snapshot holds: the log applied up to `seq`, centred on version `centre_version` of the mean.

    `kind` is the class of the index, `count` its vectors, `checksum` that of the index file.
    """

    seq: int
    centre_version: int
    fingerprint: str
    kind: str
    count: int
    checksum: str


@dataclass(frozen=True)
class Wanted:
    """What a snapshot must be to be of use now. Entries up to `compacted_seq` may be gone from the log."""

    centre_version: int
    fingerprint: str
    kind: str
    compacted_seq: int
    last_seq: int


def kind_of(index: VectorIndex) -> str:
    return type(index).__name__


def save(folder: Path, held: Frozen, seq: int, centre_version: int, fingerprint: str) -> Path:
    """Write a snapshot of an index into `folder` and return its path; one that is there already is replaced."""
    path = folder / f"{seq}-{centre_version}"
    folder.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    temporary.mkdir()
    try:
        held.write(temporary / "index")
        header = Header(seq, centre_version, fingerprint, held.kind, held.count, checksum(temporary / "index"))
        (temporary / "header.json").write_bytes(_encode(header))
        for written in (temporary / "index", temporary / "header.json", temporary):
            flush_file(written)
        if path.exists():
            remove(path)
        temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary)
        raise
    flush_file(folder)
    return path


def load(folder: Path, index: VectorIndex, wanted: Wanted) -> Header | None:
    """Restore into `index` the newest snapshot that is whole and wanted; None if there is none.

    Every one that had to be passed over is logged: it costs time, never an answer.
    """
    for path in reversed(listed(folder)):
        try:
            header = read_header(path)
            _check_wanted(path, header, wanted)
            check_file(path, header)
            index.restore(path / "index")
            _check_count(path, header, index)
        except FileNotFoundError:
            continue  # pruned by the writer meanwhile
        except (StoreCorrupt, OSError, RuntimeError, ValueError) as error:
            logger.warning("not using a snapshot, the log has it all: %s", error)
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


def read_header(path: Path) -> Header:
    """Raises `StoreCorrupt` if it is damaged, `FileNotFoundError` if the snapshot is gone."""
    data = (path / "header.json").read_bytes()
    try:
        header = Header(**json.loads(data)["header"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreCorrupt(f"the header of the snapshot {path} cannot be read: {error}") from error
    if _encode(header) != data or (header.seq, header.centre_version) != stands_at(path):
        raise StoreCorrupt(f"the header of the snapshot {path} is not what was written")
    return header


def check_file(path: Path, header: Header) -> None:
    """Raises `StoreCorrupt` if the index file is not what was written."""
    if checksum(path / "index") != header.checksum:
        raise StoreCorrupt(f"the index in the snapshot {path} does not have the checksum in its header")


def prune(folder: Path, kept: int = KEPT) -> None:
    """Remove all but the newest `kept` snapshots, and what killed writers left; the caller holds the lease."""
    for path in listed(folder)[:-kept]:
        remove(path)
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        shutil.rmtree(path)


def remove(path: Path) -> None:
    """Renamed first, so that a kill midway leaves no half of a snapshot under its name."""
    renamed = path.rename(temporary_beside(path))
    shutil.rmtree(renamed)


def _check_wanted(path: Path, header: Header, wanted: Wanted) -> None:
    held = (header.centre_version, header.fingerprint, header.kind)
    if held != (wanted.centre_version, wanted.fingerprint, wanted.kind):
        raise StoreCorrupt(f"the snapshot {path} is of another centre, other weights or another kind of index")
    if not wanted.compacted_seq <= header.seq <= wanted.last_seq:
        raise StoreCorrupt(
            f"the snapshot {path} ends at entry {header.seq}, but the log goes on from {wanted.compacted_seq} "
            f"to {wanted.last_seq}"
        )


def _check_count(path: Path, header: Header, index: VectorIndex) -> None:
    if index.count() != header.count:
        raise StoreCorrupt(f"the snapshot {path} gave {index.count()} vectors where its header says {header.count}")


def _encode(header: Header) -> bytes:
    content = json.dumps(asdict(header), sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()
    return f'{{"header": {content}, "sha256": "{digest}"}}\n'.encode()
