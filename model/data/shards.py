"""Shards: tar files of samples in the WebDataset convention, and the manifest of a folder of them. No torch.

Sample KEY is the files `KEY.<modality>.<ending>` side by side, `KEY.attributes.json` among them. A folder has shards
`<split>-000000.tar` and `dataset.json`, which names them with their checksums. The same entries give the same bytes.
"""

import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from model.data.errors import DataSetInvalid, SampleInvalid, ShardCorrupt
from model.data.samples import Split

ATTRIBUTES = "attributes.json"
MANIFEST = "dataset.json"
_FORMAT = 1  # of the manifest
_KEY = re.compile(r"[A-Za-z0-9_+%-]+(/[A-Za-z0-9_+%-]+)*")
_FILE = re.compile(r"[a-z0-9_]+\.[a-z0-9]+")
_END_OF_ARCHIVE = bytes(1024)


@dataclass(frozen=True)
class Entry:
    """The files of one sample by name: `rgb.jpg`, `depth.png`, `caption.json`, `rgb_features.npy`, `attributes.json`.

    `key` has no dots (see `model.data.samples.shard_key`). Raises `SampleInvalid` for a key or a name that no shard
    could hold.
    """

    key: str
    files: Mapping[str, bytes]

    def __post_init__(self) -> None:
        if not _KEY.fullmatch(self.key):
            raise SampleInvalid(f"{self.key!r} is no key: parts of letters, digits, `_+-%` joined by `/` are")
        if wrong := [name for name in self.files if not _FILE.fullmatch(name)]:
            raise SampleInvalid(f"{wrong[0]!r} of {self.key} is no `<modality>.<ending>` in lower case")
        modalities = [name.partition(".")[0] for name in self.files]
        if twice := {modality for modality in modalities if modalities.count(modality) > 1}:
            raise SampleInvalid(f"{self.key} has two files for {min(twice)}")


class ShardWriter:
    """Writes one shard beside its place and renames it there when the `with` block ends without an error.

    `sha256`, `samples` and `size` (bytes) are those of the file, once it is there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._beside = path.with_name(f".{path.name}.partial")
        self._keys: set[str] = set()
        self.sha256 = ""
        self.size = 0

    @property
    def samples(self) -> int:
        return len(self._keys)

    def __enter__(self) -> "ShardWriter":
        self._file = self._beside.open("wb")
        self._archive = tarfile.open(fileobj=self._file, mode="w", format=tarfile.PAX_FORMAT)
        return self

    def write(self, entry: Entry) -> None:
        """Add a sample, its files by name. Raises `SampleInvalid` for a key that is there already."""
        if entry.key in self._keys:
            raise SampleInvalid(f"two samples of {self._path.name} have the key {entry.key}")
        self._keys.add(entry.key)
        for name in sorted(entry.files):
            member = tarfile.TarInfo(f"{entry.key}.{name}")
            member.size, member.mode = len(entry.files[name]), 0o644
            self._archive.addfile(member, io.BytesIO(entry.files[name]))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._archive.close()
                self._file.flush()
                os.fsync(self._file.fileno())
        finally:
            self._file.close()
        if error is not None:
            self._beside.unlink()
            return
        self.sha256, self.size = file_digest(self._beside), self._beside.stat().st_size
        self._beside.replace(self._path)


def read_shard(path: Path, sha256: str | None = None) -> Iterator[Entry]:
    """The samples of a shard in their order; with `sha256` the file is checked before the first one.

    Raises `ShardCorrupt`, naming the file, if it is missing, cut off, or not what the checksum says.
    """
    if not path.is_file():
        raise ShardCorrupt(f"the shard {path} is not there")
    if sha256 is not None and (found := file_digest(path)) != sha256:
        raise ShardCorrupt(f"the shard {path} has sha256 {found}, not {sha256}; build it again")
    try:
        yield from _entries(path)
    except (tarfile.TarError, SampleInvalid) as error:
        raise ShardCorrupt(f"{path} is no whole shard: {error}") from error


def _entries(path: Path) -> Iterator[Entry]:
    """Files of one key that follow each other, as an entry. Raises `TarError`, `SampleInvalid`, `ShardCorrupt`."""
    key, files, done = "", dict[str, bytes](), set[str]()
    for name, data in _members(path):
        own, _, rest = name.partition(".")
        if own != key:
            if files:
                yield Entry(key, files)
            done.add(key)
            key, files = own, {}
        if own in done or rest in files:
            raise ShardCorrupt(f"{path} is no whole shard: it has {name} twice")
        files[rest] = data
    if files:
        yield Entry(key, files)


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents; checks that the archive's end is there, which `tarfile` does not."""
    with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is None:
                raise ShardCorrupt(f"{path} is no shard: {member.name} in it is not a plain file")
            yield member.name, content.read()
        file.seek(archive.offset)
        if file.read(len(_END_OF_ARCHIVE)) != _END_OF_ARCHIVE:
            raise ShardCorrupt(f"{path} is no whole shard: it is cut off or changed at byte {archive.offset:,}")


@dataclass(frozen=True)
class Shard:
    """One shard of a data set: its file's name, how many samples and bytes it has, and its checksum."""

    name: str
    samples: int
    size: int
    sha256: str


@dataclass(frozen=True)
class SourceRecord:
    """Where samples came from: `samples` by split; `weight` is how often to draw from it, against other sources."""

    name: str
    kind: str
    licence: str
    origin: str
    weight: float
    samples: Mapping[str, int]


@dataclass(frozen=True)
class DataSet:
    """A folder of shards and what its manifest says of it.

    `digest` stands for the recipe and the data it was applied to. `modalities` counts the samples that have each one.
    `classes` names the ids of region maps by modality. `failures` is the number of lines in `failures.jsonl`.
    """

    folder: Path
    name: str
    digest: str
    image_size: int
    splits: Mapping[Split, tuple[Shard, ...]]
    modalities: Mapping[str, int]
    classes: Mapping[str, Mapping[int, str]]
    sources: tuple[SourceRecord, ...]
    failures: int

    def samples(self, split: Split) -> int:
        """How many samples a split has."""
        return sum(shard.samples for shard in self.splits.get(split, ()))

    def entries(self, split: Split) -> Iterator[Entry]:
        """The samples of a split, shard by shard, each checked before it is read. Raises `ShardCorrupt`."""
        for shard in self.splits.get(split, ()):
            yield from read_shard(self.folder / shard.name, shard.sha256)


def open_dataset(folder: Path) -> DataSet:
    """The data set that was built in `folder`. Raises `DataSetInvalid` if there is none, or only part of one."""
    path = folder / MANIFEST
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        if written["format"] != _FORMAT:
            raise DataSetInvalid(f"{path} has format {written['format']}; this version reads {_FORMAT}; build it again")
        return _from_json(folder, written)
    except FileNotFoundError as error:
        raise DataSetInvalid(f"{folder} holds no finished data set: it has no {MANIFEST}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataSetInvalid(f"{path} is no manifest of a data set: {error!r}") from error


def _from_json(folder: Path, written: dict[str, Any]) -> DataSet:
    return DataSet(
        folder,
        written["name"],
        written["digest"],
        written["image_size"],
        {Split(split): tuple(Shard(**one) for one in shards) for split, shards in written["splits"].items()},
        written["modalities"],
        {m: {int(number): name for number, name in names.items()} for m, names in written["classes"].items()},
        tuple(SourceRecord(**one) for one in written["sources"]),
        written["failures"],
    )


def write_manifest(dataset: DataSet) -> None:
    """Write `dataset.json` into the data set's folder; it appears whole or not at all."""
    members = {"format": _FORMAT, **asdict(dataset)}
    del members["folder"]
    write_atomically(
        dataset.folder / MANIFEST, json.dumps(members, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    )


def write_atomically(path: Path, text: str) -> None:
    """Write a file beside its place, flushed to the disk, and rename it there."""
    beside = path.with_name(f".{path.name}.partial")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
