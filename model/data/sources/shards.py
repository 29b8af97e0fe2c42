"""Source of tar shards in the WebDataset convention: Anyseek's own, and others whose file endings name the content."""

import hashlib
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyseek.model.config import Config
from anyseek.model.data.contents import decode_value, json_object, read_value
from anyseek.model.data.errors import SampleInvalid, SourceUnavailable
from anyseek.model.data.registry import SourceKind
from anyseek.model.data.samples import Caption, DataSample, Origin, Shares, Split
from anyseek.model.modalities.registry import PICTURE_SUFFIXES


@dataclass(frozen=True)
class Member:
    """One file in an archive: `start` and `size` in bytes."""

    archive: Path
    start: int
    size: int

    def read(self) -> bytes:
        """The file's bytes. Raises `SampleInvalid` if the archive cannot be read or was truncated."""
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
    """The files that match a path whose last part may contain `*` and `?`. Raises `SourceUnavailable` if none does."""
    shards = sorted(pattern.parent.glob(pattern.name))
    if not shards:
        raise SourceUnavailable(f"no file matches {pattern}")
    return shards


def list_members(archives: Sequence[Path]) -> dict[str, dict[str, Member]]:
    """Index members by the part of their names before the first dot, then by the part after it; sorted by key.

    Raises `SourceUnavailable` if an archive cannot be read.
    """
    samples: dict[str, dict[str, Member]] = {}
    for path in archives:
        try:
            with tarfile.open(path, "r:") as archive:
                for member in archive:
                    folder, _, name = member.name.rpartition("/")
                    stem, _, ending = name.partition(".")
                    key = f"{folder}/{stem}" if folder else stem
                    if member.isfile():
                        samples.setdefault(key, {})[ending] = Member(path, member.offset_data, member.size)
        except (tarfile.TarError, OSError) as error:
            raise SourceUnavailable(f"{path} cannot be read: {error}") from error
    return dict(sorted(samples.items()))


def describe(samples: Mapping[str, Mapping[str, Member]]) -> str:
    """The number of samples, and a digest of the members' names and sizes: the `origin` of a source."""
    lines = [f"{key}.{ending} {member.size}" for key, files in samples.items() for ending, member in files.items()]
    return f"{len(samples)} samples, {hashlib.sha256(' '.join(lines).encode()).hexdigest()[:16]}"


_ATTRIBUTES = ("attributes.json", "json")


class ShardsOptions(Config):
    """`path` of the shards, with `*` and `?` as wildcards in its last part; `licence` is one line.

    All samples are in `split` if it is given; otherwise shares decide. `medium` names the pictures in captions.
    """

    path: Path
    licence: str
    split: Split | None = None
    medium: str = "photo"


class ShardsSource:
    """A source with the shards' own keys. Files named `MODALITY.ENDING` are read as Anyseek writes them.

    Others are `jpg`, `png`, `webp`, ... (the picture), `txt` (a caption) and `json` (attributes).
    """

    def __init__(self, name: str, options: ShardsOptions, shares: Shares) -> None:
        """Index the members of all shards. Raises `SourceUnavailable`."""
        self.name, self.licence = name, options.licence
        self._options, self._shares = options, shares
        self._members = list_members(find_shards(options.path))
        self.origin = describe(self._members)

    def keys(self, split: Split) -> Sequence[str]:
        return [key for key in self._members if (self._options.split or self._shares.split_of(key)) is split]

    def sample(self, key: str) -> DataSample:
        members = self._members[key]
        values = {}
        for ending, member in members.items():
            if ending not in _ATTRIBUTES:
                modality, value = _value(ending, member.read())
                values[modality] = value
        attributes = {"medium": self._options.medium, **_attributes(members)}
        if "rgb" in values:
            height, width = values["rgb"].shape[:2]
            attributes = {"original_width": width, "original_height": height, **attributes}
        return DataSample(key, values, attributes)


def _value(ending: str, data: bytes) -> tuple[str, Any]:
    if f".{ending.lower()}" in PICTURE_SUFFIXES:
        return "rgb", read_value("rgb", data, f"its .{ending}")
    if ending == "txt":
        try:
            return "caption", (Caption(data.decode("utf-8").strip(), Origin.HUMAN),)
        except UnicodeDecodeError as error:
            raise SampleInvalid(f"its .txt is not UTF-8 (byte {error.start})") from error
    if "." not in ending:
        raise SampleInvalid(f"a file ends in .{ending}, which is not a known ending")
    return ending.partition(".")[0], decode_value(ending, data)


def _attributes(members: Mapping[str, Member]) -> dict[str, Any]:
    for ending in _ATTRIBUTES:
        if ending in members:
            attributes = json_object(members[ending].read(), f"its .{ending}")
            return {name: value for name, value in attributes.items() if name != "key"}
    return {}


SHARDS = SourceKind(lambda name, options, settings: ShardsSource(name, options, settings.shares), ShardsOptions)
