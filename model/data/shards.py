"""Shards: tar files of samples in the WebDataset convention, and the manifest of a shard folder. No torch.

Sample KEY consists of adjacent files `KEY.<modality>.<ending>`, including `KEY.attributes.json`. A folder holds shards
`<split>-000000.tar`, and `dataset.json` lists them with their checksums. The same entries give the same bytes.
"""

import io
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from pydantic import TypeAdapter

from anyseek.model.data.errors import DataSetInvalid, SampleInvalid, ShardCorrupt
from anyseek.model.data.samples import Split
from anyseek.model.files import atomic_file, file_digest, write_file

ATTRIBUTES = "attributes.json"
MANIFEST = "dataset.json"
_FORMAT = 1  # of the manifest
_KEY = re.compile(r"[A-Za-z0-9_+%-]+(/[A-Za-z0-9_+%-]+)*")
_FILE = re.compile(r"[a-z0-9_]+\.[a-z0-9]+")
_END_OF_ARCHIVE = bytes(1024)


@dataclass(frozen=True)
class Entry:
    """The files of one sample by name: `rgb.jpg`, `depth.png`, `caption.json`, `rgb_features.npy`, `attributes.json`.

    `key` has no dots (see `anyseek.model.data.samples.shard_key`). Raises `SampleInvalid` for a key or a file name that
    is invalid in a shard.
    """

    key: str
    files: Mapping[str, bytes]

    def __post_init__(self) -> None:
        if not _KEY.fullmatch(self.key):
            raise SampleInvalid(
                f"{self.key!r} is not a key; a key has parts of letters, digits and `_+-%`, joined by `/`"
            )
        if invalid := [name for name in self.files if not _FILE.fullmatch(name)]:
            raise SampleInvalid(f"{invalid[0]!r} of {self.key} is not `<modality>.<ending>` in lower case")
        modalities = [name.partition(".")[0] for name in self.files]
        if duplicates := {modality for modality in modalities if modalities.count(modality) > 1}:
            raise SampleInvalid(f"{self.key} has two files for {min(duplicates)}")


class ShardWriter:
    """Writes a shard to a temporary file, and renames it into place if the `with` block ends without an error.

    `sha256`, `samples` and `size` (bytes) describe the file once it is in place.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack = ExitStack()
        self._keys: set[str] = set()
        self.sha256 = ""
        self.size = 0

    @property
    def samples(self) -> int:
        return len(self._keys)

    def __enter__(self) -> "ShardWriter":
        with ExitStack() as stack:
            file = stack.enter_context(stack.enter_context(atomic_file(self._path)).open("wb"))
            archive = tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)
            self._archive = stack.enter_context(archive)
            self._stack = stack.pop_all()
        return self

    def write(self, entry: Entry) -> None:
        """Add a sample with its files in order of name. Raises `SampleInvalid` for a duplicate key."""
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
        self._stack.__exit__(kind, error, trace)
        if error is None:
            self.sha256, self.size = file_digest(self._path), self._path.stat().st_size


def read_shard(path: Path, sha256: str | None = None) -> Iterator[Entry]:
    """The samples of a shard in order; with `sha256`, the file is checked before the first one is read.

    Raises `ShardCorrupt`, naming the file, if it is missing, cut off, or does not match the checksum.
    """
    if not path.is_file():
        raise ShardCorrupt(f"the shard {path} is missing")
    if sha256 is not None and (digest := file_digest(path)) != sha256:
        raise ShardCorrupt(f"the shard {path} has sha256 {digest}, not {sha256}; build it again")
    try:
        yield from _entries(path)
    except (tarfile.TarError, SampleInvalid) as error:
        raise ShardCorrupt(f"{path} is not a complete shard: {error}") from error


def _entries(path: Path) -> Iterator[Entry]:
    """An entry for each run of files with one key. Raises `TarError`, `SampleInvalid`, `ShardCorrupt`."""
    key, files, done = "", dict[str, bytes](), set[str]()
    for name, data in _members(path):
        file_key, _, suffix = name.partition(".")
        if file_key != key:
            if files:
                yield Entry(key, files)
            done.add(key)
            key, files = file_key, {}
        if file_key in done or suffix in files:
            raise ShardCorrupt(f"{path} is not a complete shard: it has {name} twice")
        files[suffix] = data
    if files:
        yield Entry(key, files)


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """The names and contents of files. Also checks for the end of the archive, which `tarfile` does not."""
    with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is None:
                raise ShardCorrupt(f"{path} is not a shard: {member.name} in it is not a plain file")
            yield member.name, content.read()
        file.seek(archive.offset)
        if file.read(len(_END_OF_ARCHIVE)) != _END_OF_ARCHIVE:
            raise ShardCorrupt(f"{path} is not a complete shard: it is cut off or changed at byte {archive.offset:,}")


@dataclass(frozen=True)
class Shard:
    """One shard of a data set: its file's name, its size in samples and bytes, and its checksum."""

    name: str
    samples: int
    size: int
    sha256: str


@dataclass(frozen=True)
class SourceRecord:
    """A source of a data set: `samples` counts by split; `weight` is its share of draws relative to other sources."""

    name: str
    kind: str
    licence: str
    origin: str
    weight: float
    samples: Mapping[str, int]


@dataclass(frozen=True)
class DataSet:
    """A folder of shards, as its manifest describes it.

    `digest` identifies the recipe and the data it was applied to. `modalities` counts the samples that have each
    modality. `classes` names the ids of region maps by modality. `failures` is the number of lines in `failures.jsonl`.
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
        """The number of samples of a split."""
        return sum(shard.samples for shard in self.splits.get(split, ()))

    def entries(self, split: Split) -> Iterator[Entry]:
        """The samples of a split, shard by shard, each checked before it is read. Raises `ShardCorrupt`."""
        for shard in self.splits.get(split, ()):
            yield from read_shard(self.folder / shard.name, shard.sha256)


_DATASET = TypeAdapter(DataSet)


def open_dataset(folder: Path) -> DataSet:
    """The data set in `folder`. Raises `DataSetInvalid` if there is none, or only an unfinished one."""
    path = folder / MANIFEST
    try:
        members = json.loads(path.read_text(encoding="utf-8"))
        if members["format"] != _FORMAT:
            raise DataSetInvalid(f"{path} has format {members['format']}; this version reads {_FORMAT}; build it again")
        return _DATASET.validate_python({**members, "folder": folder})
    except FileNotFoundError as error:
        raise DataSetInvalid(f"{folder} has no finished data set: it lacks {MANIFEST}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataSetInvalid(f"{path} is not the manifest of a data set: {error!r}") from error


def write_manifest(dataset: DataSet) -> None:
    """Write `dataset.json` into the data set's folder atomically."""
    members = {"format": _FORMAT, **asdict(dataset)}
    del members["folder"]
    write_file(dataset.folder / MANIFEST, json.dumps(members, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
