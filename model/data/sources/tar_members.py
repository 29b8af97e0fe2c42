"""Index tar shards in the WebDataset convention: the file and offset of each sample's members."""

import hashlib
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from anyseek.model.data.errors import SampleInvalid, SourceUnavailable


@dataclass(frozen=True)
class Member:
    """One file in an archive: `start` and `size` in bytes."""

    archive: Path
    start: int
    size: int

    def read(self) -> bytes:
        """The file's bytes. Raises `SampleInvalid` if the archive is no longer what it was."""
        try:
            with self.archive.open("rb") as file:
                file.seek(self.start)
                data = file.read(self.size)
        except OSError as error:
            raise SampleInvalid(f"{self.archive} cannot be read: {error.strerror}") from error
        if len(data) != self.size:
            raise SampleInvalid(f"{self.archive} was cut off while it was read")
        return data


def find_shards(pattern: Path) -> list[Path]:
    """The files that match a path whose last part may have `*` and `?`. Raises `SourceUnavailable` if none does."""
    found = sorted(pattern.parent.glob(pattern.name))
    if not found:
        raise SourceUnavailable(f"no file matches {pattern}")
    return found


def list_members(archives: Sequence[Path]) -> dict[str, dict[str, Member]]:
    """Index members by the part of their names before the first dot, then by the part after it; sorted by key.

    Raises `SourceUnavailable` if an archive cannot be read.
    """
    found: dict[str, dict[str, Member]] = {}
    for path in archives:
        try:
            with tarfile.open(path, "r:") as archive:
                for member in archive:
                    folder, _, name = member.name.rpartition("/")
                    stem, _, ending = name.partition(".")
                    key = f"{folder}/{stem}" if folder else stem
                    if member.isfile():
                        found.setdefault(key, {})[ending] = Member(path, member.offset_data, member.size)
        except (tarfile.TarError, OSError) as error:
            raise SourceUnavailable(f"{path} cannot be read: {error}") from error
    return dict(sorted(found.items()))


def describe(samples: Mapping[str, Mapping[str, Member]]) -> str:
    """Describe these members: the number of samples, and a digest of their names and sizes."""
    lines = [f"{key}.{ending} {member.size}" for key, files in samples.items() for ending, member in files.items()]
    return f"{len(samples)} samples, {hashlib.sha256(' '.join(lines).encode()).hexdigest()[:16]}"
